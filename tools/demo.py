"""The whole thread on the synthetic world: data, training, three measurements, pictures.

Steps that a former run finished with the same code are not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minkocc.apis.baselines import measure_height_baseline
from minkocc.config import load_config
from minkocc.evaluation.report import table
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, run_tool
from minkocc.structures.errors import UserError
from minkocc.study.frozen_code import code_digest
from minkocc.synthetic.writing.writer import WorldSettings, begun_settings, is_outdated

ROOT = Path(__file__).resolve().parent.parent
CONFIG = "configs/minkocc_semi_a10_mini.py"
PUBLISHED = "results/zoo/minkocc_plus_a10_mini.pth"
PUBLISHED_CONFIG = "configs/minkocc_plus_a10_mini.py"
"""A network trained for longer on another world of the same town, to see what that brings."""

DATA = "data/synthetic"
PROTOCOLS, RENDERED = ("occ3d", "rayiou"), "rendered2d"
FIGURES = {"miou": "occ3d", "geometric_iou": "occ3d", "rayiou": "rayiou"}
"""What the demo compares, and under which protocol."""

WORLD = WorldSettings(train_scenes=13, val_scenes=3, keyframes=6)
FORMER_WORLD = WorldSettings(train_scenes=10, val_scenes=3, keyframes=6)
"""Of the same place, by an earlier demo: replaced."""
EPOCHS = 8


class Demo:
    """Runs named steps, remembers what they gave and how long they took."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self.record = work_dir / "steps.json"
        self.code = code_digest(ROOT)
        self.done: dict[str, Any] = {}
        if self.record.is_file():
            self.done = json.loads(self.record.read_text(encoding="utf-8"))

    def step(self, name: str, action: Callable[[], Any], *outputs: Path) -> Any:
        """Run a step unless it is done and its outputs are there; its result must be JSON."""
        known = self.done.get(name)
        if known and known["code"] == self.code and all(path.exists() for path in outputs):
            print(f"[demo] {name}: done before, {known['seconds']:.0f} s", flush=True)
            return known["result"]
        print(f"[demo] {name} ...", flush=True)
        started = time.monotonic()
        result = action()
        seconds = round(time.monotonic() - started, 1)
        self.done[name] = {"code": self.code, "seconds": seconds, "result": result}
        write_json(self.record, self.done)
        print(f"[demo] {name}: {seconds:.0f} s", flush=True)
        return result

    def tool(self, script: str, *arguments: object) -> None:
        """Call one of the tools as a user would."""
        command = [sys.executable, "-W", "ignore", str(ROOT / "tools" / script)]
        code = subprocess.run([*command, *map(str, arguments)], cwd=ROOT).returncode
        if code:
            raise UserError(f"tools/{script} ended with exit code {code}; its words stand above")

    def predictions(self, name: str) -> Path:
        """The folder of what a network predicts of the validation frames."""
        return self.work_dir / "predictions" / name

    def measure(self, name: str, *checkpoint: object, config: str = CONFIG) -> dict[str, Any]:
        """Figures of ``tools/test.py``, by protocol; its predictions are kept."""
        out = self.work_dir / f"{name}.json"
        where = ("--work-dir", self.work_dir, "--out", out, "--dump", self.predictions(name))
        self.tool("test.py", config, *checkpoint, "--render", *where)
        content = json.loads(out.read_text(encoding="utf-8"))
        return {protocol: content[protocol] for protocol in (*PROTOCOLS, RENDERED)}


