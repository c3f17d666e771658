"""The knobs of a recipe: the few top-level values that decide, and what each may be."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from minkocc.files.info_checks import MAX_SWEEPS
from minkocc.structures.class_groups import ClassGroups, same_classes, same_taxonomy
from minkocc.structures.errors import UserError
from minkocc.structures.phase import check_replay
from minkocc.structures.settings import RENDERERS, is_number
from minkocc.structures.taxonomy import OUTSIDE, UNKNOWN, Taxonomy
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid


class ConfigError(UserError, ValueError):
    """A mistake in a recipe; its text names the place and the remedy."""


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number, no less than ``least``; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _two_whole(value: Any, least: int) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(is_whole(item, least) for item in value)
    )


class OnResume(Enum):
    """What happens when a run goes on with another value of a knob than it was begun with."""

    FREE = "may change"
    TOLD = "warned of"
    FIXED = "refused"
    PAST = "ignored"


class Knob(NamedTuple):
    """A top-level value of a recipe, which all other places refer to as ``'${name}'``."""

    meaning: str
    """For the page of knobs; Markdown."""
    fits: Callable[[Any], bool]
    expected: str
    """In words, for errors."""
    on_resume: OnResume = OnResume.TOLD
    because: str = ""
    """Why it is refused then, or what is said beside the warning."""


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_positive_whole(value: Any) -> bool:
    return is_whole(value, 1)


def _is_weight(value: Any) -> bool:
    return is_number(value) and value >= 0


_BUDGET = "the label budget would change half-way"
_GRID = "its weights mean something else there"
_OUTPUTS = "its outputs are of other classes"
_FLAG, _WHOLE = "True or False", "a whole number from 1"
_FOLDER, _WEIGHT = "a folder's name", "a weight from 0, which leaves it out"

KNOBS: dict[str, Knob] = {
    "alpha": Knob(
        "share of the training scenes whose dense labels may be read, and of the iterations in "
        "the warm start",
        is_number,
        "a share, e.g. 0.1",
        OnResume.FIXED,
        _BUDGET,
    ),
    "warm_share": Knob(
        "share of the iterations in the warm start: moves the switch. None takes `alpha`, 1 trains "
        "on the labelled frames alone",
        lambda v: v is None or is_number(v),
        "a share of the iterations, or None for that of alpha",
    ),
    "replay": Knob(
        "share of the iterations after the switch that go back to labelled frames; 0 in the paper",
        is_number,
        "a share, e.g. 0.125",
    ),
    "voxel_size": Knob(
        "metres; divides the labels' 0.4",
        is_number,
        "a number of metres, e.g. 0.4",
        OnResume.FIXED,
        _GRID,
    ),
    "seed": Knob(
        "of everything random, and of which scenes are labelled",
        lambda v: is_whole(v, 0),
        "a whole number from 0",
        OnResume.FIXED,
        _BUDGET,
    ),
    "data_root": Knob(
        "folder in nuScenes format that holds the info files", _is_text, _FOLDER, OnResume.FREE
    ),
    "paths_leave_root": Knob(
        "whether info files may name files outside of the data root", _is_flag, _FLAG
    ),
    "cache_root": Knob(
        "where weak occupancy, votes and class counts are kept; None: in the data root",
        _is_text_or_none,
        "a folder's name, or None for that of the data",
        OnResume.FREE,
    ),
    "cache_by_content": Knob(
        "recognise a cache's source files by content instead of size and time: for copies "
        "that do not keep times",
        _is_flag,
        _FLAG,
    ),
    "pseudo_labels": Knob(
        "folder of the 2D pseudo-labels, in the data root or anywhere", _is_text, _FOLDER
    ),
    "image_pretrained": Knob(
        "weights that the image backbone begins with",
        _is_text_or_none,
        "torchvision://resnet50, a local checkpoint, or None",
        OnResume.PAST,
    ),
    "sweeps": Knob(
        "LiDAR sweeps before the present one that the network gets",
        lambda v: is_whole(v, 0) and v <= MAX_SWEEPS,
        f"a whole number from 0 to {MAX_SWEEPS}, which is what infos hold",
    ),
    "weak_frames": Knob(
        "past and future keyframes whose sweeps make the weak occupancy",
        lambda v: _two_whole(v, 0),
        "two whole numbers (past, future), e.g. [8,0]",
    ),
    "weak_min_hits": Knob(
        "returns that a voxel needs to be occupied in the weak target; with fewer it is unknown",
        _is_positive_whole,
        "a whole number of returns from 1",
    ),
    "weak_see_through": Knob(
        "a hit voxel is free where so many times more sweeps see through it than hit it; None "
        "keeps every hit",
        lambda v: v is None or (is_number(v) and v > 0),
        "a number of times above 0, e.g. 4, or None to keep every hit",
    ),
    "weak_sky": Knob(
        "rays of the pseudo-labels' sky pixels are free in the weak target too", _is_flag, _FLAG
    ),
    "train_mask": Knob(
        "`'camera'`: voxels that no camera sees are left out of the dense semantic loss, Eq. 4, "
        "its class counts and the calibration; None: all count. The occupancy loss has its own "
        "knob, `outside`; evaluation is unaffected",
        lambda v: v in ("camera", None),
        "'camera' or None",
    ),
    "outside": Knob(
        "occupancy target of dense labels outside the camera mask: `'label'` (as labelled), "
        "`'free'`, or `'ignore'` (no loss)",
        lambda v: v in OUTSIDE,
        "'label', 'free' or 'ignore'",
    ),
    "unknown": Knob(
        "occupancy target of voxels that the weak target knows nothing of: `'free'` or `'ignore'`",
        lambda v: v in UNKNOWN,
        "'free' or 'ignore'",
    ),
    "unknown_weight": Knob(
        "loss weight of those voxels where `unknown='free'`; known ones have 1",
        lambda v: is_number(v) and 0 < v <= 1,
        "a weight in (0, 1]; unknown='ignore' leaves the unknown out",
    ),
    "weight_2d": Knob(
        "factor on the 2D loss, Eq. 5, besides λ₁; both paths share it", _is_weight, _WEIGHT
    ),
    "shader_weight": Knob("the shader path's share of the 2D loss", _is_weight, _WEIGHT),
    "tied_weight": Knob(
        "the tied path's share of it: the voxel classifier's own probabilities, rendered",
        _is_weight,
        _WEIGHT,
    ),
    "depth_weight": Knob(
        "of the rendered depth after the switch, beside λ₁: against the first voxel that the "
        "occupancy target knows on each pixel's ray; 0 in the paper",
        _is_weight,
        _WEIGHT,
    ),
    "lift_weight": Knob(
        "of pseudo-labels lifted to the voxels of the LiDAR returns; 0 in the paper",
        _is_weight,
        _WEIGHT,
    ),
    "vote_weight": Knob(
        "of labels that the pseudo-labels of several keyframes voted for, beside λ₁; 0 in the "
        "paper",
        _is_weight,
        _WEIGHT,
    ),
    "warm_shader": Knob(
        "train the shader during the warm start too, on detached renders",
        _is_flag,
        _FLAG,
    ),
    "renderer": Knob(
        "what stands for a voxel in the images: `'spheres'`, the paper's, the `'voxels'` "
        "themselves, along exact rays, or spheres by `'pytorch3d'`, which is to be installed",
        lambda v: v in RENDERERS,
        "'spheres', 'voxels' or 'pytorch3d'",
    ),
    "render_stride": Knob(
        "raw pixels a rendered pixel, in each direction",
        _is_positive_whole,
        "a whole number of raw pixels from 1",
    ),
    "max_epochs": Knob(
        "epochs; one draws as many samples as there are training frames",
        _is_positive_whole,
        _WHOLE,
        OnResume.TOLD,
        "and its schedule of learning rates ends where it would have ended",
    ),
    "batch_size": Knob("samples an iteration and process", _is_positive_whole, _WHOLE),
    "point_cloud_range": Knob(
        "metres in the ego frame: x, y, z from, then x, y, z to; fixed, that of the labels",
        lambda v: isinstance(v, (list, tuple)) and len(v) == 6 and all(map(is_number, v)),
        "six numbers of metres",
        OnResume.FIXED,
        _GRID,
    ),
    "image_size": Knob(
        "height and width that images are brought to for the network; labels keep the raw size",
        lambda v: _two_whole(v, 1),
        "two whole numbers (height, width)",
    ),
    "taxonomy": Knob(
        "the classes of the labels by their ids, with colours and prompts: a dict, or the file of "
        "one; None: Occ3D-nuScenes' ([components](components.md#another-taxonomy))",
        lambda v: v is None or isinstance(v, Mapping),
        "a dict as in configs/_base_/taxonomies or its file, or None for Occ3D-nuScenes' classes",
        OnResume.FIXED,
        _OUTPUTS,
    ),
    "class_groups": Knob(
        "classes that the network takes for one, by the name of their group, e.g. "
        "`dict(vehicle=['car', 'bus', 'truck'])`; others stay by themselves "
        "([components](components.md#other-classes))",
        lambda v: isinstance(v, Mapping),
        "classes by the name of their group, e.g. dict(vehicle=['car', 'truck'])",
        OnResume.FIXED,
        _OUTPUTS,
    ),
    "read_images": Knob(
        "whether images are read; False for a network of LiDAR alone (set its `image_encoder` and "
        "`fusion` to None too)",
        _is_flag,
        _FLAG,
    ),
    "num_workers": Knob(
        "data-loading processes of each training process",
        lambda v: is_whole(v, 0),
        "a whole number from 0",
        OnResume.FREE,
    ),
    "lr": Knob(
        "learning rate at the start of the schedule",
        lambda v: is_number(v) and v > 0,
        "a number above 0",
        OnResume.FIXED,
        "the schedule goes on as the checkpoint has it, so that the new value would do nothing",
    ),
}
"""By name; in the order of the page that shows them."""


def same_value(knob: str, first: Any, second: Any, taxonomy: Taxonomy) -> bool:
    """Whether two values of a knob mean the same; groups are of a taxonomy's classes."""
    if knob == "taxonomy":
        return same_taxonomy(first, second)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return list(first) == list(second)
    if isinstance(first, Mapping) or isinstance(second, Mapping):
        return same_classes(first, second, taxonomy)
    return bool(first == second)


