"""The knobs of a recipe: the few top-level values that decide, and what each may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minkocc.files.info_checks import MAX_SWEEPS
from minkocc.structures.errors import UserError
from minkocc.structures.phase import check_replay
from minkocc.structures.settings import is_number
from minkocc.structures.taxonomy import OUTSIDE, UNKNOWN
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid

KNOBS: tuple[str, ...] = (
    "alpha",
    "warm_share",
    "replay",
    "voxel_size",
    "seed",
    "data_root",
    "paths_leave_root",
    "cache_root",
    "cache_by_content",
    "pseudo_labels",
    "image_pretrained",
    "sweeps",
    "weak_frames",
    "weak_min_hits",
    "weak_see_through",
    "weak_sky",
    "train_mask",
    "outside",
    "unknown",
    "unknown_weight",
    "weight_2d",
    "shader_weight",
    "tied_weight",
    "warm_shader",
    "lift_weight",
    "vote_weight",
    "render_stride",
    "max_epochs",
    "batch_size",
    "point_cloud_range",
    "image_size",
    "num_workers",
    "lr",
)
"""Top-level values that the rest of a recipe may refer to as ``'${name}'``."""


class ConfigError(UserError, ValueError):
    """A mistake in a recipe; its text names the place and the remedy."""


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number, which True and False are not, and no less than a least."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _two_whole(value: Any, least: int) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(is_whole(item, least) for item in value)
    )


_EXPECTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "alpha": (is_number, "a share, e.g. 0.1"),
    "warm_share": (
        lambda v: v is None or is_number(v),
        "a share of the iterations, or None for that of alpha",
    ),
    "replay": (is_number, "a share, e.g. 0.125"),
    "voxel_size": (is_number, "a number of metres, e.g. 0.4"),
    "seed": (lambda v: is_whole(v, 0), "a whole number from 0"),
    "data_root": (lambda v: isinstance(v, str), "a folder's name"),
    "paths_leave_root": (lambda v: isinstance(v, bool), "True or False"),
    "cache_root": (
        lambda v: v is None or isinstance(v, str),
        "a folder's name, or None for that of the data",
    ),
    "cache_by_content": (lambda v: isinstance(v, bool), "True or False"),
    "pseudo_labels": (lambda v: isinstance(v, str), "a folder's name"),
    "image_pretrained": (
        lambda v: v is None or isinstance(v, str),
        "torchvision://resnet50, a local checkpoint, or None",
    ),
    "sweeps": (
        lambda v: is_whole(v, 0) and v <= MAX_SWEEPS,
        f"a whole number from 0 to {MAX_SWEEPS}, which is what infos hold",
    ),
    "weak_frames": (lambda v: _two_whole(v, 0), "two whole numbers (past, future), e.g. [8,0]"),
    "weak_min_hits": (lambda v: is_whole(v, 1), "a whole number of returns from 1"),
    "weak_see_through": (
        lambda v: v is None or (is_number(v) and v > 0),
        "a number of times above 0, e.g. 4, or None to keep every hit",
    ),
    "weak_sky": (lambda v: isinstance(v, bool), "True or False"),
    "train_mask": (lambda v: v in ("camera", None), "'camera' or None"),
    "outside": (lambda v: v in OUTSIDE, "'label', 'free' or 'ignore'"),
    "unknown": (lambda v: v in UNKNOWN, "'free' or 'ignore'"),
    "unknown_weight": (
        lambda v: is_number(v) and 0 < v <= 1,
        "a weight in (0, 1]; unknown='ignore' leaves the unknown out",
    ),
    **{
        name: (lambda v: is_number(v) and v >= 0, "a weight from 0, which leaves it out")
        for name in ("weight_2d", "shader_weight", "tied_weight", "lift_weight", "vote_weight")
    },
    "warm_shader": (lambda v: isinstance(v, bool), "True or False"),
    "render_stride": (lambda v: is_whole(v, 1), "a whole number of raw pixels from 1"),
    "max_epochs": (lambda v: is_whole(v, 1), "a whole number from 1"),
    "batch_size": (lambda v: is_whole(v, 1), "a whole number from 1"),
    "image_size": (lambda v: _two_whole(v, 1), "two whole numbers (height, width)"),
    "num_workers": (lambda v: is_whole(v, 0), "a whole number from 0"),
    "lr": (lambda v: is_number(v) and v > 0, "a number above 0"),
}


def check_knobs(knobs: Mapping[str, Any]) -> None:
    """Refuse what a knob cannot be, alone or beside the others.

    Args:
        knobs: those that a recipe sets, by name.

    Raises:
        ConfigError: the text names the knob, its value and what is expected.
    """
    for name, (fits, expected) in _EXPECTED.items():
        if name in knobs and not fits(knobs[name]):
            raise ConfigError(f"{name} {knobs[name]!r} is not {expected}")
    try:
        if "alpha" in knobs:
            check_replay(knobs.get("replay", 0.0), knobs["alpha"], knobs.get("warm_share"))
        if "voxel_size" in knobs:
            _check_voxel_size(knobs["voxel_size"])
            extent = knobs.get("point_cloud_range", OCC3D_GRID.point_cloud_range)
            VoxelGrid(extent, knobs["voxel_size"]).ratio_to(OCC3D_GRID)  # labels, and metrics
    except (TypeError, ValueError) as error:
        raise ConfigError(str(error)) from error


def _check_voxel_size(size: float) -> None:
    """Finer models are trained on, and pooled to, the 0.4 m labels."""
    label_size = OCC3D_GRID.voxel_size
    ratio = label_size / size if size > 0 else 0.0
    if ratio < 1 or abs(ratio - round(ratio)) > 1e-6:
        raise ConfigError(
            f"voxel_size {size} does not divide the labels' {label_size}: use {label_size}, "
            f"{label_size / 2} or {label_size / 4}"
        )
