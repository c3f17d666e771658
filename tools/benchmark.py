"""Measure what recipes cost, several each in a process of its own, and write them as JSON."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from minkocc.apis.benchmark.compare_commits import measure_in_turn
from minkocc.apis.benchmark.training_cost import measure_training
from minkocc.config import load_config
from minkocc.config.options import add_cfg_options
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.runtime.worker_pool import end_with_parent


def main() -> None:
    """Train each recipe for a few epochs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", metavar="CONFIG")
    parser.add_argument("--epochs", type=int, default=1, help="of each training (default: 1)")
    parser.add_argument("--frames", type=int, help="train and validate on so many (default: all)")
    parser.add_argument("--stages", action="store_true", help="time every stage as well")
    parser.add_argument(
        "--against", metavar="REV", help="measure another commit too, in turn with this tree"
    )
    parser.add_argument("--rounds", type=int, help="of --against (default: 3)")
    parser.add_argument(
        "--weights", metavar="CKPT", help="begin with these trained weights; one CONFIG"
    )
    parser.add_argument(
        "--against-weights", metavar="CKPT", help="those of the other commit's network"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda if there is one")
    parser.add_argument("--backend", choices=["torch", "minkowski"], help="sparse convolution")
    parser.add_argument("--amp", action="store_true", help="mixed precision")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_intermixed_args()
    refuse_less(parser, options, epochs=1, frames=1)
    _check(parser, options)
    options.rounds = options.rounds or 3
    if options.device == "cpu":  # before torch looks for a card
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # mmengine takes one where it sees one
    changes = _changes(options)
    for config in options.configs:
        load_config(config, changes)  # a mistake in the last one should not cost the others' time
    if options.against:
        _compare(options)
        return
    recipes: dict[str, Any] = {}
    report = {
        **provenance(),
        "epochs": options.epochs,
        "frames": options.frames,
        "recipes": recipes,
    }
    measure = _measure if len(options.configs) == 1 else _in_own_process
    for config in options.configs:
        recipes[Path(config).stem] = measure(config, changes, options.frames, options.stages)
        write_json(options.out, report)  # what is measured is kept
    print(_table(recipes))
    if options.stages:
        for name, cost in recipes.items():
            print(_stage_table(name, cost))
    print(f"figures: {options.out}")


def _changes(options: argparse.Namespace) -> dict[str, Any]:
    """What the options change in the recipes."""
    changes = {**(options.cfg_options or {}), "max_epochs": options.epochs}
    if options.weights:
        changes["load_from"] = options.weights
    if options.backend:
        changes["model.genunet.backend"] = options.backend
    if options.amp:
        changes["optim_wrapper.type"] = "AmpOptimWrapper"
    return changes


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what cannot be measured here, or not of both commits."""
    if options.against and options.stages:
        parser.error("--stages with --against: the other commit may not know stages; run it alone")
    if options.rounds is not None and (options.rounds < 1 or not options.against):
        parser.error(f"--rounds {options.rounds}: expected 1 or more, with --against")
    if (options.weights or options.against_weights) and len(options.configs) > 1:
        parser.error("--weights are of one network: name one CONFIG")
    if bool(options.against_weights) != bool(options.against and options.weights):
        parser.error(
            "--against-weights goes with --against and --weights: both or neither begin "
            "with trained weights"
        )
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here")
    if options.against and (options.device or options.backend or options.amp):
        parser.error(
            "--device, --backend and --amp with --against: the other commit may not know "
            "them; use --cfg-options"
        )


def _compare(options: argparse.Namespace) -> None:
    """Both commits, round by round, and how many times this tree is faster."""
    arguments = ["--epochs", str(options.epochs)]
    if options.frames is not None:
        arguments += ["--frames", str(options.frames)]
    weights = {"against": options.against_weights, "now": options.weights}
    pairs = {
        name: [*getattr(options, "cfg_pairs", []), *([f"load_from={path}"] if path else [])]
        for name, path in weights.items()
    }
    about = {**provenance(), "rounds": options.rounds}
    report = measure_in_turn(
        options.against,
        options.configs,
        arguments,
        pairs,
        options.rounds,
        keep=lambda reports: write_json(options.out, {**about, **reports}),
    )
    write_json(options.out, {**about, **report})
    for name, ratios in report["ratios"].items():
        told = ", ".join(f"{phase} {ratio:.2f}" for phase, ratio in ratios.items())
        memory = report["memory_ratio"][name]
        print(f"{name}, times faster than {options.against}: {told}; memory {memory:.2f}")
    print(f"figures: {options.out}")


def _in_own_process(
    config: str, changes: dict[str, Any], frames: int | None, stages: bool
) -> dict[str, Any]:
    """What one recipe leaves in memory must not be counted for the next."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=end_with_parent) as pool:
        return pool.submit(_measure, config, changes, frames, stages).result()


def _measure(
    config: str, changes: dict[str, Any], frames: int | None, stages: bool
) -> dict[str, Any]:
    cfg = load_config(config, changes)
    cfg.launcher = "none"
    return measure_training(cfg, frames, stages)


def _table(recipes: dict[str, Any]) -> str:
    width = max(len(name) for name in recipes)
    rows = [f"{'recipe':<{width}}  seconds an iteration        s/frame  ms latency     peak GiB"]
    for name, cost in recipes.items():
        seconds = ", ".join(
            f"{phase} {s:.2f}" for phase, s in cost["seconds_per_iteration"].items()
        )
        frame = cost["seconds_per_frame"]
        text = "-" if frame is None else f"{frame:.2f}"
        figures = f"{text:>7}  {_latency(cost):<13}  {cost['peak_memory_gib']:>7.2f}"
        rows.append(f"{name:<{width}}  {seconds:<26}  {figures}")
    return "\n".join(rows)


def _latency(cost: dict[str, Any]) -> str:
    """Median and quartiles in milliseconds."""
    if not cost["latency"]:
        return "-"
    middle, (first, third) = cost["latency"]["median"], cost["latency"]["quartiles"]
    return f"{1000 * middle:.0f} ({1000 * first:.0f}-{1000 * third:.0f})"


def _stage_table(name: str, cost: dict[str, Any]) -> str:
    """Milliseconds of every stage by phase."""
    phases = cost["seconds_per_stage"]
    names = list(dict.fromkeys(stage for laps in phases.values() for stage in laps))
    width = max(map(len, names))
    rows = [f"\n{name}, milliseconds", f"{'':<{width}}" + "".join(f"{p:>12}" for p in phases)]
    for stage in names:
        cells = [f"{1000 * laps.get(stage, 0.0):>12.1f}" for laps in phases.values()]
        rows.append(f"{stage:<{width}}" + "".join(cells))
    return "\n".join(rows)


if __name__ == "__main__":
    run_tool(main)
