"""Who may import whom, and what an import may change."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import pyro_msde

ROOT = Path(pyro_msde.__file__).parent
LINKED = ("models", "guides")
LAZY = (("runs", "models"), ("runs", "guides"))  # when `load` meets an unknown name

# A folder imports only from those before it, and only what they export. The files beside them are
# for everybody, and import each other in this order.
ROOT_FILES = (
    "errors",
    "renaming",
    "atomic",
    "memory",
    "isolation",
    "checks",
    "interruption",
    "protocols",
)
FOLDERS = (
    "data",
    "grid",
    "equations",
    "priors",
    "networks",
    "sde",
    "datasets",
    "likelihoods",
    "runs",
    "inference",
    "forecasts",
    "baselines",
    "scores",
    "io",
    "plot",
    "interface",
    "testing",
)
ORDER = (*ROOT_FILES, *FOLDERS)


def library_files() -> list[Path]:
    """Files of pyro_msde, without the linked models and guides."""
    files = sorted(ROOT.rglob("*.py"))
    return [f for f in files if f.relative_to(ROOT).parts[0] not in LINKED]


def imports(code: str, package: str = "pyro_msde") -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything imported; `from a import b` gives a.b.

    What only type checkers read is left out: it ties no file to another.

    Args:
        code: Source.
        package: The package that the file belongs to, for relative imports.
    """
    tree = ast.parse(code)
    annotations = {
        inside
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inside in node.body
    }
    for node in ast.walk(tree):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")
            base = parents[: len(parents) - node.level + 1] if node.level else []
            module = [*base, node.module] if node.module else base
            yield from ((node.lineno, ".".join([*module, alias.name])) for alias in node.names)


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    package = ".".join(["pyro_msde", *file.relative_to(ROOT).parent.parts])
    return imports(file.read_text(encoding="utf-8"), package)


def layer(file: Path) -> str:
    return Path(file.relative_to(ROOT).parts[0]).stem


def test_the_reader_of_imports_sees_every_form():
    code = """
        import pyro_msde.grid.operators, numpy as np
        from pyro_msde.sde import integration as sde
        from . import axes
        from .axes import Axis
        from ..likelihoods import ProductOfExperts
        if TYPE_CHECKING:
            from pyro_msde.runs import Recipe
        def late():
            from pyro_msde.models import kdv
        if TYPE_CHECKING:
            from pyro_msde.guides import AmortizedGP
    """
    names = [name for _, name in imports(textwrap.dedent(code), "pyro_msde.grid")]
    assert sorted(names) == [
        "numpy",
        "pyro_msde.grid.axes",
        "pyro_msde.grid.axes.Axis",
        "pyro_msde.grid.operators",
        "pyro_msde.likelihoods.ProductOfExperts",
        "pyro_msde.models.kdv",
        "pyro_msde.sde.integration",
    ]


def test_every_folder_has_its_place_in_the_order():
    unknown = {layer(f) for f in library_files()} - {*ORDER, "__init__"}
    assert not unknown, (
        f"{sorted(unknown)}: in no layer. Add the name to ORDER in tests/test_layout.py, "
        "below everything it imports and above everything that imports it."
    )


@pytest.mark.parametrize("name", ORDER)
def test_a_file_imports_only_from_layers_above_it(name):
    above = ORDER[: ORDER.index(name)]
    wrong = []
    for file in library_files():
        if layer(file) != name:
            continue
        for line, imported in imports_of(file):
            parts = imported.split(".")
            if (layer(file), *parts[1:2]) in LAZY:
                continue
            if parts[0] == "pyro_msde" and parts[1:2] not in [[m] for m in (*above, name)]:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong, f"{wrong}; allowed: {', '.join(above) or 'nothing of pyro_msde'}"


