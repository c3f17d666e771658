"""Print a recipe as a run gets it: merged with its bases and options, references resolved."""

from __future__ import annotations

import argparse

from minkocc.config import recipe_of, resolved
from minkocc.config.knob_page import knob_table
from minkocc.config.options import add_cfg_options
from minkocc.runtime.tool import add_debug, run_tool


def main() -> None:
    """Print the resolved config, or a table of its knobs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="e.g. configs/minkocc_semi_a10.py")
    parser.add_argument("--knobs", action="store_true", help="print the table of knobs instead")
    add_cfg_options(parser)
    add_debug(parser)
    options = parser.parse_args()
    recipe = recipe_of(options.config, options.cfg_options)
    cfg = resolved(recipe)
    print(knob_table(recipe) if options.knobs else cfg.pretty_text, end="")


if __name__ == "__main__":
    run_tool(main)
