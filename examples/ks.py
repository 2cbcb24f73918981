"""A case of your own: chaos on a line, learned in a few lines (Kuramoto–Sivashinsky, L = 22).

    python examples/ks.py --out runs/ks         a quarter of an hour on one core

Long forecasts are impossible: they are judged over two Lyapunov times, and after that by their
statistics. Leaves the run and statistics.png under --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from cases import CASES

import pyro_msde
from pyro_msde.datasets.ks import KS
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.scores import relative_squares

LYAPUNOV = 0.043  # largest exponent (Edson et al. 2019)
LONG = 200.0  # how far the statistics' forecasts run, in units of time


def learn(out: Path, steps: int, seed: int) -> tuple[pyro_msde.Fit, pyro_msde.Trajectories]:
    """All that a case needs: data, a model of their grid, a guide; trained as the table's row."""
    data = KS.splits(directory="data")  # or pyro_msde.Trajectories(times, values)
    case = {"grid": 512, "coarse": 32, "boundary": "periodic", "upper": 22.0}
    model = multiscale(**case, equation="identified", seed=seed)
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model, seed=seed),
        data.train,
        validation=data.validation,
        steps=steps,
        seed=seed,
        checkpoint=out,
        **CASES["ks"]["published"].training(0),
    )
    print(fit.equation)  # None where no equation of the library forecasts the data
    return fit.calibrated(data.validation), data.test


def statistics(fit: pyro_msde.Fit, test: pyro_msde.Trajectories, out: Path) -> None:
    """Spectrum and density of single forecast paths, long after the last that can be predicted."""
    truth = np.stack(test.values)
    later = np.arange(2 / LYAPUNOV, LONG, 1.0)
    fc = fit.forecast(test, later, num_samples=4)
    paths = np.concatenate([draws.numpy() for _, draws in fc.chunks()], axis=2)
    x = KS.coords["x"]
    k = 2 * np.pi * np.fft.rfftfreq(len(x), x[1] - x[0])
    _, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
    bins = np.linspace(-4.5, 4.5, 61)
    for name, u, style in (("data", truth, "k-"), ("forecast", paths, "C0--")):
        power = np.square(np.abs(np.fft.rfft(u, axis=-1)) / len(x)).reshape(-1, len(k)).mean(0)
        axes[0].loglog(k[1:], power[1:], style, label=name, linewidth=1)
        density = np.histogram(u, bins, density=True)[0]
        axes[1].plot(0.5 * (bins[1:] + bins[:-1]), density, style, label=name, linewidth=1)
        print(
            f"{name:9s} sd {u.std():.3f}, fourth root of the mean fourth power "
            f"{np.mean(u**4) ** 0.25:.3f}"
        )
    axes[0].axvline(np.pi * 32 / 22.0, color="0.5", linestyle=":", label="coarse Nyquist")
    axes[0].set(xlabel="wavenumber k", ylabel="mean power")
    axes[1].set(xlabel="u", ylabel="density")
    axes[0].legend(frameon=False)
    plt.savefig(out / "statistics.png", dpi=150)


def main() -> None:
    """Train, forecast two Lyapunov times, compare statistics."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/ks"), help="where to leave it")
    parser.add_argument("--steps", type=int, default=CASES["ks"]["published"].steps)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    fit, test = learn(args.out, args.steps, args.seed)
    fit.save(args.out)
    soon = round(2 / LYAPUNOV / KS.dt) + 1
    y = np.stack(test.values)[:, :soon]
    fc = fit.forecast(test, test.times[0][:soon])
    for turns in (0.5, 1.0, 1.5, 2.0):
        part = np.searchsorted(fc.times, turns / LYAPUNOV) - 1
        instant = slice(part, part + 1)
        share = relative_squares(fc.mean[:, instant], torch.as_tensor(y[:, instant])) ** 0.5
        print(f"relative error after {turns:g} Lyapunov times: {share.mean():.1%}")
    print(
        f"NRMSE over two: {np.mean(pyro_msde.nrmse(fc, y, relative_to='zero')):.1%}, "
        f"coverage of the 90 % interval {np.mean(pyro_msde.coverage(fc, y)):.2f}"
    )
    statistics(fit, test, args.out)


if __name__ == "__main__":
    main()
