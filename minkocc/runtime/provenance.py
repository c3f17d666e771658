"""Where a number comes from: commit, machine, versions and command, for every results file."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

FROZEN = "frozen_code.json"
"""Beside the package in a copy that a study runs from: its ``commit``, and ``digest``."""


PACKAGE = Path(__file__).parents[1]
"""The folder of this package."""


def provenance() -> dict[str, Any]:
    """What a results file has to say beside its figures.

    Returns:
        ``commit`` (with ``-dirty`` when the tree differs from it, None outside a checkout),
        ``machine``, ``python``, ``torch`` and ``command``.
    """
    return {
        "commit": commit_of(PACKAGE),
        "machine": machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def machine() -> str:
    """Processor, cores and GPU."""
    return f"{_processor()}, {os.cpu_count()} cores, {_device()}"


def commit_of(package: Path) -> str | None:
    """The commit of the checkout, or of the copy of one, that holds a package."""
    note = package.parent / FROZEN
    if note.is_file():  # a copy may lie within another checkout, whose commit is not its own
        return json.loads(note.read_text(encoding="utf-8"))["commit"]
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
