"""Saved runs, damaged in every way that a seed may choose, and what becomes of loading them."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro.distributions import LogNormal
from safetensors.torch import load as tensors_from
from safetensors.torch import save as bytes_of

import pyro_msde
from pyro_msde.errors import SavedRunError
from pyro_msde.guides import AmortizedGP
from pyro_msde.interface.description import description_of, weights_of
from pyro_msde.models import multiscale
from pyro_msde.priors import bayesian
from pyro_msde.runs import State, read_checkpoint, write_run
from pyro_msde.scores import Calibration

__all__ = ["BASES", "KINDS", "damaged_copy", "outcome", "save_bases"]

LONGEST = 10.0  # seconds of one core that loading and a short forecast may take

Rng = np.random.Generator


def _waves(rng: Rng, shape: tuple[int, ...], channels: int) -> np.ndarray:
    """(time, channel, *space) sums of travelling waves."""
    t = np.linspace(0, 1, 21).reshape(-1, *(1,) * (1 + len(shape)))
    axes = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    phases = rng.uniform(0, 2 * np.pi, (channels, *(1,) * len(shape)))
    found = 0.0
    for k in (1, 2, 5):
        found = found + np.sin(2 * np.pi * (k * sum(axes) - t) + phases) / k
    return np.asarray(0.2 * found + 0.01 * rng.standard_normal((21, channels, *shape)))


def _whole() -> Any:
    """Microscale, region, uncertainty, calibration."""
    model = multiscale(32, 8, n_eta=1, width=16, components=4, seed=1)
    return model, AmortizedGP(model, seed=1)


def _with_prior() -> Any:
    """A prior and an autoguide; passed to `load`."""
    model = multiscale(30, 5, n_eta=1, width=8, components=3, boundary="dirichlet", seed=1)
    bayesian(model.diffusion, LogNormal(-2.0, 0.5))
    return model, AmortizedGP(model, heteroscedastic=True, seed=1)


def _plane() -> Any:
    """Two dimensions, two channels, a parameter, a full covariance."""
    model = multiscale(
        (12, 8),
        (3, 4),
        channels=2,
        num_covariates=1,
        boundary=("neumann", "periodic"),
        located=True,
        width=8,
        expert_variance="shared",
        seed=1,
    )
    return model, AmortizedGP(model, covariance="full", seed=1)


BASES: dict[str, Callable[[], Any]] = {"whole": _whole, "prior": _with_prior, "plane": _plane}


def save_bases(folder: Path) -> None:
    """Train each for a few steps and save it into `folder`/name, with a state of training."""
    rng = np.random.default_rng(0)
    for name, build in BASES.items():
        model, guide = build()
        grid = model.grid
        fields = [_waves(rng, grid.data_shape, grid.channels) for _ in range(3)]
        fields = fields if grid.channels > 1 else [f[:, 0] for f in fields]
        own = np.linspace(0.5, 1.5, 3)[:, None] if model.num_covariates else None
        data = pyro_msde.Trajectories([np.linspace(0, 1, 21)] * 3, fields, covariates=own)
        fit = pyro_msde.fit(model, guide, data, steps=4, length=8, stride=1, progress=False)
        fit.history.validation_steps, fit.history.validation = [2, 4], [float("inf"), 0.5]
        if name == "whole":
            fit = fit.adjusted(Calibration(1.2, 0.9, (1.0, 1.2), ((0.8,) * 10, (0.9,) * 10)))
        moments = {f"moment/{i}": p.detach().clone() for i, p in enumerate(model.parameters())}
        position = {"step": 4, "rng": np.random.default_rng(1).bit_generator.state}
        state = State(position, {**moments, "random": torch.get_rng_state()})
        write_run(folder / name, description_of(fit), weights_of(fit), state)


def outcome(folder: Path, name: str) -> tuple[str, str]:
    """What `load` and a forecast make of a folder: "refused", "forecasts" or a fault, and why."""
    began = time.process_time()
    model, guide = BASES[name]() if name == "prior" else (None, None)
    try:
        try:
            read_checkpoint(folder)
        except SavedRunError:
            pass
        try:
            fit = pyro_msde.load(folder, model, guide)
        except SavedRunError as error:
            found = "refused" if str(folder) in str(error) else "folder not named", str(error)
        else:
            found = _forecast(fit)
    except MemoryError as error:
        found = "memory", repr(error)
    except Exception as error:
        found = "error", repr(error)[:300]
    seconds = time.process_time() - began
    return ("slow", f"{seconds:.1f} s: {found}") if seconds > LONGEST else found


def _forecast(fit: Any) -> tuple[str, str]:
    """A forecast over a fiftieth of the horizon, from a field of the size of the training data."""
    grid, scaling = fit.model.grid, fit.scaling
    waves = _waves(np.random.default_rng(2), grid.data_shape, grid.channels)[0]
    scale = np.array(scaling.channels).reshape(-1, *(1,) * grid.ndim)
    y0 = waves / waves.std() * scale
    wanted = fit.model.num_covariates
    own = np.ones(wanted) * (scaling.covariates or 1.0) if wanted else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fc = fit.predict(
            y0 if fit.has_channel else y0[0],
            np.linspace(0, 0.02 * scaling.time, 3),
            num_samples=2,
            covariates=own,
            max_step=scaling.time / 50,
        )
        finite = bool(fc.mean.isfinite().all()) and bool(fc.sd.isfinite().all())
    return ("forecasts", "") if finite else ("not finite", f"diverged {fc.diverged}")


def _choose(rng: Rng, options: Any) -> Any:
    options = list(options)
    return options[int(rng.integers(len(options)))]


def _any_file(folder: Path, rng: Rng) -> Path:
    return Path(_choose(rng, sorted(folder.glob("*.json")) + sorted(folder.glob("*.safetensors"))))


def _flip_bytes(folder: Path, rng: Rng) -> None:
    path = _any_file(folder, rng)
    data = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 9))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    path.write_bytes(data)


def _cut_or_extend(folder: Path, rng: Rng) -> None:
    path = _any_file(folder, rng)
    data = path.read_bytes()
    where = int(rng.integers(len(data)))
    path.write_bytes(_choose(rng, [data[:where], data + data[where:], data[:where] + b"\0" * 999]))


def _no_file(folder: Path, rng: Rng) -> None:
    path = _any_file(folder, rng)
    other = _any_file(folder, rng).read_bytes()
    path.unlink()
    _choose(
        rng,
        [
            lambda: None,
            path.mkdir,
            lambda: path.symlink_to(path),
            path.touch,
            lambda: path.write_bytes(rng.bytes(500)),
            lambda: path.write_bytes(other),
        ],
    )()


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything in a JSON value; of long lists only to the first few."""
    found = [place] if place else []
    if isinstance(value, dict):
        for k, v in value.items():
            found += _places(v, (*place, k))
    elif isinstance(value, list):
        for i, v in enumerate(value[:3]):
            found += _places(v, (*place, i))
    return found