def main() -> None:
    """Run the demo and write ``summary.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work-dir", type=Path, default=Path("work_dirs/demo"))
    parser.add_argument("--workers", type=int, default=2, help="processes that make data")
    add_debug(parser)
    options = parser.parse_args()
    os.chdir(ROOT)
    demo = Demo(options.work_dir)
    world = ("--train-scenes", WORLD.train_scenes, "--val-scenes", WORLD.val_scenes)
    world += ("--keyframes", WORLD.keyframes, "--seed", WORLD.seed, "--workers", options.workers)
    if is_outdated(Path(DATA), WORLD) or begun_settings(Path(DATA)) == FORMER_WORLD:
        world += ("--overwrite",)
    demo.step(
        "make data",
        lambda: demo.tool("create_synthetic.py", "--out", DATA, *world),
        Path(DATA, "v1.0-synthetic"),
        Path(DATA, "samples"),
    )
    val_infos = Path(DATA, "minkocc_infos_val.pkl")
    infos = ("--root", DATA, "--version", "v1.0-synthetic")
    demo.step("create infos", lambda: demo.tool("create_data.py", *infos), val_infos)
    weak = (*infos, "--skip-infos", "--weak-occupancy", CONFIG, "--workers", options.workers)
    demo.step(
        "prepare weak occupancy",
        lambda: demo.tool("create_data.py", *weak),
        Path(DATA, "weak_occupancy"),
    )
    untrained = demo.step("measure untrained", lambda: demo.measure("untrained"))
    epochs = ("--cfg-options", f"max_epochs={EPOCHS}")
    cfg = load_config(CONFIG)
    height = demo.step(
        "measure height baseline",
        lambda: {summary["protocol"]: summary for summary in measure_height_baseline(cfg)},
    )
    checkpoint = demo.work_dir / f"epoch_{EPOCHS}.pth"
    demo.step(
        "train",
        lambda: demo.tool("train.py", CONFIG, "--work-dir", demo.work_dir, "--overwrite", *epochs),
        checkpoint,
    )
    trained = demo.step("measure trained", lambda: demo.measure("trained", checkpoint))
    pictures = demo.work_dir / "pictures"
    drawn = ("--infos", val_infos, "--out", pictures, "--max-frames", 3)
    demo.step(
        "draw pictures", lambda: demo.tool("visualize.py", CONFIG, checkpoint, *drawn), pictures
    )
    published = demo.step(
        "measure published", lambda: demo.measure("published", PUBLISHED, config=PUBLISHED_CONFIG)
    )
    preds = [f"{name}={demo.predictions(name)}" for name in ("trained", "published")]
    side = demo.work_dir / "side_by_side.png"
    compare = ("--infos", val_infos, "--pred", *preds, "--out", side, "--frames", 3)
    demo.step("draw side by side", lambda: demo.tool("compare_predictions.py", *compare), side)
    _report(demo, untrained, height, trained, published, checkpoint, pictures)


def _report(
    demo: Demo,
    untrained: dict[str, Any],
    height: dict[str, Any],
    trained: dict[str, Any],
    published: dict[str, Any],
    checkpoint: Path,
    pictures: Path,
) -> None:
    measured = {
        "untrained": untrained,
        "height_baseline": height,
        "trained": trained,
        "published": published,
    }
    rows = {
        name: {figure: found[protocol][figure] for figure, protocol in FIGURES.items()}
        for name, found in measured.items()
    }
    seconds = {name: step["seconds"] for name, step in demo.done.items()}
    summary = {
        **provenance(),
        "protocols": list(PROTOCOLS),
        **rows,
        "rendered2d": {
            name: {path: found[RENDERED][f"miou_{path}"] for path in ("tied", "shader")}
            for name, found in measured.items()
            if RENDERED in found
        },
        "beats_both": all(
            rows["trained"][figure] > rows[other][figure]
            for figure in FIGURES
            for other in ("untrained", "height_baseline")
        ),
        "seconds": seconds,
        "seconds_total": round(sum(seconds.values()), 1),
        "config": CONFIG,
        "checkpoint": str(checkpoint),
        "trained_iou": trained["occ3d"]["iou"],
        "trained_ray_iou@4": trained["rayiou"]["iou@4"],
    }
    write_json(demo.work_dir / "summary.json", summary)
    for protocol in PROTOCOLS:
        print(f"\n{table(trained[protocol])}")
    print(f"\n{'':<20}{'mIoU':>8}{'geometric IoU':>16}{'RayIoU':>10}")
    for name, row in rows.items():
        print(
            f"{name.replace('_', ' '):<20}{row['miou']:>8.2f}{row['geometric_iou']:>16.2f}", end=""
        )
        print(f"{row['rayiou']:>10.2f}")
    print(f"\n{summary['seconds_total']:.0f} s in all: {seconds}")
    if not summary["beats_both"]:
        print("WARNING: the trained model does not beat both baselines on every figure")
    print(f"data        {DATA}")
    print(f"checkpoint  {checkpoint}")
    print(f"pictures    {pictures}")
    print(f"published   {PUBLISHED}, beside it: {demo.work_dir / 'side_by_side.png'}")
    print(f"audit       {demo.work_dir / 'label_audit.json'}")
    print(f"summary     {demo.work_dir / 'summary.json'}")


if __name__ == "__main__":
    run_tool(main)
