"""Forecasts of test trajectories as ArviZ data, all in the data's units.

Groups, for a field u with one axis x; [channel] if the data have such an axis; `time` is `snapshot`
with times (trajectory, snapshot) where trajectories have times of their own; … = chain, draw:

    posterior             diffusion_sd_zeta (…, [channel], x_coarse), diffusion_sd_eta
                          (…, microscale), observation_sd (…, [channel]), time_kernel_lengthscale
                          (…), equation (…, equation_term) where the drift has one; on
                          request drift.theta (…, drift.theta_dim_0) and the like
    posterior_predictive  u (…, trajectory, time, [channel], x_probe), zeta (…, trajectory, time,
                          [channel], x_coarse), eta (…, trajectory, time, microscale), and on the
                          whole grid u_mean, u_sd, u_q05, u_q95 (trajectory, time, [channel], x)
    predictions           the same after the trajectories' ends, with `horizon`
    log_likelihood        u, u_forecast (…, trajectory, time), u_probes, u_forecast_probes
                          (…, trajectory, time, [channel], x_probe)
    log_prior             drift.theta and the like (…), of parts with a prior
    sample_stats          log_likelihood, drift_residual, kl_parameters, elbo (…)
    prior                 as posterior, with `prior`
    prior_predictive      u, zeta, eta as in posterior_predictive, with `prior`
    observed_data         u at the probes
    constant_data         u_field, the observed u on the whole grid, smoothing_kernel ([channel],
                          x_lag) if the model has one, field_reference where one was subtracted,
                          along the axes that it depends on, field_scale ([channel]),
                          time_scale, covariate_0, … (trajectory), control_0, … (trajectory,
                          time), static_0, … (x), and all coordinates
    predictions_constant_data  u_initial (trajectory, [channel], x), time_initial, time_end,
                          covariate_0, … (trajectory), with `horizon`
    training              elbo, log_likelihood, drift_residual, kl_parameters (step),
                          validation (validation_step)

Where a probe would be off the grid's mask, on land or in a solid body, it is left out: x_probe of
such data (y_probe, …) lie along one axis, `probe`. Elsewhere NaN stands for what was not observed,
and log likelihoods of snapshots are of what was.

ArviZ pairs variables of `observed_data` with draws of the same name, so u_field is not there; it
takes those of `sample_stats` to have chain and draw, so the history is not there. The experts'
variances are left out: only their product's, Σ_y, is identified. What the log likelihoods are for
is in `docs/arviz.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyro_msde.checks import check_kind, check_seed, check_whole
from pyro_msde.data import (
    Trajectories,
    check_trajectories,
    duration_of,
    matched,
    observed_snapshots,
)
from pyro_msde.errors import warn
from pyro_msde.io.arviz.constants import constants, initial_fields, observed, training
from pyro_msde.io.arviz.container import container
from pyro_msde.io.arviz.elbo_terms import elbo_terms
from pyro_msde.io.arviz.forecasts import Imposed, forecast_groups
from pyro_msde.io.arviz.frame import Frame
from pyro_msde.io.arviz.likelihood import knows_new_data, smoothed_likelihood
from pyro_msde.io.arviz.parameters import network_weights, parameters
from pyro_msde.io.arviz.prior import log_prior, prior_draws, prior_fields
from pyro_msde.io.arviz.snapshots import Selection, clock
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.protocols import FittedModel
from pyro_msde.runs import adjustments_of_users

__all__ = ["to_arviz"]

_ORDER = (
    "posterior",
    "posterior_predictive",
    "predictions",
    "log_likelihood",
    "log_prior",
    "sample_stats",
    "prior",
    "prior_predictive",
    "observed_data",
    "constant_data",
    "predictions_constant_data",
    "training",
)


_DIMENSIONS = (
    "chain",
    "draw",
    "trajectory",
    "time",
    "snapshot",
    "channel",
    "microscale",
    "equation_term",
    "step",
    "validation_step",
)


def to_arviz(
    fit: FittedModel,
    test: Trajectories,
    *,
    num_samples: int = 64,
    num_theta: int = 8,
    seed: int = 0,
    probes: Mapping[str, Any] | None = None,
    times: Any = 50,
    horizon: Any = None,
    controls: Any = None,
    control_times: Any = None,
    log_likelihood: bool = True,
    prior: bool | int = False,
    weights: bool | Sequence[str] = False,
) -> Any:
    """Forecast every trajectory from its first snapshot and collect all in ArviZ's format.

    Args:
        fit: The `Fit`; of an `Ensemble`, one of its fits.
        test: Trajectories on the model's grid. If their times count from another date than those
            of the fit's data, they are recounted.
        num_samples: Latent paths, and draws.
        num_theta: Draws of θ among which they are shared out, where it has a posterior; as many as
            paths, if the posterior itself is of interest.
        seed: Of the forecasts; trajectory k has seed + k if trajectories have times of their own.
        probes: Positions per axis of space, such as {"x": [0.5, 2.0]}, or names, where draws of the
            field are kept; the nearest grid points are taken. Axes left out: the coarse points.
        times: How many snapshots of each trajectory to forecast, evenly spaced from the first to
            the last, or times (or dates) to which to take the nearest snapshots.
        horizon: Time up to which to forecast beyond the trajectories' ends, at the spacing of
            the snapshots above.
        controls: (n, c) or (trajectory, n, c), where the model takes any and forecasts go beyond
            the trajectories' ends: what is imposed from their first snapshots up to `horizon`.
        control_times: (n,) or (trajectory, n) increasing, when that is, numbers or dates.
        log_likelihood: Add `log_likelihood` and `sample_stats`. The guide encodes all snapshots for
            that; one without `path_marginals`, or that knows its training data only, leaves
            `sample_stats` and the likelihoods but those of forecasts out.
        prior: How many draws of the prior to simulate, True for `num_samples`. Each θ takes about a
            second, in one dimension.
        weights: Put the parameters of parts with a prior into `posterior` (and `prior`), all or
            those of the sites named, such as ["drift.theta"]. ArviZ takes minutes to summarise
            thousands.

    Returns:
        `arviz.InferenceData`; from ArviZ 1 on an `xarray.DataTree` with the same groups. Where θ
        is a point estimate, all draws of `posterior` are equal; where it is not and trajectories
        have times of their own, they are those of the first trajectory's forecast.

    Raises:
        ValueError: Data of another grid, an unknown axis, positions or times outside the data, a
            horizon within them, sites that are not there, a number of draws that is none, a field
            or axis of a name that is taken; what is no `Fit`; controls that are not known up to
            the horizon, or of another shape.
    """
    known = ("model", "guide", "scaling", "adjustments", "forecast")
    check_kind("fit", fit, known, "what pyro_msde.fit gave, or one of an ensemble's fits")
    check_whole("num_samples", num_samples, 1)
    check_seed("seed", seed)
    if not isinstance(prior, bool):
        check_whole("prior", prior, 0)
    if weights is None or isinstance(weights, str):
        raise ValueError(f"weights={weights!r}: pass True, or a list of sites.")
    check_trajectories("test", fit.model, test)
    test = observed_snapshots(matched(fit.metadata, "test", test), fit.model.grid, "test")
    if others := adjustments_of_users(fit.adjustments):
        warn(
            f"fit: forecasts have its adjustments {', '.join(others)}; the posterior's diffusion "
            "and draws of the prior are without them."
        )
    _check_names(test, ("probe",) if fit.model.grid.mask is not None else ())
    chosen = Selection.of(test, times, horizon)
    truth = chosen.picked.to_xarray()
    names = test.channel_names
    values = truth[test.name].values if names is None else np.stack([truth[c] for c in names], 2)
    frame = Frame.of(fit.model.grid, chosen.picked, truth["time"], probes)
    values = values if fit.model.grid.mask is None else np.where(frame.exists, values, np.nan)
    draws, groups = forecast_groups(
        fit,
        chosen,
        frame,
        num_samples,
        num_theta,
        imposed=Imposed.of(controls, control_times, test),
        seed=seed,
        log_likelihood=log_likelihood,
    )
    duration = duration_of(fit, test)
    theta = parameters(fit, draws, frame, duration) | network_weights(draws, weights)
    groups |= {
        "posterior": frame.dataset(theta),
        "observed_data": frame.dataset(observed(values, frame)),
        "constant_data": constants(fit, chosen.picked, values, frame),
        "training": training(fit.training.history),
    }
    isolation = Isolation(seed, place_of(fit.model)[1])
    if draws.sites[0]:
        with isolation.turn():
            groups["log_prior"] = frame.dataset(log_prior(fit.model, draws))
    if log_likelihood and knows_new_data(fit.guide):
        with isolation.turn():
            guided = smoothed_likelihood(fit, chosen, draws, frame)
        groups["log_likelihood"].update(frame.dataset(guided))
        if guided:
            with isolation.turn():
                terms = elbo_terms(fit, test, draws, guided[test.name])
            groups["sample_stats"] = frame.dataset(terms)
    if prior:
        with isolation.turn():
            drawn = prior_draws(fit.model, num_samples if prior is True else prior)
            theta = parameters(fit, drawn, frame, duration) | network_weights(drawn, weights)
            fields, count = prior_fields(fit, chosen, drawn, frame, seed)
            groups["prior"] = frame.dataset(theta)
            groups["prior_predictive"] = frame.dataset(fields).assign_attrs(count)
    if chosen.later is not None:
        ahead = frame.at(clock(chosen.later, test.time_units))
        groups["predictions_constant_data"] = initial_fields(test, ahead)
    return container({name: groups[name] for name in _ORDER if name in groups})


def _check_names(test: Trajectories, more: Sequence[str]) -> None:
    """The field's name and its axes' are not among those that variables have here, or more."""
    dims = test.dims or ()
    axes = [f"{d}{end}" for d in dims for end in ("", "_probe", "_coarse", "_lag")]
    for what, name, taken in (
        ("name", test.name, {*_DIMENSIONS, *more, *axes, "zeta", "eta"}),
        # an axis of channels is called so
        *(("dims", d, {*_DIMENSIONS, *more, test.name} - {"channel"}) for d in dims),
    ):
        if name in taken:
            raise ValueError(
                f"test: its {what} {name!r} is taken in ArviZ data. Call it otherwise: "
                f"Trajectories(…, {what}=…)."
            )
