"""Figures of networks that tell other classes apart than Occ3D's 17."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minkocc.evaluation.protocols import Counts, Protocol, Summary
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.taxonomy import CLASSES, OCC3D, Taxonomy


def by_group(summary: Summary, groups: ClassGroups) -> Summary:
    """A summary of grouped ids under the classes' names, which it then says; else as it is.

    Args:
        summary: of a protocol, counted of predictions and labels in ``ClassGroups.grouped`` ids.
        groups: the classes.
    """
    if groups.plain:
        return summary
    said: Summary = {"class_groups": groups.recipe()}
    if groups.taxonomy != OCC3D:
        said["taxonomy"] = groups.taxonomy.meaning()
    return {**_renamed(summary, groups), **said}


def summarise_groups(
    protocol: Protocol, counts: Counts, num_frames: int, groups: ClassGroups
) -> Summary:
    """A protocol's figures of sums over frames, by group; arguments as ``summarise`` has them."""
    return by_group(protocol.summarise(counts, num_frames, groups), groups)


def groups_of(summary: Summary) -> ClassGroups:
    """The classes that a summary is of."""
    taxonomy = Taxonomy.of(summary.get("taxonomy"))
    return ClassGroups.of(summary.get("class_groups"), taxonomy)


def _renamed(node: Any, groups: ClassGroups) -> Any:
    """Every dict of all ids, under the names of Occ3D's classes, as one of the groups."""
    if not isinstance(node, Mapping):
        return node
    if tuple(node) == CLASSES:
        return {name: node[CLASSES[number]] for name, number in zip(groups.names, groups.ids)}
    return {key: _renamed(value, groups) for key, value in node.items()}
