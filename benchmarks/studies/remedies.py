"""Do other intervals than those that are shipped match the errors of forecasts better?

    python -m benchmarks.studies.remedies --methods alt-point,alt-loose
    python -m benchmarks.studies.remedies --case kdv --methods alt-bayesian,alt-ensemble

Each method is measured as `benchmarks.calibration` measures what is shipped; the rows are appended
to benchmarks/studies/results/remedies.csv.

    alt-unscaled   what is shipped without the scale of √C that validation chose
    alt-point      the kept weights with neither scale nor jackknife
    alt-loose      with a jackknife that little holds in place, at λ = 0.01 instead of 1
    alt-ensemble   pooled with the weights of two more seeds, all with a point drift
    alt-both       the same three, each with its jackknife
    alt-bayesian   a mean-field posterior over all weights of the drift
    alt-cold       the same with KL(q(θ) ‖ p(θ)) at weight 1, where the likelihood is tempered

Each is as training leaves it, without a scale. The last two and the ensembles are trained where
`TRAINED` has no run to resume, which takes as long as the case's own training, twice that for the
ensembles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyro_msde
from benchmarks.accuracy import kept_fit
from benchmarks.calibration import Method, fill
from examples.cases import Setting
from pyro_msde.data import SegmentBatch, each_trajectory
from pyro_msde.datasets.problem import Splits
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors import bayesian, fan_in_normal

__all__ = ["METHODS", "RESULTS", "every_segment"]

RESULTS = Path(__file__).parent / "results" / "remedies.csv"
TRAINED = Path("runs/calibration")
MORE_SEEDS = (1, 2)  # the kept weights are of seed 0

Data = Callable[[], Splits]


def unscaled(setting: Setting, data: Data, kept: Path) -> pyro_msde.Fit | None:
    """The kept weights, where their scale is not one."""
    fit = kept_fit(setting, setting.n_eta, kept)
    if fit is None or fit.diffusion_scale == 1:
        return None
    return fit.without("calibration")


def every_segment(fit: pyro_msde.Fit, train: pyro_msde.Trajectories) -> Iterator[SegmentBatch]:
    """One after the other, of all trajectories."""
    for segments in each_trajectory(fit, train):
        yield from (batch for _, batch in segments.in_order())


def bayesian_drift(setting: Setting, data: Data, kept: Path) -> pyro_msde.Fit:
    """Weights N(0, 1/fan-in) a priori, independent normal a posteriori."""
    return _trained("bayesian", setting, data, prior=_prior)


def cold_bayesian_drift(setting: Setting, data: Data, kept: Path) -> pyro_msde.Fit:
    """Likewise, with the weight of the prior that an untempered likelihood would leave it."""
    return _trained("cold", setting, data, prior=_prior, beta_parameters=1.0)


def point(setting: Setting, data: Data, kept: Path) -> pyro_msde.Fit | None:
    """The kept weights without the jackknife."""
    fit = kept_fit(setting, setting.n_eta, kept)
    return None if fit is None else fit.without("jackknife", "calibration")


def loosely_jackknifed(setting: Setting, data: Data, kept: Path) -> pyro_msde.Fit | None:
    """The kept weights, hardly held by anything but the other trajectories."""
    fit = point(setting, data, kept)
    return None if fit is None else fit.jackknifed(data().train, ridge=0.01)


def both(setting: Setting, data: Data, kept: Path) -> pyro_msde.Ensemble | None:
    """The ensemble of jackknifed fits."""
    pooled = ensemble(setting, data, kept)
    if pooled is None:
        return None
    return pyro_msde.Ensemble([fit.jackknifed(data().train) for fit in pooled.fits])


def ensemble(setting: Setting, data: Data, kept: Path) -> pyro_msde.Ensemble | None:
    """Seeds 0, 1 and 2."""
    first = point(setting, data, kept)
    if first is None:
        return None
    others = [_trained("seed", setting, data, seed=seed) for seed in MORE_SEEDS]
    return pyro_msde.Ensemble([first, *others])


def _prior(model: Any) -> None:
    bayesian(model.drift, fan_in_normal(1.0))


def _trained(
    name: str,
    setting: Setting,
    data: Data,
    *,
    prior: Callable[[Any], None] | None = None,
    seed: int = 0,
    **changes: Any,
) -> pyro_msde.Fit:
    """A run of the case's own length with one thing changed, resumed if it is there."""
    model = setting.build(setting.n_eta, seed)
    if prior is not None:
        prior(model)
    splits = data()
    return pyro_msde.fit(
        model,
        AmortizedGP(model, seed=seed),
        splits.train,
        validation=splits.validation,
        steps=setting.length(setting.n_eta),
        seed=seed,
        progress=False,
        jackknife=False,
        checkpoint=TRAINED / f"{setting.case}-{setting.split}-{name}{seed}",
        **setting.training(setting.n_eta),
        **changes,
    )


METHODS: dict[str, Method] = {
    "alt-unscaled": unscaled,
    "alt-point": point,
    "alt-loose": loosely_jackknifed,
    "alt-bayesian": bayesian_drift,
    "alt-cold": cold_bayesian_drift,
    "alt-ensemble": ensemble,
    "alt-both": both,
}


if __name__ == "__main__":
    fill(__doc__, RESULTS, METHODS)
