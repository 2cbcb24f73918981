"""docs/priors-and-guides.md: its code that stands by itself, at small size."""

from __future__ import annotations

import re
from pathlib import Path

import torch

import pyro_msde
from pyro_msde.likelihoods import StudentT

PAGE = Path(__file__).parent.parent / "docs" / "priors-and-guides.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run(word, monkeypatch):
    """Names after the block with a word, trained for a step, forecast in long steps."""
    fit, predict = pyro_msde.fit, pyro_msde.Fit.predict
    brief = {"num_samples": 4, "num_theta": 1, "max_step": 0.1}
    monkeypatch.setattr(pyro_msde, "fit", lambda *a, **k: fit(*a, **{**k, "steps": 1}))
    monkeypatch.setattr(
        pyro_msde.Fit, "predict", lambda self, *a, **k: predict(self, *a, **{**k, **brief})
    )
    (block,) = [b for b in BLOCKS if word in b]
    names: dict[str, object] = {}
    exec(block, names)
    return names


def test_rain(monkeypatch):
    names = run('link="log"', monkeypatch)
    assert names["fc"].mean.min() >= 0
    assert names["dry"].max() > 0


def test_outliers(monkeypatch):
    fit = run('likelihood="student"', monkeypatch)["robust"]
    law = fit.model.bind({}).observe(torch.zeros(8))
    assert isinstance(law, StudentT)


def test_all_blocks_are_python():
    for block in BLOCKS:
        compile(block, "block", "exec")
