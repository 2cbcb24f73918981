"""Name of the device that results are recorded with."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

__all__ = ["name_of"]


def name_of(device: str | torch.device) -> str:
    """Model of the accelerator, or of the processor, which Linux mostly hides from `platform`."""
    if torch.device(device).type == "cuda":
        return str(torch.cuda.get_device_name(device))
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or "cpu"
