"""How every tool ends: a clear line for what the user can mend, a traceback for what is ours."""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

from mmengine.config import Config, DictAction

from minkocc.config import load_config
from minkocc.structures.errors import UserError


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add what train and test share: the config, its options, the work dir and the launcher."""
    parser.add_argument("config", help="e.g. configs/minkocc_semi_a10.py")
    parser.add_argument("--work-dir", type=Path, help="default: work_dirs/<config name>")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    parser.add_argument("--launcher", default="none", choices=["none", "pytorch", "slurm", "mpi"])
    # torch.distributed.launch passes it; torchrun sets LOCAL_RANK itself.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0)


def load_recipe(options: argparse.Namespace) -> Config:
    """The resolved recipe of ``add_recipe``'s arguments, with its work dir and launcher."""
    cfg = load_config(options.config, options.cfg_options)
    cfg.work_dir = str(options.work_dir or Path("work_dirs") / Path(options.config).stem)
    cfg.launcher = options.launcher
    return cfg


def add_debug(parser: argparse.ArgumentParser) -> None:
    """Add ``--debug``."""
    parser.add_argument("--debug", action="store_true", help="show tracebacks of input errors")


def run_tool(main: Callable[[], None]) -> None:
    """Call ``main`` and exit: 0, 1 after a user's error in one line, 130 after Ctrl-C."""
    debug = "--debug" in sys.argv
    try:
        main()
    except (UserError, pickle.UnpicklingError) as error:
        if debug:
            raise
        print(f"error: {_one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)


def _one_line(error: BaseException) -> str:
    """The message itself, without the worker's traceback that a DataLoader wraps around it."""
    text = str(error)
    if "Original Traceback" in text:
        _, _, text = text.rpartition(f"{type(error).__name__}: ")
    if isinstance(error, pickle.UnpicklingError):
        text = (
            "the checkpoint holds more than tensors and plain values, which could run code: refused"
        )
    return " ".join(text.split())
