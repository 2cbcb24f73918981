"""`load`: everything that is read is checked, and only SavedRunError comes out of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from problems import NUM_POINTS, same, snapshot, tiny_data, tiny_model, tiny_pair
from pyro.distributions import LogNormal
from pyro.infer.autoguide import AutoIAFNormal
from safetensors.torch import load as tensors_from
from safetensors.torch import save as bytes_of
from torch.testing import assert_close

from benchmarks import fuzz
from pyro_msde import SavedRunError, fit, load
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.networks import MultiscaleDrift
from pyro_msde.priors import LogVariance, bayesian
from pyro_msde.runs import limited
from pyro_msde.runs.strict_json import digest_of, from_json, json_text
from pyro_msde.scores import Calibration

pytestmark = pytest.mark.usefixtures("long_steps")

QUICK = {"steps": 1, "length": 5, "stride": 1, "progress": False}
Y0, TIMES = np.cos(2 * np.pi * np.arange(NUM_POINTS) / NUM_POINTS), np.linspace(0, 0.2, 3)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A run of a registered case with microscale, region, uncertainty and calibration."""
    model = multiscale(30, 5, n_eta=1, width=7, components=3)
    result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    calibration = Calibration(1.2, 0.9, (1.0, 1.2), ((0.8,) * 10, (0.9,) * 10))
    result = result.adjusted(calibration)
    result.history.validation_steps, result.history.validation = [1], [float("inf")]
    folder = tmp_path_factory.mktemp("kept")
    result.save(folder)
    return folder


@pytest.fixture
def saved(kept, tmp_path):
    """A copy to damage."""
    for path in kept.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def rewrite(folder, change):
    """Change run.json, and make its digest agree."""
    run = json.loads((folder / "run.json").read_text())
    run.pop("sha256", None)
    change(run)
    (folder / "run.json").write_text(json.dumps({**run, "sha256": digest_of(run)}))


def rewrite_tensors(folder, change):
    """Change the weights, and make all digests agree."""
    path = next(folder.glob("weights-*"))
    tensors = tensors_from(path.read_bytes())
    change(tensors)
    data = bytes_of(tensors)
    path.write_bytes(data)
    digest = sha256(data).hexdigest()
    rewrite(folder, lambda run: run["files"]["weights"].update(size=len(data), sha256=digest))


def put(run, place, value):
    *keys, last = place.split(".")
    for key in keys:
        run = run[int(key) if key.isdigit() else key]
    run[int(last) if last.isdigit() else last] = value


def test_a_fresh_process_finds_the_packages_own_models(kept):
    code = f"""if True:
        import pyro_msde
        print(pyro_msde.load({str(kept)!r}).model.n_eta)
    """
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert run.stdout == "1\n"


def test_what_is_loaded_forecasts_as_what_was_saved(tmp_path):
    model = multiscale(30, 5, n_eta=1, width=7, components=3)
    result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    result.save(tmp_path)
    again = load(tmp_path)
    assert torch.equal(again.predict(Y0, TIMES).mean, result.predict(Y0, TIMES).mean)
    assert again.training.recipe == result.training.recipe
    assert again.history == result.history
    assert again.scaling == result.scaling
    assert again.training.segment == result.training.segment


