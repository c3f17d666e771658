"""Make a checkpoint to hand on: the weights alone, in half precision, and a card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from minkocc.apis.publish_checkpoint import publish, write_card
from minkocc.runtime.tool import add_debug, run_tool
from minkocc.structures.errors import UserError


def main() -> None:
    """Write the file and, with a study's figures, its card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path, help="e.g. results/zoo/minkocc_plus_a10_mini.pth")
    parser.add_argument("--full", action="store_true", help="keep single precision")
    parser.add_argument(
        "--figures",
        type=Path,
        metavar="JSON",
        help="of its run, from tools/study.py: writes OUT.md",
    )
    parser.add_argument("--data", default="not said", help="for the card: what it was trained on")
    add_debug(parser)
    options = parser.parse_args()
    size = publish(options.checkpoint, options.out, half=not options.full)
    print(f"{options.out}: {size / 1e6:.2f} MB")
    if options.figures:
        card = options.out.with_suffix(".md")
        try:
            figures = json.loads(options.figures.read_text(encoding="utf-8"))
            write_card(card, options.out.name, figures, options.data)
        except (ValueError, KeyError, OSError) as error:
            raise UserError(
                f"--figures {options.figures} is no run's figures of tools/study.py "
                f"({type(error).__name__}: {error})"
            ) from error
        print(f"{card}")


if __name__ == "__main__":
    run_tool(main)
