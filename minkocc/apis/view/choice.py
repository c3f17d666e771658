"""What a viewer can choose, and what is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from minkocc.apis.view.frames import ViewedFrames
from minkocc.apis.view.legend import Entry, class_entries
from minkocc.structures.errors import UserError

NOTHING = "nothing"


@dataclass(frozen=True)
class Choice:
    """What is on the screen."""

    frame: int = 0
    layer: str = NOTHING
    """The voxels at the vehicle."""
    beside: str = NOTHING
    """Other voxels of the same frame, to the right of these."""
    picture: str = NOTHING
    """What the cameras show."""
    points: bool = False
    boxes: bool = False
    hidden: frozenset[int] = frozenset()
    """Ids of the classes that are hidden."""


@dataclass(frozen=True)
class Offered:
    """What there is to choose from."""

    title: str
    frames: int
    layers: Sequence[str]
    pictures: Sequence[str]
    boxes: bool
    classes: Sequence[Entry]
    start: Choice = field(default_factory=Choice)

    @classmethod
    def of(
        cls,
        frames: ViewedFrames,
        title: str,
        first: int = 0,
        layer: str | None = None,
        beside: str = NOTHING,
        points: bool = False,
        boxes: bool = False,
    ) -> Offered:
        """What an info file's frames offer.

        Args:
            frames: what is viewed.
            title: of the page.
            first: number of the frame that is shown first.
            layer: shown first; None: the prediction, or else the label, or what there is.
            beside: shown beside it.
            points: whether the LiDAR is shown first.
            boxes: whether the boxes are.

        Raises:
            UserError: there is no such layer, or there are no boxes.
        """
        layers, pictures = list(frames.layers), frames.pictures
        for option, name in (("layer", layer), ("beside", beside)):
            if name not in (None, NOTHING, *layers):
                raise UserError(f"--{option} {name}: there is {', '.join([*layers, NOTHING])}")
        shown = layer or next(iter(layers), NOTHING)
        if boxes and not frames.has_boxes:
            raise UserError("--boxes: there are none, name the manifests of logs with --log")
        start = Choice(first, shown, beside, pictures[0], points, boxes)
        classes = class_entries(frames.groups)
        return cls(title, len(frames), layers, pictures, frames.has_boxes, classes, start)
