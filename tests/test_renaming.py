"""Old names of arguments and attributes still work, and say at the caller's line what is new."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_msde import Trajectories
from pyro_msde.models import kdv, multiscale
from pyro_msde.renaming import renamed_arguments


@renamed_arguments(old="new")
def double(new: float) -> float:
    return 2 * new


def test_old_name_is_told_at_the_users_line():
    with pytest.warns(FutureWarning, match=r"old is called new since .* goes in") as seen:
        assert double(old=3) == 6
    assert seen[0].filename == __file__


def test_new_name_is_silent_and_signature_stays():
    assert double(3) == double(new=3) == 6
    assert double.__name__ == "double"


def test_both_names_are_refused():
    with pytest.raises(TypeError, match=r"old: the old name of new, given too\. Give new alone"):
        double(old=1, new=2)


def test_trajectories_take_parameters():
    times, values = np.arange(4.0), np.ones((2, 4, 3))
    with pytest.warns(FutureWarning, match="covariate"):
        data = Trajectories(times, values, parameters=[0.1, 0.2], parameter_names=["nu"])
    assert data.covariate_names == ("nu",)
    with pytest.warns(FutureWarning, match="parameters is called covariates"):
        np.testing.assert_array_equal(data.parameters, [[0.1], [0.2]])
    with pytest.warns(FutureWarning, match="parameter_names is called covariate_names"):
        assert data.parameter_names == ("nu",)
    with pytest.warns(FutureWarning, match="covariates"):
        again = Trajectories.from_xarray(data.to_xarray(), "u", parameters=["nu"])
    np.testing.assert_array_equal(again.covariates, data.covariates)


def test_models_take_num_parameters_through_cases():
    with pytest.warns(FutureWarning, match="num_parameters is called num_covariates"):
        model = kdv(n_eta=0, num_parameters=1)
    assert model.num_covariates == 1
    with pytest.warns(FutureWarning, match="num_covariates"):
        assert multiscale(8, 4, num_parameters=2).config["num_covariates"] == 2
