"""Pictures of training and of coverage."""

from __future__ import annotations

import numpy as np
import pytest
from named_fields import TIMES, draw, line, untrained_fit

from pyro_msde import History, plot
from pyro_msde.runs import TrainingRecord
from pyro_msde.scores import coverage


def recorded(kl: float = 0.0, validation: bool = True) -> History:
    steps = list(range(50, 1050, 50))
    rising = [-1000.0 / s for s in steps]
    terms = {
        "elbo": rising,
        "log_likelihood": [v + 3 for v in rising],
        "drift_residual": [3000.0 / s for s in steps],
        "kl_parameters": [kl] * len(steps),
    }
    scores = ([500, 1000], [0.4, 0.03]) if validation else ([], [])
    return History(steps, terms, *scores)


def test_history_draws_the_terms_and_the_validation_in_percent():
    record = recorded()
    axes = plot.history(untrained_fit(training=TrainingRecord(record)))
    for name, label in (("elbo", "ELBO"), ("log_likelihood", "log likelihood")):
        assert np.array_equal(line(axes[0], label), record.terms[name])
    assert axes[0].get_ylim()[0] > -20  # the first tenth, two steps of −20 and −10, may be outside
    assert [x.get_label() for x in axes[1].lines] == ["drift residual"]
    assert np.array_equal(axes[1].lines[0].get_ydata(), record.terms["drift_residual"])
    assert np.array_equal(axes[2].lines[0].get_xdata(), [500, 1000])
    assert np.allclose(axes[2].lines[0].get_ydata(), [40, 3], rtol=1e-12, atol=0)
    assert axes[2].get_yscale() == "log"  # more than a factor of ten
    assert axes[2].get_xlabel() == "step"
    draw(axes)


def test_history_takes_itself_and_shows_theta_where_it_is_random():
    axes = plot.history(recorded(kl=5.0, validation=False))
    assert len(axes) == 2
    assert [x.get_label() for x in axes[1].lines] == ["drift residual", "KL of θ"]
    with pytest.raises(ValueError, match="fit: its history is empty"):
        plot.history(History())


def test_coverage_is_that_of_the_scores(case):
    _, truth, fc = case
    ax = plot.coverage_by_lead(fc, truth, bins=3, level=0.8)
    shares = coverage(fc, truth, level=0.8, bins=3)
    assert np.array_equal(line(ax, "mean"), np.asarray(shares).mean(0))
    assert np.array_equal([x.get_ydata() for x in ax.lines[:3]], shares)
    assert np.allclose(ax.lines[3].get_xdata(), [0.15, 0.45, 0.75], rtol=1e-12, atol=0)
    assert line(ax, "nominal 80%").tolist() == [0.8, 0.8]
    assert ax.get_xlabel() == "lead time (day)"
    draw(ax)


def test_coverage_of_one_forecast_has_one_line(case):
    fit, truth, _ = case
    fc = fit.predict(truth.values[0][0], TIMES, num_samples=4)
    ax = plot.coverage_by_lead(fc, truth[0], bins=2)
    assert np.array_equal(line(ax, "forecast"), coverage(fc, truth[0], bins=2))
