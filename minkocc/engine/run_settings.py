"""What a checkpoint was trained under, beside what a recipe says now."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size
from mmengine.logging import print_log

from minkocc.config.knobs import KNOBS, OnResume, same_value
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import OCC3D, Taxonomy
from minkocc.structures.voxel_grid import VoxelGrid


def run_settings(cfg: Config) -> dict[str, Any]:
    """What makes a run what it is, for its checkpoints: knobs, ``optimizer``, ``processes``."""
    settings = {
        name: _plain(cfg[name])
        for name, knob in KNOBS.items()
        if name in cfg and knob.on_resume is not OnResume.FREE
    }
    optimizer = cfg.get("optim_wrapper", {}).get("optimizer", {}).get("type")
    if isinstance(optimizer, str):
        settings["optimizer"] = optimizer
    return {**settings, "processes": get_world_size()}


def _plain(value: Any) -> Any:
    """Plain types, which a checkpoint can be read without running code for."""
    return value.to_dict() if isinstance(value, ConfigDict) else value


def trained_settings(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The knobs that a checkpoint was trained under; none where it does not say."""
    meta = checkpoint.get("meta")
    run = meta.get("run") if isinstance(meta, Mapping) else None
    return dict(run) if isinstance(run, Mapping) else {}


def differences(cfg: Config, checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The knobs of which a checkpoint and a recipe say different things.

    Returns:
        ``{knob: {"checkpoint": value, "recipe": value}}``.
    """
    return {name: values for name, values in _changed(cfg, checkpoint).items() if name in KNOBS}


def _changed(cfg: Config, checkpoint: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    now, taxonomy = run_settings(cfg), Taxonomy.of(cfg.get("taxonomy"))
    return {
        name: {"checkpoint": value, "recipe": now[name]}
        for name, value in trained_settings(checkpoint).items()
        if name in now and not same_value(name, value, now[name], taxonomy)
    }


def check_resumed(cfg: Config, checkpoint: Mapping[str, Any], name: str) -> None:
    """Refuse to change budget or optimiser of a run half-way; warn of what else is not as it was.

    Args:
        cfg: the resolved recipe that the run goes on with.
        checkpoint: what ``read_checkpoint`` returned.
        name: the file's, for messages.

    Raises:
        UserError: the recipe has another ``alpha``, ``seed``, ``lr`` or type of optimiser.
    """
    for knob, values in _changed(cfg, checkpoint).items():
        known = KNOBS.get(knob)
        rule, because = (known.on_resume, known.because) if known else (OnResume.TOLD, "")
        if rule is OnResume.PAST:
            continue
        former, now = (_told(knob, values[side]) for side in ("checkpoint", "recipe"))
        if rule is OnResume.FIXED:
            raise UserError(
                f"checkpoint {name} was trained with {knob} {former}, the recipe says {now}: "
                f"{because}. Resume with {_as_option(knob, values['checkpoint'])}, or begin a "
                "new run from these weights with --cfg-options load_from=PATH"
            )
        if knob == "optimizer":
            raise UserError(
                f"checkpoint {name} holds the state of {former}, the recipe's optimiser is {now}, "
                "which makes nothing of it. Resume with the former one, or begin a new run from "
                "these weights with --cfg-options load_from=PATH"
            )
        _warn(
            f"resumed with {knob} {now}, the checkpoint was trained with {former}: this is not "
            "the run that was stopped" + (because and f", {because}")
        )


def check_meaning(model: torch.nn.Module, checkpoint: Mapping[str, Any], name: str) -> None:
    """Refuse weights of another voxel grid or of other classes, which would fit all the same.

    Raises:
        UserError: the model has a grid or classes, and the checkpoint was trained for others.
    """
    trained = trained_settings(checkpoint)
    grid, classes = getattr(model, "grid", None), getattr(model, "classes", None)
    now: dict[str, Any] = {}
    if isinstance(grid, VoxelGrid):
        now = {knob: getattr(grid, knob) for knob in ("voxel_size", "point_cloud_range")}
    if classes is not None and trained:
        now["taxonomy"] = classes.groups.taxonomy.meaning()
        now["class_groups"] = classes.groups.recipe()
        trained.setdefault("taxonomy", None)  # of before there were others
        trained.setdefault("class_groups", {})
    taxonomy = classes.groups.taxonomy if classes is not None else OCC3D
    for knob, value in now.items():
        if knob in trained and not same_value(knob, trained[knob], value, taxonomy):
            raise UserError(
                f"checkpoint {name} was trained with {knob} {_told(knob, trained[knob])}, the "
                f"recipe says {_told(knob, value)}: its weights mean something else there. Use it "
                f"with {_as_option(knob, trained[knob], '--cfg-options ')}, or with the config it "
                "was trained with"
            )


def reported_settings(cfg: Config, checkpoint: Mapping[str, Any] | None, name: str) -> Config:
    """The recipe's knobs with the checkpoint's own in their place: what its figures are of.

    What differs is named in the log.

    Args:
        cfg: a resolved recipe.
        checkpoint: what ``read_checkpoint`` returned; None where nothing was trained.
        name: the file's, for the log.
    """
    if checkpoint is None:
        return cfg
    trained = trained_settings(checkpoint)
    if not trained:
        _warn(f"checkpoint {name} says nothing of how it was trained: reported is the recipe")
    for knob, values in differences(cfg, checkpoint).items():
        _warn(
            f"the recipe says {knob} {_told(knob, values['recipe'])}, checkpoint {name} was "
            f"trained with {_told(knob, values['checkpoint'])}, which is what is reported"
        )
    return Config({**{knob: cfg[knob] for knob in KNOBS if knob in cfg}, **trained})


def _told(knob: str, value: Any) -> Any:
    """A value in words: of a taxonomy its classes, which are what differs."""
    if knob != "taxonomy":
        return value
    classes = value.get("classes") if isinstance(value, Mapping) else None
    return f"of {', '.join(classes)}" if isinstance(classes, list) else "of Occ3D-nuScenes"


def _as_option(knob: str, value: Any, option: str = "") -> str:
    """What sets a knob to the checkpoint's value; nobody types a taxonomy."""
    if knob == "taxonomy" and value is not None:
        return "the taxonomy that it was trained with"
    return option + shlex.quote(f"{knob}={_typed(value)}")


def _typed(value: Any) -> str:
    """As ``--cfg-options`` takes it."""
    return str(value).replace(" ", "")


def _warn(text: str) -> None:
    print_log(text, logger="current", level=logging.WARNING)
