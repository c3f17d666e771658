"""Measure what each renderer of the 2D loss shows of exact labels, and how long it takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from minkocc.apis.benchmark.rendering import installed_renderers, loss_table, measure_loss
from minkocc.apis.benchmark.rendering_picture import Sighting, find_pedestrian, pedestrian_row
from minkocc.apis.benchmark.rendering_times import measure_agreement, measure_times, times_table
from minkocc.files.infos import read_infos
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.structures.errors import UserError
from minkocc.structures.spread import spread_indices
from minkocc.visualization.sheet import write_sheet


def main() -> None:
    """Print tables, and write their figures as JSON."""
    options = parse_args()
    found = [frame for frame in read_infos(options.infos)["data_list"] if frame["occ_path"]]
    if not found:
        raise UserError(f"--infos {options.infos}: no frame has a dense label to be rendered")
    frames = [found[i] for i in spread_indices(len(found), max(1, options.frames))]
    root = options.infos.parent
    seen: list[Sighting] = []
    if options.picture:  # found before anything is measured
        seen = [find_pedestrian(frames, root, distance) for distance in (15.0, 30.0)]
    figures: dict[str, Any] = provenance()
    if options.frames:
        figures |= measure_loss(frames, root, options.labels)
        print(loss_table(figures))
    if options.repeat:
        figures |= _timed(frames[0], root, options)
    if seen:
        rows = [pedestrian_row(one, root, options.labels) for one in seen]
        write_sheet(options.picture, rows, "A pedestrian, as each renderer shows it", width=2400)
    write_json(options.out, figures)
    print(f"\nwritten: {options.out}")


def parse_args() -> argparse.Namespace:
    """Read the command line, and refuse what cannot be measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--infos", type=Path, required=True, metavar="PKL", help="labelled frames")
    parser.add_argument(
        "--frames", type=int, default=8, metavar="N", help="spread evenly; 0: times only [8]"
    )
    parser.add_argument(
        "--labels", metavar="FOLDER", help="2D labels in the root to compare with, e.g. true ones"
    )
    parser.add_argument(
        "--repeat", type=int, default=10, metavar="N", help="timed runs of each; 0: no times [10]"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="PNG", help="draw a pedestrian at 15 and at 30 m too"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="to be timed")
    for name, default, what in (
        ("voxels", [5_000, 20_000, 39_000], "to be timed"),
        ("channels", [18, 64], "values a voxel, to be timed"),
        ("widths", [200, 400], "of the images, to be timed"),
    ):
        parser.add_argument(f"--{name}", nargs="+", type=int, default=default, help=what)
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, frames=0, repeat=0)
    for name in ("voxels", "channels", "widths"):
        if min(getattr(options, name)) < 1:
            parser.error(f"--{name} {min(getattr(options, name))}: expected 1 or more")
    if not options.frames and not options.repeat:
        parser.error("--frames 0 --repeat 0: nothing is left to measure")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here")
    return options


def _timed(frame: dict[str, Any], root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Times of the renderers, and Pulsar's images beside ours where it is installed."""
    cases = (options.voxels, options.channels, options.widths)
    times = measure_times(frame, root, *cases, options.repeat, options.device)
    print(f"\nmilliseconds forward and backward on {options.device}\n\n{times_table(times)}")
    if "pytorch3d" not in installed_renderers():
        return {"times": times}
    agreement = measure_agreement(frame, root)
    print(f"\nPulsar's images beside those of our spheres: {agreement}")
    return {"times": times, "agreement": agreement}


if __name__ == "__main__":
    run_tool(main)
