"""What ids mean: names, colours and prompts of classes, and Occ3D-nuScenes' own.

3D ids: 0..16 are classes and 17 is free. Occ3D-nuScenes has 17 classes, the nuScenes-lidarseg ones;
another taxonomy may have fewer, with ids 0..K-1, and the rest stay unused. 2D ids are
0 = unlabelled, 1..17 = 3D id + 1, 18 = sky.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures import occ3d_nuscenes

NUM_CLASSES = 17
"""The most classes that a taxonomy has: the id after them is that of free space."""
FREE = NUM_CLASSES
"""The 3D id of free space."""

UNLABELLED_2D = 0
SKY_2D = NUM_CLASSES + 1
NUM_IDS_2D = NUM_CLASSES + 2

WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN, WEAK_IGNORED, WEAK_DROPPED = 0, 1, 255, 254, 253
"""The values of an occupancy target. *Unknown* was never seen, and ``unknown`` says what is taught
there; *ignored* is in no loss whatever is chosen: rotated in from outside the grid; *dropped* is in
no loss either, nor is any coarse voxel that would be free without it."""

IGNORED, DROPPED = 255, 254
"""What a dense label holds in training beside Occ3D's ids: rotated in from outside; dropped."""
UNVOTED = 255
"""A voxel of the voted labels of which nothing is known, or nothing agreed on."""

OUTSIDE = ("label", "free", "ignore")
"""What the occupancy branch is taught of a dense label's voxels that no camera sees."""

UNKNOWN = ("free", "ignore")
"""What it is taught where a weak target knows nothing."""

NO_CLASS_NAMES = ("free", "mean", "class", "unlabelled", "sky")
"""What tables call other things."""

_KINDS = ("moving", "things", "stuff", "ground", "bodies")
_OTHER_KEYS = ("classes", "colours", "rest", "prompts", "class_maps")
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE, _BLACK, _SKY, _UNUSED = (255, 255, 255), (0, 0, 0), (135, 206, 250), (200, 200, 200)


@dataclass(frozen=True)
class Taxonomy:
    """The classes of labels by their ids, and what is known of each.

    Args:
        classes: names by 3D id, 17 at most.
        colours: RGB of each, for pictures.
        moving: classes that can move: those of mIoU_D; what is seen of them is no part of what
            stands.
        things: classes that have instances (RayPQ).
        stuff: classes that no box is ever of.
        ground: classes that lose a tie in the vote of a voxel's returns.
        bodies: vehicles that are closed and alike on both sides: what was not seen of them can be
            completed.
        rest: the class of what nothing names; None: there is none.
        prompts: what a detector is asked for, a caption each: ``{class or "sky": [noun, ...]}``.
        class_maps: by name, from the classes of a semantic segmentation model to these, "sky" or
            None.
    """

    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = field(compare=False)
    moving: tuple[str, ...] = ()
    things: tuple[str, ...] = ()
    stuff: tuple[str, ...] = ()
    ground: tuple[str, ...] = ()
    bodies: tuple[str, ...] = ()
    rest: str | None = None
    prompts: tuple[Mapping[str, Sequence[str]], ...] = field(default=(), compare=False)
    class_maps: Mapping[str, Mapping[str, str | None]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, said: Mapping[str, Any] | None) -> Taxonomy:
        """A taxonomy as a recipe says it (``configs/_base_/taxonomies``); None: Occ3D-nuScenes'.

        Raises:
            ValueError: a key is unknown, there is no class or more than 17, a name or a colour is
                none, or something is said of a class that is not there.
        """
        if said is None:
            return OCC3D
        if not isinstance(said, Mapping):
            raise ValueError(
                f"taxonomy {said!r}: expected dict(classes=['road', ...], "
                "colours=dict(road='#eb46eb', ...), ...)"
            )
        _refuse_unknown(said)
        classes = _class_names(said.get("classes"))
        kinds = {kind: _members(classes, said, kind) for kind in _KINDS}
        for kind in ("moving", "things", "bodies"):
            if both := [name for name in kinds[kind] if name in kinds["stuff"]]:
                raise ValueError(
                    f"taxonomy: {both[0]!r} is in stuff, which has no boxes, and in {kind}: leave "
                    "it out of one of them"
                )
        rest = said.get("rest")
        if rest is not None:
            _check_class(classes, rest, "taxonomy.rest")
        return cls(
            classes,
            _colours(classes, said.get("colours")),
            **kinds,
            rest=rest,
            prompts=_prompts(classes, said.get("prompts", ())),
            class_maps=_class_maps(classes, said.get("class_maps", {})),
        )

    def meaning(self) -> dict[str, Any]:
        """What ``of`` makes it of, in plain types, without what makes 2D labels.

        No order of keys matters: none is kept where a config is saved.
        """
        colours = {
            name: "#" + bytes(colour).hex() for name, colour in zip(self.classes, self.colours)
        }
        kinds = {kind: list(getattr(self, kind)) for kind in _KINDS}
        return {"classes": list(self.classes), "colours": colours, **kinds, "rest": self.rest}

    def id_of(self, name: str) -> int:
        """The 3D id of a class.

        Raises:
            ValueError: there is no such class.
        """
        _check_class(self.classes, name)
        return self.classes.index(name)

    def ids(self, kind: str) -> tuple[int, ...]:
        """3D ids of the classes of a kind: ``moving``, ``things``, ...; ascending."""
        return tuple(sorted(self.classes.index(name) for name in getattr(self, kind)))

    @property
    def labels_2d(self) -> tuple[str, ...]:
        """What a pixel may be labelled: the classes and sky."""
        return (*self.classes, "sky")

    @cached_property
    def names_2d(self) -> dict[int, str]:
        """Names by 2D id, ascending; ids that stand for nothing are left out."""
        names = {number + 1: name for number, name in enumerate(self.classes)}
        return {UNLABELLED_2D: "unlabelled", **names, SKY_2D: "sky"}

    def id_2d(self, name: str) -> int:
        """The 2D id of a name of ``labels_2d``."""
        return SKY_2D if name == "sky" else self.id_of(name) + 1

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """``(18, 3)`` RGB by 3D id, free included."""
        unused = [_UNUSED] * (NUM_CLASSES - len(self.classes))
        return np.array([*self.colours, *unused, _WHITE], np.uint8)

    @cached_property
    def palette_2d(self) -> NDArray[np.uint8]:
        """``(19, 3)`` RGB by 2D id."""
        return np.concatenate([[_BLACK], self.palette[:NUM_CLASSES], [_SKY]]).astype(np.uint8)


