"""The table of false alarms: what is spoilt, how it is counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_pair
from torch.testing import assert_close

from benchmarks.render_trusting import counted, lines
from benchmarks.spoilt import CHANGES, fresh_from, spoilt_drifts
from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.datasets.burgers1d import BURGERS1D


def row(case, kind, forecasts, false_alarms, far_off, detected):
    numbers = {"false_alarms": false_alarms, "far_off": far_off, "detected": detected}
    texts = {name: str(number) for name, number in numbers.items()}
    return {"case": case, "kind": kind, "forecasts": str(forecasts), **texts}


def test_shares_are_of_forecasts_that_could_be_wrong_in_that_way():
    rows = [row("a", "usual", 10, 1, 0, 0), row("kdv-5", "drift", 6, 1, 4, 3)]
    rows.append(row("a", "drift", 2, 0, 2, 2))
    assert counted(rows[1:]) == (8, 1, 6, 5)
    text = lines(rows)
    assert "| a | as they are | 10 | 1 (10%) | 0 |  |" in text
    assert "| kdv-5 | drifts | 6 | 1 (50%) | 4 | 3 (75%) |" in text
    assert "| all | drifts | 8 | 1 (50%) | 6 | 5 (83%) |" in text
    assert "| others | drifts | 2 |  | 2 | 2 (100%) |" in text


def test_changed_fields_are_the_law_s_own_but_for_the_change():
    short = {"num_times": 3, "noise": 0.0}
    made = (BURGERS1D, "published", 0.004, 2)
    plain, three = (
        fresh_from(*made, **short, change=change) for change in (None, CHANGES["amplitude x 3"])
    )
    np.testing.assert_allclose(plain.times[0], [0.0, 0.002, 0.004])
    np.testing.assert_allclose(three.values[1][0], 3 * plain.values[1][0], rtol=1e-6)
    waves = fresh_from(*made, **short, change=CHANGES["three waves"]).values[0][0]
    rms = np.sqrt(np.mean(np.square(plain.values[0][0])))
    assert np.sqrt(np.mean(np.square(waves))) == pytest.approx(rms, rel=1e-5)
    assert np.argmax(np.abs(np.fft.rfft(waves))) == 3


def test_spoilt_drifts_leave_the_fit_alone():
    model, guide = tiny_pair(2)
    fit = Fit(model, guide, Scaling((1.7,), 3.0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = dict(spoilt_drifts(fit))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert {"drift x -1", "weights within 10%"} <= set(names)
    other = names["weights within 30%"].model
    change = [
        (new / old - 1).flatten()
        for new, old in zip(other.drift.parameters(), model.drift.parameters(), strict=True)
    ]
    change = torch.cat(change).detach()
    change = change[change.isfinite()]  # weights that are zero stay so
    # the standard deviation of 200 and more draws is known to 5 %
    assert len(change) > 200
    assert_close(float(change.std()), 0.3, rtol=0.2, atol=0)