def _random_place(run: Any, rng: Rng) -> tuple[Any, Any]:
    """A container and a key of it; each top-level field is as likely as any other."""
    field = _choose(rng, run)
    place = (field, *_choose(rng, [(), *_places(run[field])]))
    holder = run
    for key in place[:-1]:
        holder = holder[key]
    return holder, place[-1]


def _nasty(value: Any, rng: Rng) -> Any:
    """Something else in a value's place."""
    general = [
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        3.5,
        1e30,
        -1e30,
        1e-30,
        1e300,
        5e-324,
        2**31,
        2**63,
        2**64,
        10**30,
        10**400,
        "",
        "x",
        "\ud800",
        "9" * 50,
        [],
        {},
        [1],
        [[]],
        {"a": 1},
        {"float": "inf"},
        {"float": "nan"},
        {"float": "-inf"},
        {"float": 3},
        "NaN",
        [None] * 3,
        "dirichlet",
        "published",
        "full",
        "float64",
        "gle",
        10**6,
        10**9,
    ]
    own: list[Any] = []
    if isinstance(value, int | float) and not isinstance(value, bool):
        own = [value * k for k in (-1, 2, 10, 1000, 0)] + [value + 1, value - 1, str(value)]
    elif isinstance(value, list):
        own = [value[:-1], value * 2, [value], value[::-1], value[:1]]
    elif isinstance(value, dict):
        own = [list(value), {**value, "more": 1}, dict(list(value.items())[1:])]
    return _choose(rng, _choose(rng, [general, own or general]))


def _sealed(folder: Path, run: dict[str, Any]) -> None:
    """Write run.json with the digest that makes it look as written."""
    run = {k: v for k, v in run.items() if k != "sha256"}
    text = json.dumps(run, sort_keys=True, separators=(",", ":"))
    (folder / "run.json").write_text(
        json.dumps({**run, "sha256": sha256(text.encode()).hexdigest()})
    )


def _change_fields(folder: Path, rng: Rng, change: Callable[[Any, Any], None]) -> None:
    run = json.loads((folder / "run.json").read_text())
    for _ in range(int(rng.integers(1, 3))):
        change(*_random_place(run, rng))
    if rng.random() < 0.1:
        run["format"] = 2
    _sealed(folder, run)


def _replace_field(folder: Path, rng: Rng) -> None:
    def change(holder: Any, key: Any) -> None:
        holder[key] = _nasty(holder[key], rng)

    _change_fields(folder, rng, change)


def _replace_option(folder: Path, rng: Rng) -> None:
    run = json.loads((folder / "run.json").read_text())
    options = [run["model"], run["guide"], run["scaling"], *run["adjustments"]]
    holder, key = _random_place(_choose(rng, options), rng)
    holder[key] = _nasty(holder[key], rng)
    _sealed(folder, run)


