"""Every picture refuses what it cannot draw, by the argument's name, and leaves no figure."""

from __future__ import annotations

import inspect
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from named_fields import named_data, untrained_fit
from problems import NUM_POINTS

from pyro_msde import Trajectories, calibration, plot
from pyro_msde.data import Metadata

pytestmark = pytest.mark.usefixtures("long_steps")

OF_FORECASTS = (
    "coverage_by_lead",
    "forecast_images",
    "forecast_overview",
    "forecast_snapshots",
    "forecast_spacetime",
    "latent_paths",
)
OF_FITS = (
    "drift_sensitivity",
    "power_spectra",
    "scale_images",
    "scale_operators",
    "scale_separation",
    "smoothing_kernel",
)
OF_REPORTS = ("calibration_by_lead", "pit_histogram", "reliability_diagram", "spectral_error")


@pytest.fixture(autouse=True)
def _no_figure_is_left():
    plt.close("all")  # those of other files' tests in this process
    yield
    assert plt.get_fignums() == []


def refused(error, match, function, *args, **options):
    with pytest.raises(error, match=match):
        getattr(plot, function)(*args, **options)


def fit_arguments(name, fit, truth):
    """Of a picture of a fit, that it can draw."""
    y = truth.values[0]
    return {
        "smoothing_kernel": (fit,),
        "scale_operators": (fit, y[0]),
        "scale_separation": (fit, y[0]),
        "scale_images": (fit, y, truth.times[0]),
    }.get(name, (fit, y))


def test_these_are_all_the_pictures():
    others = {"comparison_by_lead", "forecast_comparison", "history"}
    others |= {"animation", "save_animation"}  # tests of their own
    known = {*OF_FORECASTS, *OF_FITS, *OF_REPORTS, *others}
    assert known == set(plot.__all__)


@pytest.mark.parametrize("name", [*OF_FORECASTS, "forecast_comparison"])
def test_forecast_and_truth_are_in_the_same_places(name):
    parameters = list(inspect.signature(getattr(plot, name)).parameters.values())
    assert parameters[0].name in ("fc", "forecasts")
    assert parameters[1].name == "truth"
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[2:])


@pytest.mark.parametrize("name", OF_FORECASTS)
def test_what_is_no_forecast_is_refused(case, name):
    fit, truth, fc = case
    for wrong in (fit, truth, fc.mean, None, "fc"):
        refused(TypeError, r"^fc: got .*Pass what fit\.predict gave", name, wrong, truth)


@pytest.mark.parametrize("name", OF_FORECASTS)
def test_what_is_no_truth_is_refused(case, name):
    fit, truth, fc = case
    other = Trajectories(truth.times, [v[:, :-1] for v in truth.values])
    for wrong in (fit, "truth", fc.mean[0], np.full((3, 7, NUM_POINTS), 1j), other):
        refused((TypeError, ValueError), "truth|values", name, fc, wrong)


@pytest.mark.parametrize("name", [n for n in OF_FORECASTS if n != "coverage_by_lead"])
def test_an_index_is_a_whole_number_in_range(case, name):
    """A tensor is never indexed by anything else: by `Trajectories` it ended in a crash."""
    _, truth, fc = case
    for wrong in (truth, 1.0, None, True, [0], "0", torch.tensor(0.0), slice(None)):
        refused(TypeError, r"^trajectory: got .* Pass a whole", name, fc, truth, trajectory=wrong)
    for wrong in (3, -4):
        refused(ValueError, rf"^trajectory: {wrong}, but", name, fc, truth, trajectory=wrong)
    refused(TypeError, "positional", name, fc, truth, 0)


@pytest.mark.parametrize(
    "name",
    ["forecast_images", "forecast_overview", "forecast_snapshots", "forecast_spacetime", *OF_FITS],
)
def test_a_channel_is_a_whole_number_in_range(case, name):
    fit, truth, fc = case
    args = fit_arguments(name, fit, truth) if name in OF_FITS else (fc, truth)
    refused(TypeError, r"^channel: got list", name, *args, channel=[0])
    refused(ValueError, r"^channel: 1, but fields have 1", name, *args, channel=1)


@pytest.mark.parametrize(
    "name",
    ["forecast_images", pytest.param("scale_images", marks=pytest.mark.slow), "smoothing_kernel"],
)
def test_a_channel_may_be_given_by_name(plane, name):
    fit, truth, fc = plane
    args = fit_arguments(name, fit, truth) if name in OF_FITS else (fc, truth)
    data = {"data": truth} if name in OF_FITS else {}
    values = [
        [np.asarray(x.get_array()) for ax in np.ravel(axes) for x in (*ax.images, *ax.collections)]
        for axes in (getattr(plot, name)(*args, channel=k, **data) for k in (0, 1, "second"))
    ]
    plt.close("all")
    assert all(np.array_equal(a, b) for a, b in zip(values[1], values[2], strict=True))
    if name != "smoothing_kernel":  # before training, those of both channels are the same
        assert not np.array_equal(values[0][0], values[1][0])
    match = r"^channel: 'third' is unknown\. Pass one of 'first', 'second'\."
    refused(ValueError, match, name, *args, channel="third", **data)


