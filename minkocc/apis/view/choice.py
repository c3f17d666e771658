"""What a viewer can choose, and what is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from minkocc.apis.view.frames import ViewedFrames
from minkocc.apis.view.legend import Entry, class_entries

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
    def of(cls, frames: ViewedFrames, title: str, first: int = 0) -> Offered:
        """What an info file's frames offer; shown first is the first layer.

        Args:
            frames: what is viewed.
            title: of the page.
            first: number of the frame that is shown first.
        """
        layers, pictures = list(frames.layers), frames.pictures
        layer = layers[0] if layers else NOTHING
        picture = pictures[0] if pictures else NOTHING
        start = Choice(first, layer, picture=picture)
        classes = class_entries(frames.groups)
        return cls(title, len(frames), layers, pictures, frames.has_boxes, classes, start)