INF, NAN = {"float": "inf"}, {"float": "nan"}


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("steps", -1, "steps"),
        ("steps", True, "steps"),
        ("steps", 2.5, "steps"),
        ("steps", "2", "steps"),
        ("steps", 10**400, "steps"),
        ("seconds", NAN, "seconds"),
        ("interrupted", 1, "interrupted"),
        ("has_channel", None, "has_channel"),
        ("adjustments.3.scale", -1.0, "scale"),
        ("adjustments.3.scale", NAN, "scale"),
        ("adjustments.3.scale", 1e30, "scale"),
        ("dtype", "real", "dtype"),
        ("dtype", "load", "dtype"),
        ("dtype", "float64", "model.decoder"),
        ("scaling", None, "scaling"),
        ("scaling.channels", [], "scaling.channels"),
        ("scaling.channels", [1.0, 1.0], "scaling"),
        ("scaling.channels.0", 0.0, r"scaling.channels\[0\]"),
        ("scaling.channels.0", -1.0, r"scaling.channels\[0\]"),
        ("scaling.channels.0", INF, r"scaling.channels\[0\]"),
        ("scaling.channels.0", 1e-60, "scaling"),
        ("scaling.time", 0, "scaling.time"),
        ("scaling.covariates", [1.0], "scaling.covariates"),
        ("scaling.more", 1, "scaling"),
        ("adjustments", None, "adjustments"),
        ("adjustments.1", {}, "one without a name"),
        ("adjustments.1.name", ["region"], "one without a name"),
        (
            "adjustments.1.name",
            "mine",
            "'mine' is not registered; known: calibration, coefficients, jackknife",
        ),
        ("adjustments.1.name", "calibration", "of each name|calibration"),
        ("adjustments.1.more", 1, "more"),
        ("adjustments.0.more", 1, "jackknife"),
        ("history.steps", [1, 2], "history"),
        ("history.validation", ["a"], "history.validation"),
        ("history.terms", {"elbo": None}, "history.terms"),
        ("history", 3, "history"),
        ("adjustments.3.level", 1.5, "level"),
        ("adjustments.3.scales", [], "calibration"),
        ("segment", [1, 0.2], "segment"),
        ("segment", [5], "segment"),
        ("recipe.length", 1, "recipe"),
        ("recipe.antithetic", "yes", "recipe.antithetic"),
        ("recipe.more", 1, "recipe"),
        ("recipe.schedule", "sine", "recipe"),
        ("more", 1, "more"),
        ("priors", {"a": 1}, "priors"),
        ("structure", [], "structure"),
        ("structure", {"model": "Other"}, "model is a Other"),
        ("model", None, "a model of your own"),
        ("model", {}, "model cannot be built: 'case'"),
        ("model.case", "mine", "'mine' is not a registered case"),
        ("model.case", [], "model"),
        ("model.n_eta", "1", "model cannot be built"),
        ("model.more", 1, "model cannot be built"),
        ("model.upper", [INF], "model.upper"),
        ("model.seed", 2**70, "model.seed"),
        ("model.seed", -(2**80), "model.seed"),
        ("guide.covariance", "whole", "guide cannot be"),
        ("random_parts", True, "one with priors"),
    ],
)
def test_a_field_without_sense_is_named(place, value, named, saved):
    rewrite(saved, lambda run: put(run, place, value))
    with pytest.raises(SavedRunError, match=named) as refused:
        load(saved)
    assert str(saved) in str(refused.value)


def test_every_field_is_needed_or_has_a_default(saved):
    run = json.loads((saved / "run.json").read_text())
    optional = {
        "segment",
        "recipe",
        "priors",
        "structure",
        "metadata",
        "identity",
        "position",
        "sha256",
    }
    for name in run.keys() - {"sha256"}:
        rewrite(saved, lambda run, name=name: run.pop(name))
        if name in optional:
            load(saved)
        else:
            with pytest.raises(SavedRunError, match=f"`{name}`|{name}"):
                load(saved)
        (saved / "run.json").write_text(json.dumps(run))


HUGE = 10**9


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("grid", [HUGE]),
        ("grid", [2**63]),
        ("grid", [[30]]),
        ("coarse", [1]),
        ("coarse", [7]),
        ("channels", HUGE),
        ("n_eta", HUGE),
        ("n_eta", 10**7),
        ("width", HUGE),
        ("width", 10**5),
        ("rank", HUGE),
        ("components", HUGE),
        ("radius", HUGE),
        ("half_width", HUGE),
        ("num_covariates", HUGE),
        ("n_eta", -1),
        ("width", -1),
        ("rank", -3),
        ("half_width", -2),
        ("boundary", "dirichlet"),
        ("width", 8),
        ("adjacency", [[0]]),
        ("grid", [2**31 - 1]),
        ("smoothing", "x"),
        ("located", True),
    ],
)
def test_sizes_that_the_file_cannot_hold_are_refused_before_they_are_made(name, value, saved):
    """Gigabytes would be; the tests' machines have no room for a failure."""
    rewrite(saved, lambda run: run["model"].update({name: value}))
    with pytest.raises(SavedRunError, match=r"cannot be built|of another|has boundary"):
        load(saved)


