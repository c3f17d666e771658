"""Measure what each renderer of the 2D loss shows of exact labels, and how long it takes."""

from __future__ import annotations

import argparse
from pathlib import Path

from minkocc.apis.benchmark.rendering import loss_table, measure_loss, measure_times
from minkocc.files.infos import read_infos
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.structures.errors import UserError
from minkocc.structures.spread import spread_indices


def main() -> None:
    """Print a table, and write its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--infos", type=Path, required=True, metavar="PKL", help="labelled frames")
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="spread evenly [8]")
    parser.add_argument(
        "--labels", metavar="FOLDER", help="2D labels in the root to compare with, e.g. true ones"
    )
    parser.add_argument(
        "--repeat", type=int, default=10, metavar="N", help="timed runs of each; 0: no times [10]"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, frames=1, repeat=0)
    found = [frame for frame in read_infos(options.infos)["data_list"] if frame["occ_path"]]
    if not found:
        raise UserError(f"--infos {options.infos}: no frame has a dense label to be rendered")
    frames = [found[i] for i in spread_indices(len(found), options.frames)]
    root = options.infos.parent
    figures = measure_loss(frames, root, options.labels)
    print(loss_table(figures))
    times = measure_times(frames[0], root, (18, 64), options.repeat) if options.repeat else []
    for row in times:
        ahead, back = row["forward_s"], row["backward_s"]
        print(
            f"{row['renderer']}, {row['channels']} channels: forward {ahead['median']:.3f} s "
            f"({ahead['min']:.3f} to {ahead['max']:.3f}), backward {back['median']:.3f} s"
        )
    write_json(options.out, {**provenance(), **figures, "times": times})
    print(f"\nwritten: {options.out}")


if __name__ == "__main__":
    run_tool(main)