def test_a_folder_is_used_by_what_it_exports():
    """`from pyro_msde.data import Segments`, not `from pyro_msde.data.segments import Segments`."""
    wrong = []
    for file in library_files():
        for line, imported in imports_of(file):
            parts = imported.split(".")
            inside = parts[:1] == ["pyro_msde"] and parts[1] in FOLDERS and parts[1] != layer(file)
            deepest = 4 if parts[1:2] == ["io"] else 3  # its rooms have doors of their own
            if inside and len(parts) > deepest:
                wrong.append(f"{file.relative_to(ROOT)}:{line} imports {imported}")
    assert not wrong


def test_folders_say_what_they_are_for_and_export_what_they_say():
    for name in FOLDERS:
        folder = import_module(f"pyro_msde.{name}")
        assert folder.__doc__, name
        assert folder.__doc__.strip().count("\n") <= 5, name
        for public in getattr(folder, "__all__", ()):
            assert hasattr(folder, public), f"{name}.{public}"


def test_the_library_never_imports_models_or_guides_but_where_a_name_is_not_known():
    wrong = [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in library_files()
        for line, name in imports_of(file)
        if (own := name.removeprefix("pyro_msde.").split(".")[0]) in LINKED
        and (layer(file), own) not in LAZY
    ]
    assert not wrong
    found = {
        (layer(f), name.removeprefix("pyro_msde."))
        for f in library_files()
        for _, name in imports_of(f)
    }
    assert set(LAZY) <= found  # the exception is still needed


def test_all_lists_the_public_names_and_no_others():
    if not hasattr(pyro_msde, "__all__"):
        pytest.skip("pyro_msde/__init__.py has no __all__ yet")
    missing = [name for name in pyro_msde.__all__ if not hasattr(pyro_msde, name)]
    assert not missing, f"in __all__, but not there: {missing}"
    bound = {
        alias.asname or alias.name
        for node in ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
    }
    public = {name for name in bound if not name.startswith("_")}
    assert public <= set(pyro_msde.__all__), f"not in __all__: {public - set(pyro_msde.__all__)}"


IMPORT_AND_COMPARE = """
import importlib, json, random, sys, warnings
import matplotlib, numpy as np, pyro, torch
outside, library, linked = (json.loads(names) for names in sys.argv[1:])
for name in outside:  # what the library builds on may set what it likes
    importlib.import_module(name)

def state():
    return {
        "default dtype": torch.get_default_dtype(),
        "torch validation flag": torch.distributions.Distribution._validate_args,
        "gradient mode": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "pyro settings": pyro.settings.get(),
        "parameter store": sorted(pyro.get_param_store().keys()),
        "warnings filters": list(warnings.filters),
        "torch generator": torch.get_rng_state().tolist(),
        "numpy generator": np.random.get_state()[1].tolist(),
        "python generator": random.getstate(),
        "matplotlib settings": dict(matplotlib.rcParams),
    }

before = state()
for name in library:
    importlib.import_module(name)
early = [m for m in sys.modules if m.startswith(("pyro_msde.models", "pyro_msde.guides"))]
if early:
    sys.exit(f"the library alone imports {early}")
for name in linked:
    importlib.import_module(name)
after = state()
changed = [k for k in before if before[k] != after[k]]
if changed:
    sys.exit(f"importing pyro_msde changed: {', '.join(changed)}")
"""


def module_name(file: Path) -> str:
    parts = ["pyro_msde", *file.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    try:
        return bool(name) and find_spec(name) is not None
    except (ImportError, ValueError):  # the parent is no package
        return False


def test_importing_changes_no_global_state():
    library = library_files()
    linked = [f for name in LINKED for f in sorted((ROOT / name).rglob("*.py"))]
    names = {name for file in [*library, *linked] for _, name in imports_of(file)}
    # `from a import b` may name a module a.b or something in the module a
    names |= {name.rpartition(".")[0] for name in names}
    outside = {n for n in names if n.split(".")[0] not in ("pyro_msde", "__future__", *LINKED)}
    lists = (
        sorted(filter(is_module, outside)),
        [module_name(f) for f in library],
        [module_name(f) for f in linked],
    )
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_AND_COMPARE, *map(json.dumps, lists)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