@pytest.mark.parametrize("case", ["kdv", "burgers2d", "gle"])
def test_sizes_of_other_cases_are_bounded_too(case, saved):
    own = {"gle": {"num_points": HUGE + 1}}.get(case, {"width": HUGE})
    rewrite(saved, lambda run: run.update(model={"case": case, **own}))
    with pytest.raises(SavedRunError, match=r"(width|num_points): takes .* numbers"):
        load(saved)


def test_a_full_covariance_is_bounded():
    model = multiscale(30, 30, width=7, half_width=1)
    with limited(900):
        AmortizedGP(model, covariance="full")
    with limited(899), pytest.raises(ValueError, match="covariance: takes 900 numbers"):
        AmortizedGP(model, covariance="full")


def changed(name, change):
    return lambda tensors: tensors.update({name: change(tensors[name])})


VARIANCE = "model.diffusion.net.log_value"
DIRECTIONS, BOX = "adjustments.jackknife.macro", "adjustments.region.box"
AXES, ENDS = "adjustments.region.axes", "adjustments.region.ends"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (changed(VARIANCE, lambda x: x * float("nan")), r"diffusion\.net\.log_value is not finite"),
        (changed(VARIANCE, lambda x: x * 0 + 1e30), r"model\.diffusion\.net: a variance"),
        (changed(VARIANCE, lambda x: x * 0 + 90.0), r"model\.diffusion\.net: a variance"),
        (changed("guide.node_variance.log_value", lambda x: x + 1e4), r"node_variance: a variance"),
        (changed(VARIANCE, lambda x: x[:1].clone()), r"log_value is \(1,\) there and \(2,\) here"),
        (changed(VARIANCE, lambda x: x.double()), r"float64, not torch\.float32"),
        (changed(VARIANCE, lambda x: x.half()), r"float16, not torch\.float32"),
        (changed(VARIANCE, lambda x: x.to(torch.int64)), r"int64, not torch\.float32"),
        (changed("model.drift.net.macro.linear.weight", lambda x: x + 1e30), "drift: takes values"),
        (lambda t: t.pop(VARIANCE), "log_value is missing there"),
        (lambda t: t.update({"model.more": torch.ones(2)}), "more is"),
        (lambda t: t.pop(DIRECTIONS), r"jackknife: of \['micro'\]"),
        (changed(DIRECTIONS, lambda x: x[..., :0].clone()), "jackknife.macro"),
        (changed(DIRECTIONS, lambda x: x[:2].clone()), "jackknife.micro"),
        (changed(DIRECTIONS, lambda x: x[0].clone()), "jackknife.macro"),
        (changed(DIRECTIONS, lambda x: x / 0), r"jackknife\.macro: .*finite"),
        (changed(DIRECTIONS, lambda x: x + 1e39), r"jackknife: .*finite"),
        (changed(DIRECTIONS, lambda x: x + 1e8 / 3), "jackknife: takes values"),
        (changed(DIRECTIONS, lambda x: x.to(torch.int32)), r"jackknife\.macro: torch\.int32"),
        (changed(BOX, lambda x: x[:, :1].clone()), "region.box"),
        (changed(BOX, lambda x: x.flip(0)), "region.box"),
        (changed(BOX, lambda x: x / 0), "region.box"),
        (lambda t: t.pop(BOX), "region|box"),
        (lambda t: t.pop(AXES), "region"),
        (changed(AXES, lambda x: x + 7.0), "region.axes"),
        (changed(ENDS, lambda x: x.flip(0)), "region.ends"),
        (lambda t: t.update({"adjustments.mine.box": torch.ones(2)}), "mine.box: a part of nothin"),
    ],
)
def test_weights_without_sense_are_named(change, named, saved):
    rewrite_tensors(saved, change)
    with pytest.raises(SavedRunError, match=named):
        load(saved)


