"""The table of a fit beside simple forecasts, against loops over its definitions in numpy."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from gaussian_forecasts import Gaussian
from scipy.stats import norm

import pyro_msde
from pyro_msde import Grid, Trajectories, baselines
from pyro_msde.scores.lead_places import lead_places

POINTS = 6
SPREAD = 0.3


def stand_in(channels: int = 1, samples: int = 400, mask=None, period=None):
    """A fit of POINTS places that forecasts 1.1 times the first snapshot, with spread SPREAD."""
    grid = Grid(POINTS, 3, channels=channels, mask=mask)

    def forecast(trajectories, times, *, num_samples, seed):
        y0 = np.stack([v[0] for v in trajectories.values])
        mean = torch.as_tensor(np.repeat(1.1 * y0[:, None], len(times), 1))
        if mask is not None:
            mean[..., ~torch.as_tensor(mask)] = torch.nan
        return Gaussian(times, mean, torch.full_like(mean, SPREAD), samples=samples)

    model = SimpleNamespace(grid=grid, num_covariates=0)
    scaling = SimpleNamespace(reference=SimpleNamespace(period=period))
    return SimpleNamespace(
        scaling=scaling,
        model=model,
        has_channel=channels > 1,
        metadata=None,
        forecast=forecast,
        predict=None,
    )


def records(sizes, rng, channels: int = 1, step: float = 0.5, start: float = 0.0, **options):
    space = (channels, POINTS) if channels > 1 else (POINTS,)
    times = [start + step * np.arange(n) for n in sizes]
    values = [4 + rng.normal(size=(n, *space)).cumsum(0) * 0.4 for n in sizes]
    return Trajectories(times, values, **options)


def with_gaps(data: Trajectories, rng, share: float = 0.2) -> Trajectories:
    """Values missing after the first snapshot, behind the back of the check."""
    for v in data.values:
        v[1:][rng.random(v[1:].shape) < share] = np.nan
    return data


def expected_scores(values, means, sds, usual, areas, slots):
    """By lead, from loops over trajectories; means(k, i), sds(k, i) and usual(k, i) are fields."""
    out = []
    for lead in slots:
        y, m, s, c, w = ([] for _ in range(5))
        for k, v in enumerate(values):
            if lead < len(v):
                seen = np.isfinite(v[lead])
                y.append(v[lead][seen])
                m.append(np.broadcast_to(means(k, lead), v[lead].shape)[seen])
                s.append(np.broadcast_to(sds(k, lead), v[lead].shape)[seen])
                c.append(np.broadcast_to(usual(k, lead), v[lead].shape)[seen])
                w.append(np.broadcast_to(areas, v[lead].shape)[seen])
        y, m, s, c, w = map(np.concatenate, (y, m, s, c, w))
        z = (y - m) / s
        crps = s * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
        error, size = (w * (m - y) ** 2).sum(), (w * (y - c) ** 2).sum()
        out.append(
            {
                "rmse": np.sqrt(error / w.sum()),
                "nrmse": np.sqrt(error / size),
                "skill": 1 - error / size,
                "anomaly_correlation": (w * (m - c) * (y - c)).sum()
                / np.sqrt((w * (m - c) ** 2).sum() * size),
                "crps": (w * crps).sum() / w.sum(),
                "coverage": (w * (np.abs(z) <= norm.ppf(0.95))).sum() / w.sum(),
                "observed": len(y),
            }
        )
    return {name: np.array([o[name] for o in out]) for name in out[0]}


def test_scores_are_those_of_their_definitions_with_gaps_weights_and_unequal_lengths():
    rng = np.random.default_rng(0)
    train, validation = records((40, 33, 21), rng), records((25,), rng)
    test = with_gaps(records((9, 9, 5, 7), rng), rng)
    areas = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 3.0])
    table = pyro_msde.compare(stand_in(), test, train, validation, weights=areas)
    np.testing.assert_allclose(table["lead"], 0.5 * np.arange(1, 9))
    mean = np.concatenate(train.values).mean(0)
    slots = range(1, 9)
    weighed = [np.where(areas > 0, v, np.nan) for v in test.values]
    expected = expected_scores(
        weighed,
        lambda k, i: 1.1 * test.values[k][0],
        lambda k, i: SPREAD,
        lambda k, i: mean,
        areas,
        slots,
    )
    fit = table.sel(forecaster="fit")
    for name in ("rmse", "nrmse", "skill", "anomaly_correlation", "coverage"):
        np.testing.assert_allclose(fit[name], expected[name], rtol=1e-10, err_msg=name)
    assert (table["observed"].values == expected["observed"]).all()
    # 400 draws: the standard error of one value's CRPS is .026 SPREAD, of the mean of 10 or more
    # values less than .0082 SPREAD; five of them
    np.testing.assert_allclose(fit["crps"], expected["crps"], atol=0.041 * SPREAD)

    damped = baselines.DampedPersistence().fit(train, validation, weights=areas)
    fields = [damped.forecast(v[0], 0.5 * np.arange(len(v))) for v in test.values]
    expected = expected_scores(
        weighed,
        lambda k, i: fields[k].mean[i],
        lambda k, i: fields[k].sd[i],
        lambda k, i: mean,
        areas,
        slots,
    )
    found = table.sel(forecaster="damped persistence")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-9, err_msg=name)
    usual = table.sel(forecaster="climatology")
    np.testing.assert_allclose(usual["skill"], 0, atol=1e-12)
    assert np.isnan(usual["anomaly_correlation"]).all()


def test_channels_are_scored_by_themselves_and_weigh_alike():
    """Another unit of one channel changes its RMSE alone, and no other forecast."""
    rng = np.random.default_rng(1)
    parts = [records(sizes, rng, channels=2) for sizes in ((30, 25), (20,), (8, 8))]
    unit = np.array([1.0, 1024.0])[:, None]  # a power of two, so that rounding is the same
    train, validation, test = parts
    plain = pyro_msde.compare(stand_in(2), test, train, validation)
    other = pyro_msde.compare(
        stand_in(2),
        *(Trajectories(p.times, [v * unit for v in p.values]) for p in (test, train, validation)),
    )
    assert plain["rmse"].dims == ("forecaster", "lead", "channel")
    np.testing.assert_allclose(other["rmse"], plain["rmse"] * unit[:, 0], rtol=1e-6)
    np.testing.assert_allclose(other["skill"], plain["skill"], rtol=1e-6, atol=1e-9)
    errors = np.square(1.1 * np.stack([v[0] for v in test.values])[:, None] - np.stack(test.values))
    expected = np.sqrt(errors.mean((0, 3)))[1:]
    np.testing.assert_allclose(plain["rmse"].sel(forecaster="fit"), expected, rtol=1e-12)


def test_channels_have_their_names_and_units():
    rng = np.random.default_rng(9)

    def scored(**options):
        train, test = records((30,), rng, 2, **options), records((5,), rng, 2, **options)
        options = {"baselines": [baselines.Persistence()], "num_samples": 2}
        return pyro_msde.compare(stand_in(2, 4), test, train, train, **options)

    alike = scored(channel_names=["u", "v"], name="u_v", units={"u": "m s-1", "v": "m s-1"})
    assert list(alike["channel"].values) == ["u", "v"]
    assert alike["rmse"].attrs["units"] == alike["crps"].attrs["units"] == "m s-1"
    assert "units" not in alike["skill"].attrs
    by_name = alike["skill"].sel(channel="v", forecaster="fit")
    np.testing.assert_array_equal(by_name, alike["skill"].isel(channel=1, forecaster=0))

    unlike = scored(channel_names=["t", "z"], units={"t": "K", "z": "m"})
    assert list(unlike["units"].values) == ["K", "m"]
    assert unlike["rmse"].sel(channel="z")["units"] == "m"
    assert "units" not in unlike["rmse"].attrs

    levels = scored(dims=("level", "x"), coords={"level": [500.0, 850.0]}, name="t", units="K")
    assert list(levels["channel"].values) == [500, 850]
    assert levels["rmse"].attrs["units"] == "K"
    assert "channel" not in scored().coords


def test_windows_with_a_season_are_forecast_from_their_own_phase():
    """Data that are a cycle are forecast without error by climatology of that period."""
    period, n = 12.0, 24

    def cycle(start):
        t = start + np.arange(n)
        return t, np.cos(2 * np.pi * t[:, None] / period + np.arange(POINTS))

    pairs = [cycle(s) for s in (0.0, 5.0, 31.0)]
    data = Trajectories(*zip(*pairs, strict=True), units={"u": "K", "time": "days"})
    kinds = [baselines.Climatology(period), baselines.Persistence()]
    table = pyro_msde.compare(stand_in(), data, data, period=period, baselines=kinds, leads=[3, 6])
    assert table["forecaster"].values.tolist() == ["fit", "climatology", "persistence"]
    np.testing.assert_allclose(table["rmse"].sel(forecaster="climatology"), 0, atol=1e-12)
    np.testing.assert_allclose(  # cos against −cos half a period later
        table["rmse"].sel(forecaster="persistence", lead=6.0), np.sqrt(2), rtol=0.02
    )
    assert (table["lead"].attrs["units"], table["rmse"].attrs["units"]) == ("days", "K")
    of_the_fit = pyro_msde.compare(stand_in(period=period), data, data, leads=[3, 6])
    np.testing.assert_allclose(of_the_fit["rmse"].sel(forecaster="climatology"), 0, atol=1e-12)


def test_leads_of_irregular_times_are_the_nearest_snapshots():
    rng = np.random.default_rng(2)
    times = [np.cumsum(rng.uniform(0.5, 1.5, n)) for n in (40, 30)]
    test = Trajectories(times, [np.ones((len(t), 1)) for t in times])
    step = np.median(np.concatenate([np.diff(t) for t in times]))
    places, leads = lead_places(test, None)
    own = np.concatenate([t[1:] - t[0] for t in times])
    assert np.isin(leads, own).all()
    assert np.diff(leads).min() >= 0.5 * step
    # what was not chosen is within half a step of what was
    assert np.abs(own[:, None] - leads).min(1).max() < 0.5 * step
    scored = np.concatenate([slots for _, slots in places])
    assert np.unique(scored).tolist() == list(range(len(leads)))
    for t, (chosen, slots) in zip(times, places, strict=True):
        off = np.abs(t[chosen] - t[0] - leads[slots])
        assert (off <= 0.5 * step + 1e-9).all()
        assert (np.diff(chosen) > 0).all()
        for i, s in zip(chosen, slots, strict=True):
            assert np.abs(t[1:] - t[0] - leads[s]).argmin() + 1 == i
    named, wanted = lead_places(test, np.array([2.0, 5.0]))
    assert wanted.tolist() == [2.0, 5.0]
    assert all(len(chosen) <= 2 for chosen, _ in named)


def test_leads_of_months_and_leap_years_count_together():
    """Windows of four snapshots have three leads each, whatever the calendar."""
    for unit, most in (("Y", 1), ("M", 3)):
        dates = np.arange("1990", "2020", dtype=f"datetime64[{unit}]").astype("datetime64[D]")
        days = (dates - dates[0]).astype(float)
        windows = [days[s : s + 4] for s in range(len(days) - 3)]
        test = Trajectories(windows, [np.ones((4, 1)) for _ in windows])
        places, leads = lead_places(test, None)
        np.testing.assert_allclose(leads, np.arange(1, 4) * days[-1] / (len(days) - 1), atol=most)
        assert all(slots.tolist() == [0, 1, 2] for _, slots in places)


def test_leads_are_those_that_windows_have():
    """No row without a window: where a second spacing begins, and where a hole is spanned."""
    for steps in ([1.0] * 40 + [1.5] * 40, [1.0] * 40 + [71.0] + [1.0] * 40):
        times = np.cumsum([0.0, *steps])
        windows = [times[s : s + 5] for s in range(len(times) - 4)]
        test = Trajectories(windows, [np.ones((5, 1)) for _ in windows])
        places, leads = lead_places(test, None)
        own = np.concatenate([w[1:] - w[0] for w in windows])
        shared = {lead for lead in own if (own == lead).sum() > 1}
        assert shared <= set(leads) <= set(own)
        scored = np.concatenate([slots for _, slots in places])
        assert np.unique(scored).tolist() == list(range(len(leads)))
        for w, (chosen, slots) in zip(windows, places, strict=True):
            assert set(w[1:] - w[0]) & shared <= set(leads[slots])
            assert (np.abs(leads[slots] - (w[chosen] - w[0])) < 0.75).all()


def test_of_many_leads_the_most_common_are_scored():
    """A hundred leads: ten of three trajectories, then such as one has, all over."""
    times = [np.arange(11.0), np.arange(11.0), np.arange(101.0)]
    odd = np.append(np.arange(11.0), 100.5)
    test = Trajectories([*times, odd], [np.ones((len(t), 1)) for t in [*times, odd]])
    _, leads = lead_places(test, None)
    assert len(leads) == 50
    assert leads[:10].tolist() == list(range(1, 11))
    assert (leads[10], leads[-1]) == (11.0, 100.5)
    assert set(np.diff(leads[10:])) <= {1.5, 2.0, 3.0, 2.5, 3.5}


def test_of_many_leads_fifty_are_scored_and_long_ones_from_long_trajectories():
    test = Trajectories([np.arange(201.0), np.arange(11.0)], [np.ones((n, 1)) for n in (201, 11)])
    places, leads = lead_places(test, None)
    assert (leads[0], leads[-1], len(leads)) == (1.0, 200.0, 50)
    assert (places[0][0] == leads).all()
    assert (places[1][0] == leads[leads <= 10]).all()


def test_a_forecast_that_is_not_finite_is_infinitely_bad():
    rng = np.random.default_rng(3)
    data = records((12, 12), rng)
    fit = stand_in()
    made = fit.forecast

    def broken(*args, **options):
        fc = made(*args, **options)
        fc.mean[0, 0, 0] = np.inf
        return fc

    fit.forecast = broken
    table = pyro_msde.compare(fit, data, data, leads=[0.5, 1.0]).sel(forecaster="fit")
    assert np.isinf(table["rmse"][0])
    assert np.isinf(table["crps"][0])
    assert table["skill"][0] == -np.inf
    assert np.isfinite(table["rmse"][1])


def test_what_is_off_the_models_mask_is_scored_of_none():
    """Values there: the model was told to leave them out."""
    data = records([6, 6], np.random.default_rng(3))
    sea = np.arange(POINTS) > 1
    found = pyro_msde.compare(stand_in(mask=sea), data, data, weights=1 + np.arange(POINTS))
    other = [np.where(sea, v, np.nan) for v in data.values]
    gappy = Trajectories(data.times, other, missing="mask")
    expected = pyro_msde.compare(stand_in(mask=sea), gappy, data, weights=1 + np.arange(POINTS))
    assert np.isfinite(found["rmse"]).all()
    xr.testing.assert_identical(found["observed"], expected["observed"])
    xr.testing.assert_allclose(found.sel(forecaster="fit"), expected.sel(forecaster="fit"))
    at = {"forecaster": "persistence"}  # of which what is off the mask makes no difference
    xr.testing.assert_allclose(found["rmse"].sel(at), expected["rmse"].sel(at))


def test_what_cannot_be_compared_is_refused_by_name():
    rng = np.random.default_rng(4)
    data, fit = records((12, 9), rng), stand_in()
    narrow = Trajectories(data.times, [v[:, :4] for v in data.values])
    single = data.snapshots([slice(1)] * 2)
    twice = [baselines.Persistence(), baselines.Persistence()]
    for options, message in (
        ({"fit": 3}, "fit: got int. Pass what pyro_msde.fit gave"),
        ({"test": narrow}, "test: fields .4,., but those of the fit are .6,."),
        ({"train": narrow}, "train: fields"),
        ({"train": 3}, "train: got int"),
        ({"validation": narrow}, "validation: fields"),
        ({"test": single}, "test: no trajectory has a second snapshot"),
        ({"leads": [90.0]}, "leads: 90 to 90, but the test trajectories have snapshots 0.5 to"),
        ({"leads": [0.0]}, "leads: .0.0.. Pass positive times"),
        ({"leads": []}, "leads: "),
        ({"period": [1.0]}, "period="),
        ({"period": -1.0}, "period="),
        ({"period": "1 year"}, "period: '1 year', but the data's times count from no date"),
        ({"period": "yearly"}, "period='yearly': no duration"),
        ({"weights": np.ones(5)}, "weights: shape .5,. does not broadcast"),
        ({"baselines": twice}, "baselines: names"),
        ({"baselines": [baselines.Persistence]}, r"baselines\[0\]: got Persistence"),
        ({"num_samples": 1}, "num_samples=1"),
    ):
        with pytest.raises(ValueError, match=message):
            pyro_msde.compare(**{"fit": fit, "test": data, "train": data, **options})


def test_areas_may_be_cosines_of_latitudes():
    rng = np.random.default_rng(3)
    latitude = np.array([-75.0, -45.0, -15.0, 15.0, 45.0, 75.0])
    options = {"dims": ("lat",), "coords": {"lat": latitude}}
    train, test = records((40,), rng, **options), records((9, 9), rng, **options)
    found = pyro_msde.compare(stand_in(), test, train, weights="coslat")
    expected = pyro_msde.compare(stand_in(), test, train, weights=np.cos(np.deg2rad(latitude)))
    np.testing.assert_allclose(found["skill"], expected["skill"], rtol=1e-12)
    plain = pyro_msde.compare(stand_in(), test, train)
    assert not np.allclose(found["skill"], plain["skill"], rtol=1e-3)
