"""Create a synthetic data set in nuScenes and Occ3D format."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from minkocc.cli import add_debug, run_tool
from minkocc.provenance import provenance
from minkocc.structures.errors import UserError
from minkocc.structures.files import write_json
from minkocc.synthetic.verify import format_report, verify_dataset
from minkocc.synthetic.writer import Settings, write_dataset


def image_size(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, e.g. 800x450")
    return int(width), int(height)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="root of the data set")
    parser.add_argument("--train-scenes", type=int, default=10)
    parser.add_argument("--val-scenes", type=int, default=3)
    parser.add_argument("--keyframes", type=int, default=6, help="per scene, two a second")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no byte")
    parser.add_argument("--image-size", type=image_size, default=(800, 450), metavar="WxH")
    parser.add_argument(
        "--clean-pseudo-labels", action="store_true", help="write the true 2D semantics"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a data set of other parameters"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read everything back and measure how far sensors and labels agree",
    )
    parser.add_argument(
        "--report", type=Path, help="JSON file for the time taken and for what --verify finds"
    )
    add_debug(parser)
    return parser.parse_args()


def verify(root: Path, workers: int) -> dict[str, Any]:
    """Print what a check of the whole set finds, and return it.

    Raises:
        UserError: it found a problem.
    """
    report = verify_dataset(root, workers)
    print(format_report(report))
    if report["num_problems"]:
        raise UserError(
            f"{root} has {report['num_problems']} problems, listed above; the first: "
            f"{report['problems'][0]}"
        )
    return report


def main() -> None:
    """Create the data set, or go on with it."""
    args = parse_args()
    started = time.monotonic()
    try:
        settings = Settings(
            args.train_scenes,
            args.val_scenes,
            args.keyframes,
            args.seed,
            args.image_size,
            args.clean_pseudo_labels,
        )
        done = write_dataset(args.out, settings, args.workers, args.overwrite)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    seconds = time.monotonic() - started
    speed = seconds / (done["written"] * settings.keyframes) if done["written"] else None
    paces = f" ({speed:.2f} s a keyframe)" if speed else ""
    print(f"{args.out}: {done['written']} scenes written{paces}, {done['skipped']} already there")
    verified = verify(args.out, args.workers) if args.verify else None
    if args.report:
        figures = {"seconds_a_keyframe": speed, "workers": args.workers, "verify": verified}
        write_json(args.report, {**provenance(), **settings.parameters(), **figures})


if __name__ == "__main__":
    run_tool(main)