def _refuse_unknown(said: Mapping[str, Any]) -> None:
    known = (*_OTHER_KEYS, *_KINDS)
    for key in said:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(known)}"
            raise ValueError(f"taxonomy.{key} is unknown: {hint}")


def _class_names(classes: Any) -> tuple[str, ...]:
    if not isinstance(classes, (list, tuple)):  # a dict's order is lost where a config is saved
        raise ValueError(f"taxonomy.classes is {classes!r}, expected a list of names, by their ids")
    if not 1 <= len(classes) <= NUM_CLASSES:
        raise ValueError(
            f"taxonomy.classes has {len(classes)}, expected 1 to {NUM_CLASSES}: labels have "
            f"Occ3D's ids, of which {FREE} is free space; take classes together"
        )
    for name in classes:
        if not isinstance(name, str) or not name.strip() or name in NO_CLASS_NAMES:
            raise ValueError(
                f"taxonomy.classes: {name!r} is no name for a class: expected a word, none of "
                f"{', '.join(NO_CLASS_NAMES)}"
            )
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise ValueError(f"taxonomy.classes: {twice!r} is there twice")
    return tuple(classes)


def _colours(classes: Sequence[str], said: Any) -> tuple[tuple[int, int, int], ...]:
    if not isinstance(said, Mapping):
        raise ValueError(f"taxonomy.colours is {said!r}, expected dict(road='#eb46eb', ...)")
    for name in said:
        _check_class(classes, name, "taxonomy.colours")
    if missing := [name for name in classes if name not in said]:
        raise ValueError(f"taxonomy.colours has none for {', '.join(missing)}")
    return tuple(_colour(name, said[name]) for name in classes)


def _colour(name: str, value: Any) -> tuple[int, int, int]:
    if isinstance(value, str) and _HEX.fullmatch(value):
        value = list(bytes.fromhex(value[1:]))
    whole = isinstance(value, (list, tuple)) and len(value) == 3
    if not whole or not all(type(part) is int and 0 <= part <= 255 for part in value):
        raise ValueError(
            f"taxonomy.colours.{name} is {value!r}, expected a colour, such as '#eb46eb' or "
            "[235, 70, 235]"
        )
    red, green, blue = value
    return red, green, blue


def _check_class(classes: Sequence[str], name: Any, place: str = "", *more: str) -> None:
    known = (*classes, *more)
    if name in known:
        return
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    where = f"{place}: " if place else ""
    raise ValueError(f"{where}unknown class {name!r}{hint}: expected one of {', '.join(known)}")


