"""Whether the parts of a network take what the others give, asked before the first batch is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minkocc.models.group_index import GroupIndex


def check_parts(model: Any, heads: Mapping[str, Mapping[str, Any] | None]) -> None:
    """Compare widths and classes; a part that does not say its own is taken as it is.

    Args:
        model: with ``image_encoder``, ``voxel_encoder``, ``genunet``, ``semantic_head`` and
            ``pulsar_head``.
        heads: the configs of the last two.

    Raises:
        ValueError: two of them do not fit.
    """
    neck = getattr(model.image_encoder, "neck", None)
    fusion = getattr(model.voxel_encoder, "fusion", None)
    _same_width(
        ("voxel_encoder.fusion.image_channels", getattr(fusion, "image_channels", None)),
        ("image_encoder.neck.out_channels", getattr(neck, "out_channels", None)),
    )
    _same_width(
        ("genunet.in_channels", getattr(model.genunet, "in_channels", None)),
        ("the voxel_encoder's width", getattr(model.voxel_encoder, "out_channels", None)),
    )
    for name, head in heads.items():
        if head:
            given = getattr(model.genunet, "out_channels", None)
            width = ("the genunet's width, its channels[0],", given)
            _same_width((f"{name}.channels", head.get("channels")), width)
    _check_classes(model)


def _same_width(taken: tuple[str, Any], given: tuple[str, Any]) -> None:
    if None not in (taken[1], given[1]) and taken[1] != given[1]:
        raise ValueError(f"{taken[0]} is {taken[1]}, and {given[0]} is {given[1]}: set both alike")


def _check_classes(model: Any) -> None:
    head, renderer = model.semantic_head, model.pulsar_head
    if not isinstance(getattr(head, "classes", None), GroupIndex):
        raise ValueError(
            f"semantic_head {type(head).__name__} has no attribute classes: derive it from "
            "SemanticHead, or set classes = group_index(class_groups, taxonomy)"
        )
    drawn = getattr(renderer, "classes", head.classes)
    if drawn.groups != head.classes.groups:
        raise ValueError(
            f"the classes of pulsar_head are {drawn.groups.described}: expected those of the "
            f"semantic_head, {head.classes.groups.described}"
        )
