"""Frames that are trained on must not be what a network is measured by."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from minkocc.files.infos import InfoError, read_infos
from minkocc.registry import HOOKS
from minkocc.structures.errors import UserError


class SplitError(UserError, ValueError):
    """Training and evaluation share frames or scenes; the text names them and the remedy."""


@HOOKS.register_module()
class DisjointSplitsHook(Hook):
    """Refuses to train where the validation set has frames, or other frames of scenes, in common.

    Two frames of one scene are seconds apart: a network knows the one from the other.

    Args:
        allow: say so in the log and train nevertheless, to see whether a network can overfit.

    Raises:
        SplitError: before the first iteration.
    """

    def __init__(self, allow: bool = False) -> None:
        self.allow = allow

    def before_train(self, runner: Runner) -> None:
        """Compare what both data sets say of their scenes; others than ours say nothing."""
        if runner.val_loop is None:
            return
        datasets = (runner.train_dataloader.dataset, runner.val_loop.dataloader.dataset)
        train, val = (getattr(dataset, "scene_of", {}) for dataset in datasets)
        problem = shared(train, val)
        if not problem:
            return
        if not self.allow:
            raise SplitError(
                f"{problem}: its figures would be those of frames that were trained on. Create the "
                "infos again with other --val-scenes, or, if it is meant, set "
                "default_hooks.disjoint_splits.allow=True"
            )
        print_log(f"{problem}, as allowed", logger="current", level=logging.WARNING)


def shared(train: Mapping[str, str], val: Mapping[str, str]) -> str | None:
    """What two sets have in common, in words; None if nothing.

    Args:
        train: the scene of every frame, by token.
        val: the other's.
    """
    for what, common in (
        ("frames", train.keys() & val.keys()),
        ("scenes", set(train.values()) & set(val.values())),
    ):
        if common:
            return (
                f"the validation set shares {len(common)} {what} with the training set "
                f"({', '.join(sorted(common)[:3])}{', ...' if len(common) > 3 else ''})"
            )
    return None


def count_trained(cfg: Config, tested: Collection[str]) -> int | None:
    """How many frames of a test set lie in scenes of the recipe's training infos.

    Args:
        cfg: a resolved recipe.
        tested: the scene of each tested frame.

    Returns:
        None where there are no training infos that could tell.
    """
    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    path = Path(str(dataset.get("data_root", ""))) / str(dataset.get("ann_file", ""))
    if not path.is_file():
        return None
    try:
        frames = read_infos(path, dataset.get("paths_leave_root", False), None)["data_list"]
    except InfoError:
        return None
    scenes = {frame["scene_name"] for frame in frames}
    return sum(scene in scenes for scene in tested)
