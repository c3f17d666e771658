"""How good the weak labels of a data root are: its keyframes, and sections of figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkocc.datasets.infos import sample_frame
from minkocc.datasets.lidarseg import Categories, lidarseg_files
from minkocc.datasets.nuscenes_tables import open_keyframes
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import provenance
from minkocc.structures.errors import UserError
from minkocc.structures.spread import spread_indices

REPORT = "label_quality.json"


class NothingToMeasureError(UserError, ValueError):
    """A root that lacks the labels, or the truth to hold them against."""


@dataclass(frozen=True)
class Section:
    """What is found of one kind of label."""

    name: str
    """Its key in the report."""
    figures: dict[str, Any]
    """JSON-ready."""
    text: str
    """Markdown for the terminal."""
    charts: Mapping[str, Callable[[Path], None]]
    """What draws each picture, by its file's name."""


@dataclass(frozen=True)
class Keyframe:
    """A keyframe that is looked at."""

    frame: dict[str, Any]
    """What an info file says of it, without ``ray_origins``."""
    lidarseg: Path | None
    """The classes of its returns, where the root holds them."""


class Keyframes:
    """The keyframes of a nuScenes root, or some of them, spread evenly.

    Args:
        root: its folder.
        version: the folder of its tables.
        max_frames: look at so many; None at all.

    Raises:
        InfoError: there are no such tables, they are broken, or hold no keyframe.
    """

    def __init__(self, root: Path, version: str, max_frames: int | None = None) -> None:
        self.root, self.version = root, version
        self._nusc, samples = open_keyframes(root, version)
        self.total = len(samples)
        self._chosen = [samples[i] for i in spread_indices(len(samples), max_frames)]
        self._lidarseg = lidarseg_files(self._nusc, root)
        self._scene_of = {sample["token"]: scene for scene, sample in samples}
        self._frames: dict[str, dict[str, Any]] = {}

    def __len__(self) -> int:
        """How many are looked at."""
        return len(self._chosen)

    def __iter__(self) -> Iterator[Keyframe]:
        """The keyframes, scene by scene."""
        for _, sample in self._chosen:
            frame = self.frame_of(sample["token"])
            assert frame is not None
            yield Keyframe(frame, self._lidarseg.get(sample["data"]["LIDAR_TOP"]))

    def frame_of(self, token: str) -> dict[str, Any] | None:
        """What an info file says of any keyframe; None if the root has none of that token."""
        if token not in self._frames:
            scene = self._scene_of.get(token)
            if scene is None:
                return None
            sample = self._nusc.get("sample", token)
            self._frames[token] = sample_frame(self._nusc, sample, scene, self.root)
        return self._frames[token]

    @property
    def categories(self) -> Categories:
        """What the numbers in lidarseg files mean; empty without lidarseg."""
        return dict(getattr(self._nusc, "lidarseg_idx2name_mapping", {}))


def measured(*sections: Callable[[], Section]) -> list[Section]:
    """The sections that the root has the truth for; why the others are missing is printed.

    Raises:
        NothingToMeasureError: none of them can be measured.
    """
    found, reasons = [], []
    for section in sections:
        try:
            found.append(section())
        except NothingToMeasureError as reason:
            reasons.append(reason)
    if not found:
        raise NothingToMeasureError("; ".join(map(str, reasons)))
    for why in reasons:
        print(f"left out: {why}\n")
    return found


def write_sections(keyframes: Keyframes, sections: Iterable[Section], out: Path) -> list[Path]:
    """Write the report and the pictures of the sections.

    Args:
        keyframes: what was looked at.
        sections: what was found.
        out: the folder.

    Returns:
        The written files.
    """
    sections = list(sections)
    context = {
        **provenance(),
        "root": str(keyframes.root),
        "version": keyframes.version,
        "frames_in_root": keyframes.total,
        "frames_looked_at": len(keyframes),
    }
    written = [out / REPORT]
    write_json(written[0], {**context, **{part.name: part.figures for part in sections}})
    for part in sections:
        for name, draw in part.charts.items():
            written.append(out / name)
            draw(written[-1])
    return written
