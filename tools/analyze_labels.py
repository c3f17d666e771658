"""Measure the weak labels of a nuScenes root where it holds the truth too."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from minkocc.label_report.pseudo_labels import pseudo_label_section
from minkocc.label_report.sections import Keyframes, measured, write_sections
from minkocc.label_report.voted_labels import SPANS, voted_label_section
from minkocc.label_report.weak_occupancy import PAPER, VARIANTS, weak_occupancy_section
from minkocc.runtime.tool import add_debug, refuse_less, run_tool
from minkocc.runtime.worker_pool import WorkerPool


def main() -> None:
    """Print tables, and write ``label_quality.json`` and pictures."""
    options = _parse()
    keyframes = Keyframes(options.root, options.version, options.max_frames)
    variants = VARIANTS if options.weak_options else {PAPER: VARIANTS[PAPER]}
    spans = SPANS if options.weak_options else SPANS[:1]
    with WorkerPool(options.workers) as pool:  # one for all: starting one takes seconds
        sections = measured(
            partial(pseudo_label_section, keyframes, options.folder, pool),
            partial(weak_occupancy_section, keyframes, options.folder, variants, pool),
            partial(voted_label_section, keyframes, options.folder, spans, pool),
        )
    print("\n\n".join(section.text for section in sections))
    written = write_sections(keyframes, sections, options.out)
    print(f"\nwritten: {', '.join(map(str, written))}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="nuScenes root")
    parser.add_argument("--version", required=True, help="e.g. v1.0-trainval")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write")
    parser.add_argument(
        "--folder", default="pseudo_labels", help="of the 2D pseudo-labels, relative to the root"
    )
    parser.add_argument(
        "--max-frames", type=int, metavar="N", help="spread evenly; default: all keyframes"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no figure")
    parser.add_argument(
        "--weak-options",
        action="store_true",
        help="weak occupancy by every option that a recipe has, not by the paper's alone, and "
        "votes over other keyframes",
    )
    add_debug(parser)
    options = parser.parse_args()
    refuse_less(parser, options, max_frames=1, workers=1)
    return options


if __name__ == "__main__":
    run_tool(main)
