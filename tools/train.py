"""Train a recipe."""

from __future__ import annotations

import argparse

from minkocc.config import recipe_of
from minkocc.config.options import add_recipe, load_recipe
from minkocc.engine.launch import train
from minkocc.runtime.tool import add_debug, run_tool


def main() -> None:
    """Build the runner of a recipe and train it."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_recipe(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="last",
        metavar="auto | CHECKPOINT",
        help="go on from the work dir's last checkpoint, or from the one named; auto: from the "
        "last one if there is one, else from the start",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the run that the work dir holds"
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="mixed precision: bfloat16, or float16 on a card that has no bfloat16",
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="learning rate in proportion to the samples of an iteration over all processes",
    )
    add_debug(parser)
    options = parser.parse_args()
    recipe = recipe_of(options.config, options.cfg_options)
    cfg = load_recipe(options, recipe)
    if options.amp:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
    if options.auto_scale_lr:
        if "auto_scale_lr" not in cfg:
            parser.error("the recipe has no auto_scale_lr = dict(base_batch_size=N)")
        cfg.auto_scale_lr.enable = True
    if options.resume:
        cfg.resume = True
        cfg.load_from = None if options.resume in ("auto", "last") else options.resume
    train(cfg, recipe, overwrite=options.overwrite, start_anew=options.resume == "auto")


if __name__ == "__main__":
    run_tool(main)
