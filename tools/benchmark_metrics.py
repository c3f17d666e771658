"""How long each protocol takes a frame, and what it says of known changes of the labels."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from minkocc.evaluation.prediction_folder import find_labels
from minkocc.evaluation.protocols import PROTOCOLS, Frame, Protocol, add_counts
from minkocc.evaluation.report import percent_text
from minkocc.files.occupancy import read_measured_label
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, run_tool
from minkocc.runtime.worker_pool import available_cores
from minkocc.structures.taxonomy import FREE, class_id

Semantics = NDArray[np.uint8]

MOUNT = np.array([[0.94, 0.0, 1.84]])
"""Where nuScenes mounts its LiDAR, ego frame, metres."""

DRIVE = MOUNT + np.arange(-4, 4)[:, None] * [4.0, 0.0, 0.0]
"""Eight keyframes of a straight drive."""

CAR, BUS = class_id("car"), class_id("bus")
HEADLINES = ("miou", "geometric_iou", "rayiou", "raypq")

CHANGES: dict[str, Callable[[Semantics, NDArray[np.bool_]], Semantics]] = {
    "unchanged": lambda label, mask: label,
    "seen only": lambda label, mask: np.where(mask, label, FREE).astype(np.uint8),
    "shifted": lambda label, mask: _shifted(label),
    "cars as buses": lambda label, mask: np.where(label == CAR, BUS, label).astype(np.uint8),
    "front half": lambda label, mask: _front(label),
    "empty": lambda label, mask: np.full_like(label, FREE),
}
"""Predictions made of a label: itself; free outside mask_camera; one voxel (0.4 m) further ahead;
its cars called buses; nothing behind the vehicle; nothing at all."""


def _front(label: Semantics) -> Semantics:
    out = label.copy()
    out[: len(out) // 2] = FREE
    return out


def _shifted(label: Semantics) -> Semantics:
    out = np.full_like(label, FREE)
    out[1:] = label[:-1]
    return out


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gt", type=Path, required=True, help="<scene>/<token>/labels.npz")
    parser.add_argument("--max-frames", type=int, default=20, help="labels to use, spread evenly")
    parser.add_argument("--repeat", type=int, default=20, help="timed runs of each protocol")
    parser.add_argument(
        "--folder", type=int, metavar="N", help="also time tools/evaluate.py on N predictions"
    )
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    add_debug(parser)
    options = parser.parse_args()
    for name in ("max_frames", "repeat", "folder"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} {getattr(options, name)}: use 1 or more")
    found = list(find_labels(options.gt).values())
    count = min(options.max_frames, len(found))
    labels = [found[i] for i in np.linspace(0, len(found) - 1, count).astype(int)]
    report: dict[str, Any] = {
        **provenance(),
        "milliseconds_a_frame": _times(labels[0], options.repeat),
        "frames": count,
        "changes": {name: _figures(labels, name) for name in tqdm(CHANGES, desc="changes")},
    }
    if options.folder:
        report["folder"] = _time_folder(labels, options.folder)
    write_json(options.out, report)
    _print(report)
    print(f"results: {options.out}")


def _frame(path: Path, change: str, origins: NDArray[np.float64]) -> Frame:
    label, mask, _ = read_measured_label(path)
    return Frame(CHANGES[change](label, mask), label, mask, origins)


def _times(path: Path, repeat: int) -> dict[str, Any]:
    """Each protocol on one core with eight origins, and the rays on a GPU where there is one."""
    frame = _frame(path, "shifted", DRIVE)
    numba.set_num_threads(1)
    laps = {name: _time(protocol, frame, repeat) for name, protocol in PROTOCOLS.items()}
    if torch.cuda.is_available():
        on_gpu = replace(frame, device=torch.device("cuda"))
        laps["rayiou, cuda"] = _time(PROTOCOLS["rayiou"], on_gpu, repeat)
    return laps


def _time(protocol: Protocol, frame: Frame, repeat: int) -> dict[str, float]:
    protocol.count(replace(frame))  # compiles
    laps = []
    for _ in range(repeat):
        fresh = replace(frame)  # a frame casts its rays once
        start = time.perf_counter()
        protocol.count(fresh)
        laps.append(1000.0 * (time.perf_counter() - start))
    return {"median": round(statistics.median(laps), 2), "max": round(max(laps), 2)}


def _figures(labels: list[Path], change: str) -> dict[str, Any]:
    """The headlines of every protocol over all labels, one origin a frame."""
    frames = [_frame(path, change, MOUNT) for path in labels]
    out = {}
    for name, protocol in PROTOCOLS.items():
        counts = add_counts(protocol.count(frame) for frame in frames)
        summary = protocol.summarise(counts, len(frames))
        out.update({f"{name} {key}": summary[key] for key in HEADLINES if key in summary})
    return out


def _time_folder(labels: list[Path], count: int) -> dict[str, Any]:
    """Seconds that ``tools/evaluate.py`` takes for mIoU and RayIoU of a folder, start included."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(count):
            path = labels[number % len(labels)]
            link = root / "gts" / "scene" / f"{number:05d}" / "labels.npz"
            link.parent.mkdir(parents=True)
            link.symlink_to(path.resolve())
            frame = _frame(path, "shifted", DRIVE)
            np.savez_compressed(root / f"{number:05d}.npz", pred=frame.pred)
        origins = {f"{number:05d}": DRIVE.tolist() for number in range(count)}
        write_json(root / "origins.json", origins)
        command = [sys.executable, str(Path(__file__).with_name("evaluate.py")), "--pred", name]
        command += ["--gt", str(root / "gts"), "--origins", str(root / "origins.json")]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = round(time.perf_counter() - start, 1)
    return {"predictions": count, "cores": available_cores(), "seconds": seconds}


def _print(report: dict[str, Any]) -> None:
    print("milliseconds a frame, one core, eight origins")
    for name, laps in report["milliseconds_a_frame"].items():
        print(f"  {name:<14}{laps['median']:>9.2f} (longest {laps['max']:.2f})")
    changes = report["changes"]
    print(f"\npercent, {report['frames']} frames, one origin")
    print(f"{'':<26}" + "".join(f"{name:>15}" for name in changes))
    for figure in changes["unchanged"]:
        print(
            f"{figure:<26}"
            + "".join(f"{percent_text(row[figure]):>15}" for row in changes.values())
        )
    if "folder" in report:
        print(f"\nfolder: {report['folder']}")


if __name__ == "__main__":
    run_tool(main)
