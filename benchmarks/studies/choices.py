"""What three choices are worth: the true boundary, drifts without a clock, a wider tube.

    python -m benchmarks.studies.choices
    python -m benchmarks.studies.choices --choices boundary

Each choice is trained both ways on the same data with the same seed; one row each is appended to
benchmarks/studies/results/choices.csv, what is there is skipped. Errors are given within the time
that training trajectories cover, and beyond it where test trajectories go on. The tube is tried on
trajectories whose initial states lie further out than the training data's, and on hard ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import table
from benchmarks.accuracy import NUM_SAMPLES, at_times, one_shot
from benchmarks.device import name_of
from benchmarks.errors import trajectory_error
from examples.cases import CASES, Setting
from pyro_msde.data import Trajectories
from pyro_msde.datasets.kdv import KDV, published_initial
from pyro_msde.datasets.problem import Splits

RESULTS = Path(__file__).parent / "results" / "choices.csv"
COLUMNS = (
    "choice",
    "value",
    "case",
    "split",
    "n_eta",
    "seed",
    "steps",
    "nrmse_within",
    "nrmse_beyond",
    "diverged",
    "train_seconds",
    "device",
)


@dataclass(frozen=True)
class Choice:
    """An option of a case's model, and the two values compared.

    Attributes:
        setting: Case and split.
        n_eta: Microscale states.
        steps: Of training.
        option: Name of the option.
        values: Ours, then the authors'; or one that no other table has.
        of_recipe: The option is one of training, not of the model.
        test: Which trajectories to score.
        calibrated: Scale √C on validation trajectories first, as the accuracy table does; matters
            where that is far from one.
    """

    setting: Setting
    n_eta: int
    steps: int
    option: str
    values: tuple[Any, ...]
    of_recipe: bool = False
    test: Callable[[Splits], Trajectories] = lambda data: data.test
    calibrated: bool = False

    def setting_with(self, value: Any) -> Setting:
        """The case with the option at a value."""
        name = "fit_at" if self.of_recipe else "options_at"
        at = getattr(self.setting, name)
        changed: Any = {name: {**at, self.n_eta: {**at.get(self.n_eta, {}), self.option: value}}}
        return replace(self.setting, **changed)


def outlying(_: Splits) -> Trajectories:
    """30 KdV trajectories with twice the training data's spread of amplitude and width."""

    def draw(rng: np.random.Generator) -> Any:
        return published_initial(rng, KDV.coords["x"], spread=2.0), ()

    return replace(KDV, draw={"published": draw}).fresh("published", 30, 5, 1.0)


CHOICES = {
    # the macroscale alone: its operators and stencil meet the walls at every step
    "boundary": Choice(
        CASES["burgers2d"]["published"], 0, 4000, "boundary", ("dirichlet", "periodic")
    ),
    "boundary-hard": Choice(
        CASES["burgers2d"]["hard"], 0, 4000, "boundary", ("dirichlet", "periodic"), calibrated=True
    ),
    "boundary-cylinder": Choice(
        CASES["cylinder"]["published"], 0, 1000, "boundary", ("slip", "circular")
    ),
    # what fits into 90 minutes of one core; networks without weights that can be solved for
    "architecture-cylinder": Choice(
        CASES["cylinder"]["published"], 5, 3000, "architecture", ("published",)
    ),
    # sin t and cos t among the inputs of the microscale drift
    "clock": Choice(CASES["kdv"]["hard"], 2, 8000, "time_features", (False, True)),
    # how many times as wide as the guide's marginals the tube is on which the drift is learned too
    "tube": Choice(
        CASES["kdv"]["published"],
        3,
        16_000,
        "tube_width",
        (4.0, 1.0),
        of_recipe=True,
        test=outlying,
    ),
    "tube-burgers": Choice(
        CASES["burgers1d"]["published"], 5, 16_000, "tube_width", (4.0, 1.0), of_recipe=True
    ),
    "tube-hard": Choice(CASES["kdv"]["hard"], 2, 8000, "tube_width", (4.0, 1.0), of_recipe=True),
}


def row(choice: Choice, value: Any, data: Splits, seed: int, args: Any) -> dict[str, Any]:
    """Train one way and score it."""
    setting = choice.setting_with(value)
    steps = args.steps or choice.steps
    name = f"{setting.case}-{setting.split}-{choice.n_eta}-{choice.option}-{value}-{steps}steps"
    folder = args.out / name
    fit = one_shot(setting, choice.n_eta, data, seed, steps, folder, args.device)
    fit = fit.without("jackknife")  # the drift as it was trained is what is compared
    if choice.calibrated:
        fit = fit.calibrated(at_times(data.validation, setting.horizon))
    test = at_times(choice.test(data), setting.horizon)
    y, times = np.stack(test.values), test.times[0]
    fc = fit.predict(y[:, 0], times, num_samples=NUM_SAMPLES, covariates=test.covariates)
    seconds = round(fit.training.seconds)
    found = {"diverged": f"{float(fc.diverged.mean()):.4f}", "train_seconds": seconds}
    within = times <= data.train.times[0][-1]
    for name, part in (("nrmse_within", within), ("nrmse_beyond", ~within)):
        if part.any():
            pairs = zip(fc.mean.numpy()[:, part], y[:, part], strict=True)
            found[name] = f"{np.mean([trajectory_error(*pair) for pair in pairs]):.5f}"
    return {
        **found,
        "case": setting.case,
        "split": setting.split,
        "n_eta": choice.n_eta,
        "seed": seed,
        "steps": fit.steps,
        "device": name_of(args.device),
    }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--choices", default=",".join(CHOICES))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of training; unless given the choice's")
    parser.add_argument("--out", type=Path, default=Path("runs/choices"), help="checkpoints")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    rows = table.read(args.results, COLUMNS)
    there = {(r["choice"], r["value"], r["seed"]) for r in rows}
    for name in args.choices.split(","):
        choice = CHOICES[name]
        data = choice.setting.problem.splits(choice.setting.split, directory="data")
        for seed in range(args.seeds):
            for value in choice.values:
                if (name, str(value), str(seed)) in there:
                    table.say_there(args.results, name, value, seed)
                    continue
                found = row(choice, value, data, seed, args)
                table.append({"choice": name, "value": value, **found}, args.results, COLUMNS)
                print(name, value, found, flush=True)


if __name__ == "__main__":
    main()
