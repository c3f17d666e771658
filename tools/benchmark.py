"""Measure what recipes cost, each in a process of its own, and write the figures as JSON."""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from minkocc.cli import add_debug, run_tool
from minkocc.config import load_config
from minkocc.engine.training_cost import measure_training
from minkocc.provenance import provenance
from minkocc.recipe_options import add_cfg_options
from minkocc.structures.files import write_json


def main() -> None:
    """Train each recipe for a few epochs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--epochs", type=int, default=1, help="of each training (default: 1)")
    parser.add_argument("--frames", type=int, help="train and validate on so many (default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_intermixed_args()
    changes = {**(options.cfg_options or {}), "max_epochs": options.epochs}
    for config in options.configs:
        load_config(config, changes)  # a mistake in the last one should not cost the others' time
    recipes: dict[str, Any] = {}
    report = {
        **provenance(),
        "epochs": options.epochs,
        "frames": options.frames,
        "recipes": recipes,
    }
    for config in options.configs:
        recipes[Path(config).stem] = _in_own_process(config, changes, options.frames)
        write_json(options.out, report)  # what is measured is kept
    print(_table(recipes))
    print(f"figures: {options.out}")


def _in_own_process(config: str, changes: dict[str, Any], frames: int | None) -> dict[str, Any]:
    """What one recipe leaves in memory must not be counted for the next."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(_measure, config, changes, frames).result()


def _measure(config: str, changes: dict[str, Any], frames: int | None) -> dict[str, Any]:
    cfg = load_config(config, changes)
    cfg.launcher = "none"
    return measure_training(cfg, frames)


def _table(recipes: dict[str, Any]) -> str:
    width = max(len(name) for name in recipes)
    rows = [f"{'recipe':<{width}}  seconds an iteration        s/frame  peak GiB"]
    for name, cost in recipes.items():
        seconds = ", ".join(
            f"{phase} {s:.2f}" for phase, s in cost["seconds_per_iteration"].items()
        )
        frame = cost["seconds_per_frame"]
        text = "-" if frame is None else f"{frame:.2f}"
        rows.append(f"{name:<{width}}  {seconds:<26}  {text:>7}  {cost['peak_memory_gib']:>8.2f}")
    return "\n".join(rows)


if __name__ == "__main__":
    run_tool(main)
