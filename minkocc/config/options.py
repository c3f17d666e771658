"""The command-line options that name a recipe and change it."""

from __future__ import annotations

import argparse
import ast
import contextlib
import json
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from minkocc.config import ConfigError, recipe_of, resolved


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add what train and test share: the config, its options, the work dir and the launcher."""
    parser.add_argument("config", help="e.g. configs/minkocc_semi_a10.py")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    add_cfg_options(parser)
    parser.add_argument("--launcher", default="none", choices=["none", "pytorch", "slurm", "mpi"])
    # torch.distributed.launch passes it; torchrun sets LOCAL_RANK itself.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)


def parse_value(text: str) -> Any:
    """The value of a ``KEY=VALUE`` pair.

    As mmengine reads them: numbers, ``True``, ``None``, ``a,b``, ``[a,(b,c)]`` and words, without
    what it loses: spaces inside of words, quoted words, and dicts, in Python's or JSON's writing.

    Raises:
        ValueError: brackets do not close, or a dict cannot be read.
    """
    text = text.strip().strip("'\"")
    if text[:1] in _OPENING:
        for read in (ast.literal_eval, json.loads):
            with contextlib.suppress(ValueError, SyntaxError, TypeError, RecursionError):
                return read(text)
        if text.startswith("{"):
            raise ValueError(f"{text} is no dict, expected one like {{'type': 'SGD', 'lr': 0.1}}")
    for start, end, kind in (("[", "]", list), ("(", ")", tuple)):
        if text.startswith(start) and text.endswith(end):
            return kind(map(parse_value, _elements(text[1:-1])))
    elements = _elements(text)
    if "," in text and elements != [text]:
        return [parse_value(element) for element in elements]
    return DictAction._parse_int_float_bool(text)


_OPENING, _CLOSING = tuple("[({"), tuple("])}")


def _elements(text: str) -> list[str]:
    """What stands between the commas that are in no brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in _OPENING) - (char in _CLOSING)
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    if depth:
        raise ValueError(f"{text} has brackets that do not close")
    if not parts[-1].strip():
        del parts[-1]  # what follows the last comma, as in Python
    return parts


class _CfgOptions(DictAction):
    """mmengine's ``KEY=VALUE`` pairs, refused in one line when they are no pairs.

    ``cfg_pairs`` are they as they were typed, for a tool that another one starts.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        return parse_value(val)

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        for pair in values:
            if "=" not in pair.strip("="):
                parser.error(f"--cfg-options {pair}: expected KEY=VALUE, e.g. alpha=0.2")
        try:
            super().__call__(parser, namespace, values, option_string)
            namespace.cfg_pairs = [*getattr(namespace, "cfg_pairs", []), *values]
        except (AssertionError, ValueError) as error:
            parser.error(f"--cfg-options {' '.join(values)}: {error}")


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=_CfgOptions,
        metavar="KEY=VALUE",
        help="change the recipe, e.g. alpha=0.2 model.genunet.max_voxels=50000",
    )


def load_recipe(options: argparse.Namespace, recipe: Config | None = None) -> Config:
    """The resolved recipe of ``add_recipe``'s arguments, with its work dir and launcher.

    Args:
        options: what the parser found.
        recipe: what ``recipe_of`` gave of them, where it is read already.

    Raises:
        ConfigError: a former run's ``recipe.py`` would train into that run's own folder.
    """
    cfg = resolved(recipe or recipe_of(options.config, options.cfg_options))
    path = Path(options.config)
    kept = path.name == "recipe.py"
    if kept and options.work_dir is None and not getattr(options, "resume", True):
        raise ConfigError(
            f"{path} is what a former run kept: name the new run's folder with --work-dir, or go "
            "on with the former run with --resume"
        )
    default = path.parent if kept else Path("work_dirs") / path.stem
    cfg.work_dir = str(options.work_dir or cfg.get("work_dir") or default)
    cfg.launcher = options.launcher
    return cfg
