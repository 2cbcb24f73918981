# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     cell_markers: '"""'
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
"""
# A fit under ArviZ's eyes

Korteweg–de Vries with the weights kept in `benchmarks/runs`: what `fit.to_arviz(test)` holds,
whether its intervals are honest, which number of microscale states to take, and how much a prior
matters. Some six minutes on one core, most of them forecasts; `docs/arviz.md` says what each
group is.

This notebook and `arviz_diagnostics.py` are a jupytext pair: edit the script, then
`jupytext --to ipynb --update`.
"""

# %%
import os
import warnings
from pathlib import Path

for message in (
    "IProgress not found",
    r"\s*ArviZ is undergoing",  # announces ArviZ 1
    "Passing a dict or None as alias_mapping",  # ArviZ 0.23 under matplotlib 3.11
    "Estimated shape parameter of Pareto",  # looked at below
):
    warnings.filterwarnings("ignore", message)

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import torch
from pyro.distributions import LogNormal
from scipy.special import logsumexp

import pyro_msde
from pyro_msde.datasets.kdv import fresh, kdv_splits
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import kdv
from pyro_msde.priors import bayesian

plt.rcParams.update({"figure.dpi": 72, "figure.constrained_layout.use": True})


# %% [markdown]
"""
The environment variable `MSDE_QUICK` makes everything small enough for the tests.
"""

# %%
QUICK = bool(os.environ.get("MSDE_QUICK"))
DRAWS, TIMES, STEPS, THETAS = (20, 6, 4, 20) if QUICK else (200, 50, 1500, 400)
ROOT = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "benchmarks/runs").is_dir())

if QUICK:
    train = test = fresh("published", 2, seed=0, horizon=0.3)
else:
    data = kdv_splits("published", directory=ROOT / "data")
    train, test = data.train, data.test
end = test.times[0][-1]
test

# %% [markdown]
"""
## Forecasts as InferenceData

Every test trajectory is forecast from its first noisy snapshot, here a fifth further than it was
observed, with draws at every other coarse point and the whole field's moments. The model has no
priors, so θ is a point, but for what the jackknife knows of the drift.
"""

# %%
fit = pyro_msde.load(ROOT / "benchmarks/runs/kdv-5")
probes = {"x": np.arange(0.0, 10.0, 1.0)}
options = {"num_samples": DRAWS, "times": TIMES, "probes": probes}
idata = fit.to_arviz(test, horizon=1.2 * end, prior=DRAWS // 4, **options)
print(idata)

# %% [markdown]
"""
`az.summary` of the posterior is short: a point estimate has no spread. That of the microscale
states at the last observed time, in the first trajectory, has some.
"""

# %%
az.summary(idata.posterior, var_names=["~diffusion_sd_zeta"], kind="stats", round_to=4)

# %%
last = idata.posterior_predictive[["eta"]].isel(time=-1, trajectory=0)
az.summary(last, kind="stats", round_to=3)

# %% [markdown]
"""
## Posterior and prior predictive

Observations at four probes, pooled over trajectories and times, beside draws of the forecast. The
prior of the paths alone, p(z(t₀)) and the trained drift, gives small fields and no wave packet.
"""

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3), sharex=True)
shown = {"coords": {"x_probe": [6.0, 7.0, 8.0, 9.0]}, "random_seed": 1, "textsize": 10}
az.plot_ppc(idata, num_pp_samples=min(40, DRAWS), ax=left, **shown)
# a few paths are not finite, and with them the mean over all
az.plot_ppc(idata, group="prior", observed=True, mean=False, ax=right, **shown)
left.set(title="forecasts", xlim=(-3, 3))
right.set(title="prior")
print({name: idata.prior_predictive.attrs[name] for name in ("paths", "paths_not_finite")})

# %% [markdown]
"""
## Interval bands

The 90 % interval of the whole field at three times, and of one probe over time, with what is
forecast beyond the data.
"""