_PATHS = ("data_root", "cache_root", "pseudo_labels", "image_pretrained")


def from_home(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Knobs with the home folder in place of a leading ``~``, which no shell sees after a ``=``.

    Raises:
        ConfigError: there is no such user.
    """
    out = dict(knobs)
    for name in _PATHS:
        path = out.get(name)
        if isinstance(path, str) and path.startswith("~"):
            out[name] = os.path.expanduser(path)
            if out[name] == path:
                raise ConfigError(f"{name} {path!r}: no such user, write the folder in full")
    return out


def check_knobs(knobs: Mapping[str, Any]) -> None:
    """Refuse what a knob cannot be, alone or beside the others.

    Args:
        knobs: those that a recipe sets, by name.

    Raises:
        ConfigError: the text names the knob, its value and what is expected.
    """
    for name, knob in KNOBS.items():
        if name in knobs and not knob.fits(knobs[name]):
            raise ConfigError(f"{name} {knobs[name]!r} is not {knob.expected}")
    try:
        if "alpha" in knobs:
            check_replay(knobs.get("replay", 0.0), knobs["alpha"], knobs.get("warm_share"))
        if "voxel_size" in knobs:
            _check_voxel_size(knobs["voxel_size"])
            extent = knobs.get("point_cloud_range", OCC3D_GRID.point_cloud_range)
            VoxelGrid(extent, knobs["voxel_size"]).ratio_to(OCC3D_GRID)  # labels, and metrics
        ClassGroups.of(knobs.get("class_groups"), Taxonomy.of(knobs.get("taxonomy")))
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
