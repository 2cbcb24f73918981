"""The rule by which limits of doubt are chosen, on signs that were made up."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.studies.trust_limits import chosen, summary


def row(kind, ratio=1.0, case="a", start=0.5, outside=0.5, spread=0.5, drift=0.0):
    signs = {"start": start, "outside": outside, "spread": spread, "drift": drift}
    texts = {name: f"{x:g}" for name, x in {**signs, "error_ratio": ratio}.items()}
    return {"case": case, "kind": kind, **texts}


def usual():
    """Of 100 forecasts, one has 2.2 times the usual misfit and two thrice the usual spread."""
    rows = [row("usual") for _ in range(97)]
    rows += [row("usual", start=2.2), row("usual", spread=3.1), row("usual", spread=3.2)]
    return [*rows, row("usual", 4.0, start=50.0)]  # errs more: may well be flagged


def spoilt():
    """A harmless drift, and ten that are not, of which one is not finite."""
    harmful = [row("drift", 9.0, drift=x) for x in (1.7, 2.1, *np.linspace(4.5, 9, 7))]
    return [row("drift", 2.0, drift=2.9), *harmful, row("drift", np.inf, drift=np.nan)]


def test_the_round_numbers_that_keep_to_the_shares_are_chosen():
    limits = chosen([*usual(), *spoilt(), row("start", 9.0, start=0.1)])
    assert limits == {"start": 2.5, "outside": 1.0, "spread": 4.0, "drift": 2.0}


def test_other_signs_detect_spoilt_drifts_too():
    limits = chosen([*usual(), *spoilt(), *[row("drift", 9.0, spread=5.0) for _ in range(10)]])
    assert limits["drift"] == 4.0  # two of twenty are not found


def test_cases_weigh_alike():
    """One of eleven that is not found is 9 % of all, but half of the mean over two cases."""
    limits = chosen([*usual(), *spoilt(), row("drift", 9.0, case="b", drift=1.2)])
    assert limits["drift"] == 1.0


def test_shares_that_no_round_number_keeps_to_are_an_error():
    with pytest.raises(ValueError, match="outside: some exceed 10 times"):
        chosen([*[row("usual", outside=11.0) for _ in range(3)], *spoilt()])
    with pytest.raises(ValueError, match="drift: under 90% are doubted"):
        chosen([*usual(), *spoilt(), *[row("drift", 9.0, drift=0.1) for _ in range(3)]])


def test_the_summary_counts_forecasts_that_any_sign_flags():
    limits = {"start": 2.0, "outside": 1.0, "spread": 3.15, "drift": 1.5}
    assert list(summary([*usual(), *spoilt()], limits)) == [
        "usual: false alarms 2 of 100, detected 1 of 1",
        "start: false alarms 0 of 0, detected 0 of 0",
        "drift: false alarms 1 of 1, detected 10 of 10",
    ]