def test_a_header_that_claims_too_much_allocates_nothing(saved):
    path = next(saved.glob("weights-*"))
    claims = ([2**40, 2**20], [0, 4]), ([2**62, 4], [0, 2**64 - 4]), ([2**62], [0, 0])
    for shape, offsets in claims:
        header = {"model.x": {"dtype": "F32", "shape": shape, "data_offsets": offsets}}
        text = json.dumps(header).encode()
        data = len(text).to_bytes(8, "little") + text + b"1234"
        path.write_bytes(data)
        digest = sha256(data).hexdigest()
        file = {"name": path.name, "size": len(data), "sha256": digest}
        rewrite(saved, lambda run, file=file: run["files"].update(weights=file))
        with pytest.raises(SavedRunError, match="is damaged"):
            load(saved)


@pytest.fixture
def own(tmp_path):
    """A run whose model is the user's own."""
    result = fit(*tiny_pair(0), tiny_data(), **QUICK)
    result.save(tmp_path)
    return tmp_path


def test_models_of_ones_own_are_passed_in(own):
    with pytest.raises(SavedRunError, match="a model of your own"):
        load(own)
    first = load(own, tiny_pair(0, seed=9)[0])  # the default guide is rebuilt
    second = load(own, *tiny_pair(0, seed=8))
    assert_close(first.guide.state_dict(), second.guide.state_dict(), rtol=0, atol=0)
    assert_close(first.model.state_dict(), second.model.state_dict(), rtol=0, atol=0)


def test_arguments_of_other_kinds_are_refused(own):
    for bad in ({"model": "kdv"}, {"guide": AmortizedGP}):
        with pytest.raises(TypeError, match=f"^{next(iter(bad))}: got"):
            load(own, **bad)
    with pytest.raises(TypeError, match=r"^path: 3 is no path"):
        load(3)
    with pytest.raises(SavedRunError, match="holds no saved run"):
        load("a\0b")


def test_another_model_is_refused(own):
    rewrite(own, lambda run: run.pop("structure"))
    with pytest.raises(SavedRunError, match=r"model: the run in .* is of another model"):
        load(own, *tiny_pair(2))


class Damped(MultiscaleDrift):
    """Of the same weights, and another drift."""

    def forward(self, z, t, covariates=None):
        return super().forward(z, t, covariates) - z


def test_a_network_of_another_class_is_refused(tmp_path):
    """Its weights fit, and would mean something else."""
    model = multiscale(30, 5, n_eta=0, width=7)
    model.drift._modules["net"].__class__ = Damped
    fit(model, AmortizedGP(model), tiny_data(), jackknife=False, **QUICK).save(tmp_path)
    with pytest.raises(SavedRunError, match=r"model\.drift\.net is a Damped, here MultiscaleDrift"):
        load(tmp_path)
    load(tmp_path, model)


def test_a_model_of_equal_shapes_and_other_options_is_refused(tmp_path):
    def pair(boundary, seed=0):
        model = multiscale(30, 5, boundary=boundary, width=7, seed=seed)
        return model, AmortizedGP(model)

    fit(*pair("dirichlet"), tiny_data(), **QUICK).save(tmp_path)
    load(tmp_path, *pair("dirichlet", seed=1))  # where weights start does not matter
    with pytest.raises(SavedRunError, match=r"has boundary=\['dirichlet'\], here it is \['neumann"):
        load(tmp_path, *pair("neumann"))
    with pytest.raises(ValueError, match="guide: made for another model"):
        load(tmp_path, pair("dirichlet")[0], pair("dirichlet")[1])