# %%
pp, ahead = idata.posterior_predictive, idata.predictions
field = idata.constant_data["u_field"]
figure, axes = plt.subplots(2, 3, figsize=(12, 4.5), sharex=True, sharey="row")
for (top, bottom), share in zip(axes.T, (0.1, 0.5, 1.0), strict=True):
    at = {"time": int(share * (pp.sizes["time"] - 1)), "trajectory": -1}
    now, seen = pp.isel(at), field.isel(at)
    top.plot(now["x"], seen, color="0.6", lw=3, label="observed")
    top.plot(now["x"], now["u_mean"], color="C0", lw=1, label="mean")
    top.set_title(f"t = {float(now['time']):.2f}")
    low, high = now["u_q05"] - now["u_mean"], now["u_q95"] - now["u_mean"]
    bottom.plot(now["x"], seen - now["u_mean"], color="0.6", lw=0.8, label="observed − mean")
    bottom.fill_between(now["x"], low, high, color="C0", alpha=0.4, label="90 % interval")
    bottom.set_xlabel("x")
for axis, name in zip(axes[:, 0], ("u", "difference"), strict=True):
    axis.set_ylabel(name)
    _ = axis.legend(fontsize=8, loc="upper left")

# %%
figure, axis = plt.subplots(figsize=(8, 3))
place = {"x": 7.0, "trajectory": 0}
for part, colour, label in ((pp, "C0", "forecast"), (ahead, "C1", "beyond the data")):
    one = part.sel(place)
    axis.fill_between(one["time"], one["u_q05"], one["u_q95"], color=colour, alpha=0.35)
    axis.plot(one["time"], one["u_mean"], color=colour, lw=1, label=label)
axis.plot(field["time"], field.sel(place), ".", color="k", ms=3, label="observed")
axis.axvline(end, color="0.7", lw=0.8)
axis.set(xlabel="t", ylabel=f"u at x = {place['x']:g}")
_ = axis.legend(fontsize=8)

# %% [markdown]
"""
## Are the intervals honest?

The probability integral transform of what was observed is uniform if forecasts are calibrated.
`az.loo_pit` is no way to it here: it reweights the draws of `posterior_predictive` by
leave-one-out weights, but forecasts have not seen the observations, so there is nothing to leave
out; and its weights come from draws of other latent states. `pyro_msde.pit` is the forecast's own
distribution function at the truth, at every point of the grid.
"""

# %%
stride = max(1, (len(test.times[0]) - 1) // 25)
coarse = test.thinned(stride)
fc = fit.forecast(coarse, num_samples=min(64, DRAWS))
values = pyro_msde.pit(fc, coarse)
covered = np.abs(values - 0.5) < 0.45
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3))
left.hist(values.ravel(), bins=20, range=(0, 1), density=True, color="C0", alpha=0.7)
left.axhline(1, color="k", lw=0.8)
left.set(xlabel="PIT", ylabel="density", title="uniform if calibrated")
for k, share in enumerate(covered.mean(2)):
    right.plot(coarse.times[0], share, lw=1, label=f"trajectory {k}")
right.axhline(0.9, color="k", lw=0.8)
right.set(xlabel="t", ylabel="coverage", title="of the 90 % interval", ylim=(0, 1))
_ = right.legend(fontsize=8, loc="lower left")
print(f"within the 90 % interval: {covered.mean():.3f}")

# %% [markdown]
"""
Pooled, the transform is nearly uniform. By trajectory it is not: intervals cover four of them a
little too often and the last, whose wave is the largest, ever less. Pooling hides that, and so
would a test of uniformity that takes neighbouring points for independent.
"""

# %% [markdown]
"""
## How many microscale states?

`az.compare` over n_η by leave-one-out at the probes, `var_name="u_probes"`: how well is a value
filled in, given the snapshots around it?
"""

# %%
runs = {"0": "kdv-0", "5": "kdv-5", "5, published recipe": "kdv-5-published-recipe"}
models = {"5": idata}
for name, folder in runs.items():
    if name not in models:
        other = pyro_msde.load(ROOT / "benchmarks/runs" / folder)
        models[name] = other.to_arviz(test, **options)
table = az.compare(models, var_name="u_probes", seed=0)
table.round(3)

# %%
_ = az.plot_compare(table, figsize=(7, 2), textsize=10)

# %% [markdown]
"""
Importance sampling has to be trusted for that. Pareto k̂ by kind of likelihood: fine for most
single values, hopeless for whole snapshots of a thousand points, whatever number `az.loo`
returns.
"""