def _drop_or_add_field(folder: Path, rng: Rng) -> None:
    def change(holder: Any, key: Any) -> None:
        value = holder.pop(key)
        if isinstance(holder, dict) and rng.random() < 0.5:
            holder[f"{key}s"] = value
        elif isinstance(holder, list) and rng.random() < 0.5:
            holder += [value, value]

    run = json.loads((folder / "run.json").read_text())
    change(*_random_place(run, rng))
    _sealed(folder, run)


def _swap_fields(folder: Path, rng: Rng) -> None:
    run = json.loads((folder / "run.json").read_text())
    (one, a), (other, b) = _random_place(run, rng), _random_place(run, rng)
    if one is other or not (isinstance(one[a], dict | list) or isinstance(other[b], dict | list)):
        one[a], other[b] = other[b], one[a]
    else:
        one[a] = json.loads(json.dumps(other[b]))
    _sealed(folder, run)


def _nest(folder: Path, rng: Rng) -> None:
    text = (folder / "run.json").read_text().rstrip().rstrip("}")
    deep = int(_choose(rng, [50, 2000, 200_000]))
    inner = _choose(rng, ["[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep])
    (folder / "run.json").write_text(f'{text}, "model": {inner}}}')


def _rewrite_tensors(folder: Path, rng: Rng, change: Callable[[bytes], bytes]) -> None:
    """Change a file of tensors and make its digest, and that of run.json, agree."""
    run = json.loads((folder / "run.json").read_text())
    file = run["files"][_choose(rng, ["weights", "weights", "state"])]
    data = change((folder / file["name"]).read_bytes())
    (folder / file["name"]).write_bytes(data)
    file.update(size=len(data), sha256=sha256(data).hexdigest())
    _sealed(folder, run)


def _change_tensor(folder: Path, rng: Rng) -> None:
    def change(data: bytes) -> bytes:
        tensors = dict(sorted(tensors_from(data).items()))
        name, other = (_choose(rng, sorted(tensors)) for _ in range(2))
        value = tensors[name]
        factor = float(_choose(rng, [0, -1, 10, 1e3, 1e10, 1e30, 1e38, -1e38, 1e-30]))
        one = value.double().reshape(-1)
        if len(one):
            one[int(rng.integers(len(one)))] = _choose(
                rng, [np.nan, np.inf, -np.inf, 1e30, 1e38, -1e30, -1e10]
            )
        whole = [one.reshape(value.shape).to(value.dtype), (value * factor).to(value.dtype)]
        shapes = [
            value[None],
            value.reshape(-1),
            value.reshape(-1)[:-1],
            value.reshape(-1).repeat(2),
            value.mT if value.ndim > 1 else value[..., None],
            value.new_zeros(()),
            value.new_zeros(0),
            value.new_zeros(3, 0),
        ]
        kinds = [
            torch.float64,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.uint8,
            torch.bool,
            torch.complex64,
        ]
        dtypes = [value.to(kind) for kind in kinds]
        tensors[name] = _choose(rng, _choose(rng, [whole, whole, shapes, dtypes]))
        if rng.random() < 0.1:
            tensors[other] = tensors.pop(name)
        elif rng.random() < 0.1:
            tensors[f"{name}.more"] = value
        return bytes_of({k: v.contiguous().clone() for k, v in tensors.items()})

    _rewrite_tensors(folder, rng, change)


def _change_header(folder: Path, rng: Rng) -> None:
    def change(data: bytes) -> bytes:
        length = int.from_bytes(data[:8], "little")
        if rng.random() < 0.3:
            raw = bytearray(data)
            raw[int(rng.integers(8 + length))] = int(rng.integers(256))
            return bytes(raw)
        header = json.loads(data[8 : 8 + length])
        holder, key = _random_place(header, rng)
        holder[key] = _choose(
            rng,
            [
                _nasty(holder[key], rng),
                "F4",
                "F8_E5M2",
                "C64",
                "I64",
                [2**62, 0],
                [2**33, 2**33],
                [1] * 100,
                [0, 2**60],
            ],
        )
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + data[8 + length :]

    _rewrite_tensors(folder, rng, change)


KINDS: dict[str, Callable[[Path, Rng], None]] = {
    "bytes changed": _flip_bytes,
    "cut or extended": _cut_or_extend,
    "no such file, or another": _no_file,
    "field replaced": _replace_field,
    "option, scale or region replaced": _replace_option,
    "field dropped or added": _drop_or_add_field,
    "fields swapped": _swap_fields,
    "nested deeply": _nest,
    "tensor changed": _change_tensor,
    "header changed": _change_header,
}


def damaged_copy(bases: Path, folder: Path, seed: int) -> tuple[str, str]:
    """Put a damaged copy of a saved run into `folder`; which run, and the kind of damage."""
    rng = np.random.default_rng([18, seed])
    name = _choose(rng, BASES)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bases / name, folder)
    kind = _choose(rng, KINDS)
    KINDS[kind](folder, rng)
    return name, kind
