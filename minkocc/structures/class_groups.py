"""Which classes a network tells apart: those of a taxonomy, or groups of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minkocc.structures.taxonomy import (
    CLASSES,
    FREE,
    NO_CLASS_NAMES,
    OCC3D,
    Taxonomy,
    has_class_2d,
)


@dataclass(frozen=True)
class ClassGroups:
    """The K classes of a network, each a group of a taxonomy's.

    Files, targets, predictions and pictures keep the taxonomy's ids: a group goes by the id of the
    first of its classes, in its order. Inside the network, its place among the K is its index.

    Args:
        names: of the groups, in the order of their ids.
        group_of: index of the group of each class.
        taxonomy: the classes.
    """

    names: tuple[str, ...]
    group_of: tuple[int, ...]
    taxonomy: Taxonomy = OCC3D

    @classmethod
    def of(
        cls, groups: Mapping[str, Sequence[str]] | None, taxonomy: Taxonomy = OCC3D
    ) -> ClassGroups:
        """Groups as a recipe names them; classes that it does not name stay by themselves.

        Args:
            groups: classes by the name of their group; the order says nothing. None: no groups.
            taxonomy: the classes.

        Raises:
            ValueError: a class is unknown or in two groups, a group is empty, or has the name of
                a class that it does not hold.
        """
        groups = {} if groups is None else groups
        if not isinstance(groups, Mapping):
            raise ValueError(f"class_groups {groups!r}: expected classes by the name of a group")
        name_of = list(taxonomy.classes)
        taken: dict[int, str] = {}
        for name, members in groups.items():
            _check_group(name, members, taxonomy)
            for member in members:
                number = taxonomy.id_of(member)
                if number in taken:
                    raise ValueError(
                        f"class_groups: {member!r} is in {taken[number]!r} and in {name!r}, "
                        "expected in one group"
                    )
                taken[number] = name_of[number] = name
        names = tuple(dict.fromkeys(name_of))
        return cls(names, tuple(names.index(name) for name in name_of), taxonomy)

    @classmethod
    def of_table(
        cls, ids: NDArray[np.uint8], names: NDArray[np.str_], taxonomy: Taxonomy = OCC3D
    ) -> ClassGroups:
        """Groups of ``table`` and ``names``, as files hold them, of a taxonomy's classes.

        Raises:
            ValueError: they are none.
        """
        expected = f"{FREE + 1} ids, each that of its group's first class"
        if ids.shape != (FREE + 1,) or ids.dtype != np.uint8:
            raise ValueError(f"{ids.dtype} {ids.shape}, expected uint8 ({FREE + 1},): {expected}")
        if ids[FREE] != FREE or (ids > np.arange(FREE + 1)).any() or (ids[ids] != ids).any():
            raise ValueError(f"{ids.tolist()}, expected {expected}")
        members: dict[int, list[str]] = {}
        for name, number in zip(taxonomy.classes, ids.tolist()):
            members.setdefault(number, []).append(name)
        told = [str(name) for name in names.ravel()]
        if len(set(told)) != len(members):
            raise ValueError(f"{len(members)} groups named {', '.join(told)}: expected a name each")
        return cls.of(dict(zip(told, members.values())), taxonomy)

    def __len__(self) -> int:
        """K."""
        return len(self.names)

    @property
    def plain(self) -> bool:
        """Whether the classes are Occ3D's own, under their own names."""
        return self.names == CLASSES

    def same_ids(self, other: ClassGroups) -> bool:
        """Whether every id means the same to both, but for the names of groups."""
        return (self.group_of, self.taxonomy.classes) == (other.group_of, other.taxonomy.classes)

    @property
    def described(self) -> str:
        """What is told of them beside others: the groups, or whose classes they are."""
        if recipe := self.recipe():
            return str(recipe)
        return "those of Occ3D" if self.plain else ", ".join(self.names)

    @property
    def ids(self) -> tuple[int, ...]:
        """The 3D id that each group goes by, ascending."""
        return tuple(self.group_of.index(group) for group in range(len(self)))

    @cached_property
    def table(self) -> NDArray[np.uint8]:
        """``(18,)`` uint8: the id that every 3D id goes by, free included."""
        unused = range(len(self.group_of), FREE)
        return np.array([*(self.ids[group] for group in self.group_of), *unused, FREE], np.uint8)

    def within(self, classes: Collection[int]) -> tuple[int, ...]:
        """Ids of the groups of which every class is one of these."""
        outside = {group for i, group in enumerate(self.group_of) if i not in classes}
        return tuple(number for group, number in enumerate(self.ids) if group not in outside)

    def grouped(self, semantics: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """3D ids, any shape, as the ids of their groups; free and what is no class stay."""
        if self.plain:
            return semantics
        every = np.arange(256, dtype=np.uint8)
        every[: FREE + 1] = self.table
        return every[semantics]

    def grouped_2d(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """2D ids, any shape, as those of their groups; unlabelled and sky stay."""
        classes = self.grouped(labels - np.uint8(1)) + np.uint8(1)
        return np.where(has_class_2d(labels), classes, labels)

    def recipe(self) -> dict[str, list[str]]:
        """What ``of`` makes them of, without the classes that stay by themselves."""
        members: dict[str, list[str]] = {}
        for name, group in zip(self.taxonomy.classes, self.group_of):
            members.setdefault(self.names[group], []).append(name)
        return {name: classes for name, classes in members.items() if classes != [name]}


def same_classes(first: Any, second: Any, taxonomy: Taxonomy = OCC3D) -> bool:
    """Whether two recipes' groups are the same but for names and order; False of what is none."""
    if first is None or second is None:
        return False
    try:
        own, other = (ClassGroups.of(groups, taxonomy).group_of for groups in (first, second))
    except ValueError:
        return False
    return own == other


def same_taxonomy(first: Any, second: Any) -> bool:
    """Whether ids have the same names in two recipes' taxonomies; False of what is none."""
    try:
        return Taxonomy.of(first).classes == Taxonomy.of(second).classes
    except ValueError:
        return False


def _check_group(name: Any, members: Any, taxonomy: Taxonomy) -> None:
    """A group has a name of its own and a list of classes."""
    if not isinstance(name, str) or not name or name in NO_CLASS_NAMES:
        raise ValueError(
            f"class_groups: {name!r} is no name for a group: expected a word, none of "
            f"{', '.join(NO_CLASS_NAMES)}"
        )
    if not isinstance(members, (list, tuple)) or not members:
        raise ValueError(f"class_groups: {name!r} is {members!r}, expected a list of classes")
    if name in taxonomy.classes and name not in members:
        raise ValueError(
            f"class_groups: {name!r} is the name of a class that the group does not hold: name the "
            "group otherwise"
        )


OCC3D_CLASSES = ClassGroups.of({})
"""Every class by itself."""