@dataclass(frozen=True)
class Odd:
    """A boundary of a user's own."""

    wall: float = 0.5

    def ghosts(self, distance, n):
        return distance - 1, -1.0


@pytest.mark.parametrize(
    "boundary",
    [[("dirichlet", "neumann")], [("antisymmetric", "neumann")], [(Odd(), "neumann")]],
)
def test_ends_that_differ_are_saved_and_those_of_your_own_asked_for(boundary, tmp_path):
    def pair():
        model = multiscale(30, 5, boundary=boundary, width=7)
        return model, AmortizedGP(model)

    kept = fit(*pair(), tiny_data(), **QUICK)
    kept.save(tmp_path)
    if boundary != [(Odd(), "neumann")]:
        loaded = load(tmp_path)
    else:
        told = r"boundary: 'Odd\(wall=0\.5\)' on axis 0 is unknown.* model=…"
        with pytest.raises(SavedRunError, match=told):
            load(tmp_path)
        loaded = load(tmp_path, *pair())
    assert loaded.model.grid == kept.model.grid
    y0, ask = tiny_data().values[0][0], {"times": [0.0, 0.1], "num_samples": 2}
    assert torch.equal(loaded.predict(y0, **ask).paths, kept.predict(y0, **ask).paths)
    other = multiscale(30, 5, boundary=[("neumann", "dirichlet")], width=7)
    with pytest.raises(SavedRunError, match=r"has boundary=\[\[.*'neumann'\]\], here it is"):
        load(tmp_path, other, AmortizedGP(other))


def test_sizes_may_be_numpys(tmp_path):
    model = multiscale(np.int64(30), np.int64(5), n_eta=np.int64(1), width=np.int64(7))
    options = {"learning_rate": np.float32(1e-3), "length": np.int64(5), "stride": 1}
    result = fit(
        model, AmortizedGP(model), tiny_data(), steps=np.int64(1), progress=False, **options
    )
    result.save(tmp_path)
    assert same(snapshot(load(tmp_path).model), snapshot(model))


@pytest.mark.filterwarnings("ignore:The `init_loc_fn` argument:FutureWarning")
def test_any_autoguide_is_saved(tmp_path):
    """This one holds tensors that share memory."""

    def pair():
        model = tiny_model(0)
        bayesian(model.diffusion, LogNormal(-2.0, 0.5))
        return model, AmortizedGP(model, theta=AutoIAFNormal)

    result = fit(*pair(), tiny_data(), **QUICK)
    result.save(tmp_path)
    model, guide = pair()
    assert same(snapshot(load(tmp_path, model, guide).guide), snapshot(result.guide))


def test_nothing_is_loaded_of_a_run_that_fits_in_part_only(own):
    rewrite(own, lambda run: run.pop("structure"))
    model, guide = tiny_pair(0, seed=9)
    guide.node_variance = LogVariance((7,), 1.0)
    before = snapshot(model), snapshot(guide)
    with pytest.raises(SavedRunError, match=r"guide: .*node_variance.log_value is \(5,\) there"):
        load(own, model, guide)
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def test_nothing_is_left_of_weights_that_prove_damaged_when_tried(own):
    rewrite_tensors(own, changed(VARIANCE, lambda x: x * 0 + 1e30))
    model, guide = tiny_pair(0, seed=9)
    before = snapshot(model), snapshot(guide)
    with pytest.raises(SavedRunError, match="a variance"):
        load(own, model, guide)
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def as_format_3(folder):
    """Region and scale in run.json, and the jackknife among the tensors only; no memory yet."""
    old = {}

    def rename(tensors):
        for key in [key for key in tensors if key.startswith("adjustments.")]:
            _, name, part = key.split(".")
            if name == "memory":
                tensors.pop(key)
            elif name == "region":
                old.setdefault("region", {})[part] = tensors.pop(key).tolist()
            else:
                tensors[f"uncertainty.{part}"] = tensors.pop(key)

    rewrite_tensors(folder, rename)
    run = from_json((folder / "run.json").read_bytes(), unpack=False)
    calibration = run.pop("adjustments")[-1]
    assert calibration.pop("name") == "calibration"
    del run["sha256"]
    names = {"windows": "segment_starts", "spread": "tube_width"}
    for old_name, name in names.items():
        run["recipe"][old_name] = run["recipe"].pop(name)
    run["recipe"]["score_every"] = None
    return {
        **run,
        **old,
        "format": 3,
        "calibration": calibration,
        "diffusion_scale": calibration["scale"],
    }