def _members(classes: Sequence[str], said: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    names = said.get(kind, ())
    if not isinstance(names, (list, tuple)):
        raise ValueError(f"taxonomy.{kind} is {names!r}, expected a list of classes")
    for name in names:
        _check_class(classes, name, f"taxonomy.{kind}")
    return tuple(dict.fromkeys(names))


def _prompts(classes: Sequence[str], groups: Any) -> tuple[Mapping[str, Sequence[str]], ...]:
    """What the phrases themselves may be is for whoever asks a detector."""
    told = isinstance(groups, (list, tuple)) and all(isinstance(g, Mapping) for g in groups)
    if not told:
        raise ValueError(f"taxonomy.prompts is {groups!r}, expected [{{class: [noun, ...]}}, ...]")
    for group in groups:
        for name in group:
            _check_class(classes, name, "taxonomy.prompts", "sky")
    return tuple(dict(group) for group in groups)


def _class_maps(classes: Sequence[str], maps: Any) -> dict[str, Mapping[str, str | None]]:
    if not isinstance(maps, Mapping) or not all(isinstance(m, Mapping) for m in maps.values()):
        raise ValueError(
            f"taxonomy.class_maps is {maps!r}, expected dict(cityscapes=dict(road='road', ...))"
        )
    for name, members in maps.items():
        for label in members.values():
            if label is not None:
                _check_class(classes, label, f"taxonomy.class_maps.{name}", "sky")
    return {name: dict(members) for name, members in maps.items()}


OCC3D = Taxonomy.of(occ3d_nuscenes.taxonomy)
"""Occ3D-nuScenes' classes: those of every nuScenes root."""

CLASSES = OCC3D.classes
"""Its 17 semantic classes, by 3D id."""

NAMES_2D = tuple(OCC3D.names_2d.values())
"""What its 2D ids are called."""

PALETTE, PALETTE_2D = OCC3D.palette, OCC3D.palette_2d

DYNAMIC_IDS = OCC3D.ids("moving")
"""Vehicles, riders and pedestrians: the classes of mIoU_D."""

# nuScenes category names (lidarseg's 32 classes) to the 3D ids of the occupancy challenge.
CATEGORY_TO_ID: dict[str, int] = {
    "noise": 0,
    "animal": 0,
    "human.pedestrian.adult": 7,
    "human.pedestrian.child": 7,
    "human.pedestrian.construction_worker": 7,
    "human.pedestrian.personal_mobility": 0,
    "human.pedestrian.police_officer": 7,
    "human.pedestrian.stroller": 0,
    "human.pedestrian.wheelchair": 0,
    "movable_object.barrier": 1,
    "movable_object.debris": 0,
    "movable_object.pushable_pullable": 0,
    "movable_object.trafficcone": 8,
    "static_object.bicycle_rack": 0,
    "vehicle.bicycle": 2,
    "vehicle.bus.bendy": 3,
    "vehicle.bus.rigid": 3,
    "vehicle.car": 4,
    "vehicle.construction": 5,
    "vehicle.emergency.ambulance": 0,
    "vehicle.emergency.police": 0,
    "vehicle.motorcycle": 6,
    "vehicle.trailer": 9,
    "vehicle.truck": 10,
    "flat.driveable_surface": 11,
    "flat.other": 12,
    "flat.sidewalk": 13,
    "flat.terrain": 14,
    "static.manmade": 15,
    "static.other": 0,
    "static.vegetation": 16,
    "vehicle.ego": 0,
}

CAMERAS: tuple[str, ...] = (
    "CAM_FRONT",
    "CAM_FRONT_RIGHT",
    "CAM_FRONT_LEFT",
    "CAM_BACK",
    "CAM_BACK_LEFT",
    "CAM_BACK_RIGHT",
)
"""The order of the six views in every stacked array."""


def class_id(name: str) -> int:
    """The 3D id of a class of Occ3D-nuScenes.

    Raises:
        ValueError: the name is not one of ``CLASSES``.
    """
    return OCC3D.id_of(name)


def to_2d(semantics: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """2D ids of 3D ids, shape kept, uint8; free becomes unlabelled."""
    return np.where(semantics < NUM_CLASSES, semantics + 1, UNLABELLED_2D).astype(np.uint8)


def has_class_2d(labels: Any) -> Any:
    """Which 2D ids, an array or a tensor, are one of the 17 classes: neither unlabelled nor sky."""
    return (labels != UNLABELLED_2D) & (labels <= NUM_CLASSES)
