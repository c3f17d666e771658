"""A viewer at work: draws what is chosen, plays frames, answers clicks, writes a page to mail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from minkocc.apis.view.boxes import edges
from minkocc.apis.view.choice import NOTHING, Choice
from minkocc.apis.view.frames import LABEL, ViewedFrames, Volume
from minkocc.apis.view.legend import (
    Entry,
    caption,
    class_entries,
    error_entries,
    swatches,
    volume_entries,
)
from minkocc.apis.view.page import BESIDE, Page, Vector
from minkocc.apis.view.picking import first_voxel
from minkocc.files.writing import atomic_write
from minkocc.occupancy_labels.scene import Box
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.visualization.points import height_colours
from minkocc.visualization.voxel_mesh import class_meshes

_PLACES: dict[str, Vector] = {"voxels": (0.0, 0.0, 0.0), "beside": BESIDE}
_NAME_AT = (44.0, 0.0, 5.0)  # metres from a volume's middle: behind its far edge
_POLL = 0.5  # seconds, so that Ctrl-C is answered
_LIKELIEST = 3  # classes that a click tells of


class _Part(NamedTuple):
    read: Callable[[], Any]
    draw: Callable[[Any], None]
    """Takes what was read, None where there is nothing."""


class Session:
    """Draws frames on a page as they are chosen.

    Args:
        frames: what is viewed.
        page: where to.
    """

    def __init__(self, frames: ViewedFrames, page: Page) -> None:
        self.frames = frames
        self.page = page
        self._drawn: Choice | None = None
        self._volumes: dict[str, Volume | None] = {}
        self._problems: dict[str, str] = {}
        page.on_pick(self.describe)

    def run(self) -> None:
        """Draw whatever is chosen until Ctrl-C."""
        self.draw(self.page.choice())
        while True:
            began, pause = time.monotonic(), self.page.seconds_a_frame
            changed = self.page.changed.wait(_POLL if pause is None else pause)
            self.page.changed.clear()
            choice = self.page.choice()
            if pause is not None and not (changed and time.monotonic() - began < pause):
                choice = replace(choice, frame=(choice.frame + 1) % len(self.frames))
                self.page.turn_to(choice.frame)
            if choice != self._drawn:
                self.draw(choice)

    def draw(self, choice: Choice) -> None:
        """Draw what differs from what is drawn; what cannot be read is said on the page."""
        before, self._drawn = self._drawn, choice
        with self.page.drawing():
            for name, part in self._parts(choice).items():
                if before is None or self._depends(name, before) != self._depends(name, choice):
                    part.draw(self._read(name, part.read))
            self._hide(choice)
            self.page.tell(self.frames.title(choice.frame), list(self._problems.values()))

    def _parts(self, choice: Choice) -> dict[str, _Part]:
        """What a choice is made of, in the order of drawing."""
        frames, frame = self.frames, choice.frame

        def volume(layer: str) -> Callable[[], Volume | None]:
            return lambda: None if layer == NOTHING else frames.volume(frame, layer)

        return {
            "voxels": _Part(volume(choice.layer), partial(self._draw_volume, "voxels")),
            "beside": _Part(volume(choice.beside), partial(self._draw_volume, "beside")),
            "names": _Part(lambda: None, lambda _: self._draw_names(choice)),
            "points": _Part(
                lambda: frames.sweep(frame) if choice.points else None, self._draw_points
            ),
            "boxes": _Part(
                lambda: frames.boxes(frame) if choice.boxes else None,
                lambda boxes: self._draw_boxes(boxes or [], frame),
            ),
            "cameras": _Part(
                lambda: {} if choice.picture == NOTHING else frames.images(frame, choice.picture),
                lambda images: self.page.draw_cameras(frames.planes(frame), images or {}),
            ),
        }

    @staticmethod
    def _depends(part: str, choice: Choice) -> tuple[object, ...]:
        """Of a choice, what a part is drawn from."""
        return {
            "voxels": (choice.frame, choice.layer),
            "beside": (choice.frame, choice.beside),
            "names": (choice.frame, choice.layer, choice.beside),
            "points": (choice.frame if choice.points else -1,),
            "boxes": (choice.frame if choice.boxes else -1,),
            "cameras": (choice.frame, choice.picture),
        }[part]

    def _read(self, name: str, read: Callable[[], Any]) -> Any:
        """What a part reads; None, and a problem to tell, where it cannot."""
        self._problems.pop(name, None)
        try:
            return read()
        except UserError as error:
            self._problems[name] = " ".join(str(error).split())
            return None

    def raise_problem(self) -> None:
        """Raise what could not be drawn, where nobody sees the page.

        Raises:
            UserError: something could not.
        """
        for problem in self._problems.values():
            raise UserError(problem)

    @property
    def _choice(self) -> Choice:
        return self._drawn or Choice()

    def _draw_volume(self, place: str, volume: Volume | None) -> None:
        self._volumes[place] = volume
        self.page.forget_pick()
        meshes = {}
        if volume is not None:
            found = class_meshes(volume.semantics, OCC3D_GRID)
            meshes = {e: found[e.number] for e in self._entries(volume) if e.number in found}
        self.page.draw_voxels(place, meshes, _PLACES[place])

    def _entries(self, volume: Volume) -> Sequence[Entry]:
        return volume_entries(volume, self.frames.groups)

    def _hide(self, choice: Choice) -> None:
        """Hidden classes are hidden in volumes that have classes, and nowhere else."""
        for place, volume in self._volumes.items():
            if volume is not None:
                shown = {
                    entry.name: volume.kind != "class" or entry.number not in choice.hidden
                    for entry in self._entries(volume)
                }
                self.page.show_classes(place, shown)

    def _draw_names(self, choice: Choice) -> None:
        errors = [v for v in self._volumes.values() if v is not None and v.kind == "error"]
        self.page.explain_errors(swatches(error_entries(errors[0]), 2) if errors else "")
        names = {}
        for place, layer in (("voxels", choice.layer), ("beside", choice.beside)):
            if choice.beside != NOTHING and layer != NOTHING:
                x, y, z = (a + b for a, b in zip(_PLACES[place], _NAME_AT))
                absent = self._volumes.get(place) is None
                names[f"{layer}: none of this frame" if absent else layer] = (x, y, z)
        self.page.draw_names(names)

    def _draw_points(self, sweep: NDArray[np.float32] | None) -> None:
        points = np.zeros((0, 3), np.float32) if sweep is None else sweep[:, :3]
        self.page.draw_points(points, height_colours(points[:, 2]))

    def _draw_boxes(self, boxes: Sequence[Box], frame: int) -> None:
        ego2global = self.frames.frames[frame]["ego2global"]
        lines = np.array([edges(box, ego2global) for box in boxes]).reshape(-1, 2, 3)
        numbers = np.repeat([box.class_id for box in boxes], len(lines) // max(1, len(boxes)))
        colours = self.frames.groups.taxonomy.palette[numbers.astype(int)]
        self.page.draw_boxes(lines, np.stack([colours, colours], axis=1))

    def describe(self, origin: Vector, direction: Vector) -> str:
        """What the first voxel on a ray is, in Markdown: class, place, probabilities, label."""
        nearest: tuple[float, str] | None = None
        for place, volume in list(self._volumes.items()):
            if volume is None:
                continue
            start = np.array(origin) - np.array(_PLACES[place])
            index = first_voxel(self._shown(volume), OCC3D_GRID, start.tolist(), direction)
            if index is None:
                continue
            far = float(np.linalg.norm(OCC3D_GRID.to_centre(np.array(index)) - start))
            if nearest is None or far < nearest[0]:
                nearest = far, self._tell(volume, index)
        return "nothing there" if nearest is None else nearest[1]

    def _shown(self, volume: Volume) -> np.ndarray:
        shown = volume.semantics < FREE
        if volume.kind == "class" and self._choice.hidden:
            shown &= ~np.isin(volume.semantics, list(self._choice.hidden))
        return np.asarray(shown)

    def _tell(self, volume: Volume, index: tuple[int, int, int]) -> str:
        number = int(volume.semantics[index])
        names = {entry.number: entry.name for entry in self._entries(volume)}
        said = names.get(number, str(number))
        x, y, z = OCC3D_GRID.to_centre(np.array(index))
        lines = [f"**{said}** at x {x:.1f}, y {y:.1f}, z {z:.1f} m (voxel {list(index)})"]
        chances = volume.predicted.probabilities_at(index) if volume.predicted else None
        if chances is not None:
            order = np.argsort(-chances.astype(np.float32))[:_LIKELIEST]
            told = ", ".join(f"{self.frames.groups.names[i]} {chances[i]:.2f}" for i in order)
            lines.append(f"probability: {told}")
        if LABEL in self.frames.layers:
            label = self.frames.volume(self._choice.frame, LABEL)
            if label is not None:
                own = {e.number: e.name for e in class_entries(self.frames.groups)}
                lines.append(f"label: {own.get(int(label.semantics[index]), 'free')}")
        return "\n\n".join(lines)


def export_page(session: Session, choice: Choice, count: int, rate: float, out: Path) -> int:
    """Write a self-contained page of consecutive frames.

    Args:
        session: draws them.
        choice: what is shown, from its frame on.
        count: frames; fewer where the info file ends.
        rate: frames a second.
        out: the HTML file.

    Returns:
        How many frames are in it.

    Raises:
        UserError: a frame cannot be read.
    """
    last = min(choice.frame + count, len(session.frames))
    recording = None
    for frame in range(choice.frame, last):
        session.draw(replace(choice, frame=frame))
        session.raise_problem()
        if recording is None:
            recording = session.page.record()
        if last - choice.frame > 1:
            recording.wait(1 / rate)
    assert recording is not None
    frames = session.frames
    first = frames.frames[choice.frame]
    title = f"{first['scene_name']}: {choice.layer}"
    if choice.beside != NOTHING:
        title += f" | {choice.beside}"
    page = recording.html(caption(title, class_entries(frames.groups)))
    with atomic_write(out) as sink:
        sink.write(page.encode("utf-8"))
    return last - choice.frame
