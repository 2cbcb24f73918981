"""What becomes of damaged saved runs, and of training that is killed.

    python -m benchmarks.trust

Three thousand damaged folders are loaded in processes of their own, which may take a gigabyte more
than they have after importing the library, and ten seconds a folder; then `benchmarks.kills` kills
training at random moments, if it is there. Each kind is a line of benchmarks/results/trust.csv:
"count" is how often it was tried, "refused" how often a `SavedRunError` named the folder,
"forecasts" how often what was loaded forecast finite numbers. Anything else is a fault. Takes six
minutes on one core.
"""

from __future__ import annotations

import argparse
import importlib
import json
import queue
import resource
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyro_msde
from benchmarks import fuzz, table
from benchmarks.device import name_of

RESULTS = Path(__file__).parent / "results" / "trust.csv"
COLUMNS = ("what", "count", "refused", "forecasts", "faults", "device", "version")
MEMORY = 2**30  # bytes beyond what a process has before it loads anything
PATIENCE = 60.0  # seconds until a process that says nothing is killed: far beyond `fuzz.LONGEST`


def main() -> None:
    """Append the lines, and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=3000, help="damaged folders")
    parser.add_argument("--first", type=int, default=0, help="seed of the first of them")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=4, metavar=("BASES", "FOLDER", "FROM", "TO"))
    args = parser.parse_args()
    if args.child is not None:
        return _child(Path(args.child[0]), Path(args.child[1]), *map(int, args.child[2:]))
    with tempfile.TemporaryDirectory() as folder:
        rows = fuzzed(Path(folder), args.first, args.first + args.cases)
    if find_spec("benchmarks.kills") is not None:
        rows += importlib.import_module("benchmarks.kills").kills()
    common = {"device": name_of("cpu"), "version": pyro_msde.__version__}
    print(f"{'what':40}{'count':>8}{'refused':>9}{'forecasts':>11}{'faults':>8}")
    for row in rows:
        own = [row["what"], *(row.get(c, "") for c in ("count", "refused", "forecasts", "faults"))]
        print("{:40}{:>8}{:>9}{:>11}{:>8}".format(*own))
        table.append({**row, **common}, args.results, COLUMNS)


def fuzzed(folder: Path, first: int, end: int) -> list[dict[str, Any]]:
    """A row for each kind of damage, and one for all; faults are printed as they are found."""
    fuzz.save_bases(folder / "bases")
    found: dict[str, Counter[str]] = {kind: Counter() for kind in fuzz.KINDS}
    seed = first
    while seed < end:
        for answer in _answers(folder, seed, min(end, seed + 250)):
            seed += 1
            found[answer["kind"]][answer["outcome"]] += 1
            if answer["outcome"] not in ("refused", "forecasts"):
                print(answer, flush=True)
        print(f"{seed - first} of {end - first}", flush=True)
    rows = [_row(f"damaged: {kind}", counts) for kind, counts in found.items()]
    return [*rows, _row("damaged, all", sum(found.values(), Counter()))]


def _row(what: str, counts: Counter[str]) -> dict[str, Any]:
    good = {name: counts[name] for name in ("refused", "forecasts")}
    total = sum(counts.values())
    return {"what": what, "count": total, **good, "faults": total - sum(good.values())}


def _answers(folder: Path, seed: int, end: int) -> Iterator[dict[str, Any]]:
    """What a process says of each folder; of the one at which it dies, that it died."""
    command = [sys.executable, "-m", "benchmarks.trust", "--child"]
    child = subprocess.Popen(
        [*command, str(folder / "bases"), str(folder / "case"), str(seed), str(end)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(child.stdout, lines), daemon=True).start()
    kind = ""
    while True:
        try:
            line = lines.get(timeout=PATIENCE)
        except queue.Empty:
            line = ""
        if not line:
            child.kill()
            code = child.wait()
            if kind:
                yield {"seed": seed, "kind": kind, "outcome": "died", "why": f"exit code {code}"}
            return
        answer = json.loads(line)
        if "outcome" not in answer:
            kind = answer["kind"]
            continue
        yield answer
        kind, seed = "", seed + 1


def _read(pipe: Any, lines: queue.Queue[str]) -> None:
    for line in pipe:
        lines.put(line)
    lines.put("")


def _child(bases: Path, folder: Path, seed: int, end: int) -> None:
    """Load folders under a limit; a line before each, and one after."""
    fuzz.outcome(bases / "whole", "whole")  # what is imported and set up once
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for number in range(seed, end):
        name, kind = fuzz.damaged_copy(bases, folder, number)
        print(json.dumps({"kind": kind}), flush=True)
        outcome, why = fuzz.outcome(folder, name)
        own = {"seed": number, "base": name, "kind": kind, "outcome": outcome, "why": why[:300]}
        print(json.dumps(own), flush=True)


if __name__ == "__main__":
    main()