def test_a_run_of_today_without_adjustments_is_damaged(saved):
    """Also where a tensor has the name that told of a jackknife till format 4."""
    rewrite_tensors(saved, lambda t: t.update(uncertainty=torch.zeros(1)))
    run = from_json((saved / "run.json").read_bytes(), unpack=False)
    del run["adjustments"], run["sha256"]
    text = json_text({**run, "sha256": digest_of(run)})
    (saved / "run.json").write_text(text)
    with pytest.raises(SavedRunError, match="adjustments"):
        load(saved)


def test_runs_of_format_2_load(saved):
    """As they were saved: no digests, no structure, infinity as Python writes it."""
    expected = load(saved).without("memory").predict(Y0, TIMES).mean
    run = as_format_3(saved)
    name = run["files"]["weights"]["name"]
    (saved / name).rename(saved / "weights.safetensors")
    for field in ("files", "position", "structure", "recipe"):
        del run[field]
    run["history"]["validation"] = [float("inf")]  # not as format 3 has it
    (saved / "run.json").write_text(json.dumps({**run, "format": 2}))
    again = load(saved)
    assert torch.equal(again.predict(Y0, TIMES).mean, expected)
    assert again.history.validation == [float("inf")]


def test_runs_of_format_3_load_if_they_are_as_they_were_written(saved):
    expected = load(saved).without("memory").predict(Y0, TIMES).mean
    run = as_format_3(saved)
    (saved / "run.json").write_text(json_text({**run, "sha256": digest_of(run)}))
    assert torch.equal(load(saved).predict(Y0, TIMES).mean, expected)
    (saved / "run.json").write_text(json_text({**run, "steps": 7, "sha256": digest_of(run)}))
    with pytest.raises(SavedRunError, match="not as it was written"):
        load(saved)


def test_kept_runs_are_of_a_digested_format_and_load():
    runs = sorted((Path(__file__).parents[2] / "benchmarks" / "runs").iterdir())
    assert len(runs) >= 11
    for folder in runs:
        record = json.loads((folder / "run.json").read_text())
        assert record["format"] >= 3
        assert load(folder).steps > 0


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    fuzz.save_bases(folder)
    return folder


@pytest.fixture(scope="module")
def cases(bases, tmp_path_factory):
    """Some of those that `python -m benchmarks.trust` tries by the thousand."""
    folder = tmp_path_factory.mktemp("cases") / "case"
    return [
        (
            *(name_and_kind := fuzz.damaged_copy(bases, folder, seed)),
            *fuzz.outcome(folder, name_and_kind[0]),
        )
        for seed in range(100)
    ]


def test_damaged_runs_are_refused_or_forecast(cases):
    wrong = [
        (seed, *case) for seed, case in enumerate(cases) if case[2] not in ("refused", "forecasts")
    ]
    assert not wrong


def test_the_fuzz_reaches_what_lies_behind_the_digests(bases, cases):
    """Most of its messages are not of a digest; each base as it is loads."""
    for name in fuzz.BASES:
        assert fuzz.outcome(bases / name, name) == ("forecasts", "")
    told = [why for *_, why in cases if why]
    assert sum("not as it was written" in why for why in told) < len(told) / 2
    assert len({re.sub(r"\d+|/\S+", "", why) for why in told}) > 20
