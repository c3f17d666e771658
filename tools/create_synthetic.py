"""Create a synthetic data set in nuScenes and Occ3D format."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.runtime.tool import add_debug, run_tool
from minkocc.structures.errors import UserError
from minkocc.synthetic.checks.verify import format_report, verify_dataset
from minkocc.synthetic.writing.writer import WorldSettings, begun_settings, write_dataset


def image_size(text: str) -> tuple[int, int]:
    """Parse ``WIDTHxHEIGHT``."""
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT, e.g. 800x450")
    return int(width), int(height)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="A keyframe takes about 2 s on two cores and 7 MB on disk at 800x450. Of six scenes "
        "one cruises, two turn at a junction (from 6 keyframes on), one stops, one starts and one "
        "follows bends; one of five is set at dusk. Without any option that decides the contents, "
        "an existing --out is gone on with, or verified, as it was begun.",
    )
    parser.add_argument("--out", type=Path, required=True, help="root of the data set")
    contents = parser.add_argument_group("contents (default in brackets)")
    for name, value, text in (
        ("train-scenes", 10, "scenes to train on, which come first"),
        ("val-scenes", 3, "scenes to validate on"),
        ("keyframes", 6, "per scene, two a second"),
        ("seed", 0, "of everything: same seed, same bytes"),
    ):
        contents.add_argument(f"--{name}", type=int, help=f"{text} [{value}]")
    contents.add_argument("--image-size", type=image_size, metavar="WxH", help="[800x450]")
    contents.add_argument(
        "--clean-pseudo-labels", action="store_true", help="write the true 2D semantics"
    )
    contents.add_argument(
        "--shifted",
        action="store_true",
        help="another town: towers, dusk, mostly one of the two rigs; to test what was trained on "
        "the usual one",
    )
    parser.add_argument("--workers", type=int, default=1, help="processes; changes no byte")
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


def wanted(args: argparse.Namespace) -> WorldSettings:
    """What the command line asks for; where it asks for nothing, what ``--out`` was begun with."""
    names = ("train_scenes", "val_scenes", "keyframes", "seed", "image_size")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if not given and not args.clean_pseudo_labels and not args.shifted:
        begun = begun_settings(args.out)
        if begun is not None:
            return begun
    standard = {"train_scenes": 10, "val_scenes": 3, "keyframes": 6}
    flags = {"clean_pseudo_labels": args.clean_pseudo_labels, "shifted": args.shifted}
    return WorldSettings(**{**standard, **given}, **flags)


def main() -> None:
    """Create the data set, or go on with it."""
    args = parse_args()
    started = time.monotonic()
    try:
        settings = wanted(args)
        done = write_dataset(args.out, settings, args.workers, args.overwrite)
    except (ValueError, OSError) as error:
        raise UserError(str(error)) from error
    seconds = time.monotonic() - started
    speed = seconds / (done["written"] * settings.keyframes) if done["written"] else None
    pace = f" ({speed:.2f} s a keyframe)" if speed else ""
    print(f"{args.out}: {done['written']} scenes written{pace}, {done['skipped']} already there")
    found = verify_dataset(args.out, args.workers) if args.verify else None
    if found:
        print(format_report(found))
    if args.report:
        figures = {"seconds_a_keyframe": speed, "workers": args.workers, "verify": found}
        write_json(args.report, {**provenance(), **settings.parameters(), **figures})
    if found and found["num_problems"]:
        raise UserError(
            f"{args.out} has {found['num_problems']} problems, listed above; the first: "
            f"{found['problems'][0]}"
        )


if __name__ == "__main__":
    run_tool(main)