def test_names_are_those_of_the_fit_where_no_data_are(plane):
    fit, truth, _ = plane
    fit = replace(fit, metadata=Metadata.of(truth))
    fc = fit.predict(truth.values[0][0], truth.times[0][:2], num_samples=2)
    axes = plot.forecast_images(fc, channel="second")
    assert np.array_equal(np.asarray(axes[0, 0].images[0].get_array()), fc.mean[0, 1].numpy().T)
    plt.close("all")
    match = "^source: 'w' is unknown. Pass one of 'first', 'second'"
    refused(ValueError, match, "drift_sensitivity", fit, truth.values[0], source="w")
    fit = replace(untrained_fit(), metadata=Metadata.of(named_data()))
    refused(
        ValueError,
        "^channel: 'w' is unknown. Pass one of 'h'",
        "smoothing_kernel",
        fit,
        channel="w",
    )
    plt.close(plot.smoothing_kernel(fit, channel="h").figure)


def test_a_single_forecast_has_one_trajectory(case):
    fit, truth, _ = case
    fc = fit.predict(truth.values[2][0], truth.times[0], num_samples=2)
    y = truth.values[2]
    for name in ("forecast_snapshots", "latent_paths"):
        refused(ValueError, "^trajectory: 1, but the truth has 1", name, fc, y, trajectory=1)
        drawn = getattr(plot, name)(fc, truth, trajectory=2)
        plt.close(drawn[0].figure)


@pytest.mark.parametrize("name", OF_FITS)
def test_what_is_no_fit_is_refused(case, name):
    fit, truth, fc = case
    for wrong in (fc, truth, None, 3):
        args = (wrong, *fit_arguments(name, fit, truth)[1:])
        refused(TypeError, r"^fit: got .* Pass what pyro_msde\.fit gave", name, *args)
    args = fit_arguments(name, fit, truth)
    refused(TypeError, r"^data: got ndarray\. Pass", name, *args, data=truth.values[0])
    other = Trajectories(truth.times, [v[:, :-1] for v in truth.values])
    refused(ValueError, r"^data: values: field of shape \(29,\)", name, *args, data=other)


@pytest.mark.parametrize("name", [n for n in OF_FITS if n != "smoothing_kernel"])
def test_what_are_no_fields_is_refused(case, name):
    fit, truth, _ = case
    rest = fit_arguments(name, fit, truth)[2:]
    refused(ValueError, "^y: Trajectories is no array", name, fit, truth, *rest)
    for wrong in (np.zeros(29), np.zeros((0, NUM_POINTS)), np.full(NUM_POINTS, np.nan), "y", None):
        refused(ValueError, "^y: ", name, fit, wrong, *rest)


@pytest.mark.parametrize("name", [*OF_FITS, *OF_FORECASTS, *OF_REPORTS, "history"])
def test_what_are_no_axes_is_refused(case, name):
    fit, truth, fc = case
    report = calibration(fc, truth, levels=[0.5], interval=0.5, bins=2)
    fit = replace(fit)
    fit.history.record(
        1, dict.fromkeys(("elbo", "log_likelihood", "drift_residual", "kl_parameters"), 1.0)
    )
    args = fit_arguments(name, fit, truth)
    if name in OF_FORECASTS:
        args = (fc, truth)
    if name in (*OF_REPORTS, "history"):
        args = (report if name in OF_REPORTS else fit,)
    own = {"calibration_by_lead": {"level": 0.5}, "coverage_by_lead": {"bins": 2}}
    options = own.get(name, {})
    takes = inspect.signature(getattr(plot, name)).parameters
    if "ax" in takes:
        refused(TypeError, "^ax: got str", name, *args, ax="ax", **options)
    elif "axes" in takes:
        for count in range(1, 5):
            refused((TypeError, ValueError), "^axes: ", name, *args, axes=[None] * count, **options)


@pytest.mark.parametrize("name", [*OF_REPORTS, "history"])
def test_what_is_no_report_or_history_is_refused(case, name):
    _, truth, fc = case
    for wrong in (fc, truth, None):
        refused(TypeError, "^(report|fit): got", name, wrong)


def test_other_options_are_checked(case):
    fit, truth, fc = case
    y = truth.values[0]
    for wrong in (0, 1.5, None):
        refused(ValueError, "^num_states=", "latent_paths", fc, num_states=wrong)
        refused(ValueError, "^bins=", "coverage_by_lead", fc, truth, bins=wrong)
    refused(ValueError, "^level=", "coverage_by_lead", fc, truth, level=2)
    refused(ValueError, "^half_width=", "drift_sensitivity", fit, y, half_width=-1)
    refused(TypeError, "^reference: got int", "drift_sensitivity", fit, y, reference=1)
    refused(TypeError, "^forecasts: got Forecast", "forecast_comparison", fc, truth)
    refused(TypeError, r"^forecasts\['A'\]: got", "forecast_comparison", {"A": fit}, truth)
    refused(ValueError, "^y: fields do not vary", "power_spectra", fit, np.ones(NUM_POINTS))


def test_a_forecast_that_is_not_finite_is_not_drawn(case):
    _, truth, fc = case
    paths = fc.paths.clone()
    paths[..., 1, 5, :] = torch.inf
    other = replace(fc, paths=paths, _cache={}, _kept=[])
    refused(
        ValueError,
        r"^fc: its mean is NaN or infinite at t=4\.7",
        "forecast_snapshots",
        other,
        truth,
        trajectory=1,
    )
    drawn = plot.forecast_snapshots(other, truth, trajectory=0)
    plt.close(drawn[0].figure)


def test_a_truth_without_power_has_no_spectral_error(case):
    _, truth, fc = case
    flat = Trajectories(truth.times, [np.ones_like(v) for v in truth.values])
    report = calibration(fc, flat, levels=[0.5], interval=0.5, bins=2)
    with pytest.raises(ValueError, match="report: the truth of trajectory 0 has no power in band"):
        plot.spectral_error(report)
