from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.opponents import OPPONENTS
from pyro_msde.datasets.kdv import KDV


@pytest.fixture(scope="module")
def data():
    """Short trajectories; those not to train on are twice as long, as in the hard splits."""
    parts = {"train": (6, 0.07), "validation": (2, 0.14), "test": (3, 0.14)}
    return replace(KDV, parts={"published": parts}).splits()


@pytest.mark.parametrize("name", [n for n in OPPONENTS if n != "dmd" and "pod" not in n])
def test_every_opponent_scores_every_test_trajectory(name, data):
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS[name](case, "published", data, 0, 2)
    assert outcome.status == "ok"
    assert outcome.errors.shape == (3,)
    # no forecast of noisy data errs by less than about the noise
    floor = OPPONENTS["noise-floor"](case, "published", data, 0, 2).errors
    assert (outcome.errors > 0.9 * floor).all()


@pytest.mark.slow
def test_dmd_scores_every_test_trajectory(data):
    pytest.importorskip("pydmd")
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS["dmd"](case, "published", data, 0, 0)
    assert np.isfinite(outcome.errors).all()
    assert "rank" in outcome.choice


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [("pod-sde", 20), ("pod-sde-eta", 23)])
def test_pod_sde_scores_what_it_can(name, rank, data):
    """Two steps on these data need not give a forecast that stays finite: then a status says so."""
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS[name](case, "published", data, 0, 2)
    assert outcome.errors.shape == (3,)
    assert outcome.choice == f"rank {rank}"
    if outcome.status == "ok":
        assert outcome.coverage_90.shape == outcome.crps.shape == (3,)
    else:
        assert f"{np.isinf(outcome.errors).sum()} of 3 forecasts are not finite" == outcome.status