# %%
for kind in ("u_probes", "u"):
    loo = az.loo(idata, var_name=kind, pointwise=True)
    k = loo.pareto_k.values
    print(
        f"{kind:9s} elpd {loo.elpd_loo:10.1f}, k̂: median {np.nanmedian(k):.2f}, "
        f"above 0.7: {np.mean(~(k < 0.7)):.1%}"
    )

# %% [markdown]
"""
That question is one of encoder and decoder; the drift hardly enters. Forecasts from the first
snapshot have seen nothing of what they are compared with, so the log of their mean density is a
score as it stands, of the dynamics too.
"""


# %%
def held_out(found):
    """Log score (trajectory, time, x_probe) of forecasts."""
    x = found.log_likelihood["u_forecast_probes"].stack(sample=("chain", "draw"))
    return x.reduce(logsumexp, "sample") - np.log(x.sizes["sample"])


scores = {name: held_out(found) for name, found in models.items()}
for name, score in scores.items():
    each = score.mean(("time", "x_probe")).values
    print(f"n_eta = {name:22s} nats a value: {each.mean():.2f}, by trajectory {each.round(2)}")

# %%
figure, axis = plt.subplots(figsize=(7, 3))
for name, score in scores.items():
    axis.plot(score["time"], score.mean(("trajectory", "x_probe")), label=f"n_η = {name}")
axis.set(xlabel="t", ylabel="nats a value", title="log score of forecasts")
_ = axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))

# %% [markdown]
"""
## Prior sensitivity

A prior on the diffusion, one that says little and one that is sure of a value far too small, each
with a short training at n_η = 1. Draws of θ cost nothing where no path is forecast, hence
`times=1`.
"""

# %%
priors = {"wide": LogNormal(-6.0, 1.0), "narrow": LogNormal(-9.0, 0.1)}
learned = {}
for name, prior in priors.items():
    model = kdv(n_eta=1)
    with torch.no_grad():
        model.diffusion.net.log_value.fill_(-6.0)  # where training starts
    bayesian(model.diffusion, prior)
    trained = pyro_msde.fit(model, AmortizedGP(model), train, steps=STEPS, progress=False)
    learned[name] = trained.to_arviz(
        test, times=1, num_samples=THETAS, num_theta=THETAS, prior=THETAS, log_likelihood=False
    )

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharex=True)
for axis, (name, found) in zip(axes, learned.items(), strict=True):
    for group, colour in (("prior", "C1"), ("posterior", "C0")):
        sd = found[group]["diffusion_sd_eta"].values.ravel()
        az.plot_dist(np.log10(sd), ax=axis, color=colour, label=group, textsize=10)
    axis.set(title=f"{name} prior", xlabel="log₁₀ diffusion of η")

# %% [markdown]
"""
The prior matters: a tempered likelihood counts each snapshot as one observation, and the
divergence of θ from its prior is weighed accordingly. The wide prior lets the diffusion go where
the data want it, the narrow one holds it far lower, if not where it would have it. Power scaling
(`az.psens`, above 0.05 is sensitive) finds the same from the draws of either fit alone; it takes
q(θ) for the posterior.
"""

# %%
for name, found in learned.items():
    index = az.psens(found, component="prior", var_names=["diffusion_sd_zeta", "diffusion_sd_eta"])
    sd = found.posterior["diffusion_sd_eta"]
    print(
        f"{name:7s} diffusion of η {float(sd.mean()):.4f} ± {float(sd.std()):.4f}, "
        f"sensitivity {float(index['diffusion_sd_eta'].max()):.2f}"
    )

# %% [markdown]
"""
## Training, and the ELBO on unseen trajectories

The history has steps, so it is in `training`; `sample_stats` has the terms at each draw on the
test trajectories.
"""

# %%
figure, axis = plt.subplots(figsize=(7, 2.6))
axis.plot(idata.training["step"], idata.training["drift_residual"], lw=0.8)
axis.set(xlabel="step", ylabel="drift residual, nats", yscale="log")
idata.sample_stats.mean().to_pandas().round(1)

# %% [markdown]
"""
`idata.to_netcdf("test.nc")` keeps everything; `az.from_netcdf` reads it.
"""
