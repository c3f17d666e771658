"""Labels the images of a nuScenes root: resumable, in shards, the same bytes however it is cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from minkocc.apis.pseudo_labels.folder import PseudoLabelFolder
from minkocc.apis.pseudo_labels.images import Batch, Selection, select_images, select_info_images
from minkocc.apis.pseudo_labels.report import write_label_report
from minkocc.datasets.transforms.loading import read_image
from minkocc.files.pseudo_label_meta import make_meta
from minkocc.pseudo_labels.pretrained import precision, versions
from minkocc.pseudo_labels.sources import Labeller, Source
from minkocc.runtime.tool import raise_if_interrupted
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CAMERAS, Taxonomy


@dataclass(frozen=True)
class Shard:
    """A share of the batches: ``index``, ``index + count``, ...

    Args:
        index: from 0.
        count: how many shards there are.

    Raises:
        UserError: there is no such shard.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise UserError(
                f"--shard {self.index}/{self.count}: the first number counts from 0 and is smaller "
                "than the second, e.g. 0/8 to 7/8"
            )

    @classmethod
    def parsed(cls, text: str) -> Shard:
        """A shard given as ``i/n``.

        Raises:
            UserError: it is something else.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise UserError(f"--shard {text}: expected i/n, e.g. 0/8 to 7/8")
        return cls(int(index), int(count))

    @classmethod
    def of_torchrun(cls, env: Mapping[str, str]) -> Shard:
        """The shard of a process that torchrun started; all of it elsewhere."""
        if "RANK" not in env or "WORLD_SIZE" not in env:
            return cls()
        return cls(int(env["RANK"]), int(env["WORLD_SIZE"]))


@dataclass(frozen=True)
class Job:
    """Where images come from, where labels go, and how the work is done.

    Args:
        root: nuScenes root, or that of other info files.
        version: the folder of its tables; None with ``infos``.
        folder: of the pseudo-labels; relative to the root, or absolute.
        cameras: whose images; None: nuScenes' six, or all of the infos.
        scenes: names of scenes; None takes all.
        infos: the info files whose images are labelled, instead of those of tables.
        batch_size: images that a model sees at a time.
        workers: processes that read images; 0 reads in this one.
        device: where the models work.
        shard: which of the batches.
        overwrite: delete labels that were made with other settings.
        show_progress: draw a progress bar.
    """

    root: Path
    version: str | None
    folder: Path
    cameras: Sequence[str] | None = None
    scenes: Sequence[str] | None = None
    infos: Sequence[Path] = ()
    batch_size: int = 1
    workers: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    shard: Shard = Shard()
    overwrite: bool = False
    show_progress: bool = True


def generate_pseudo_labels(job: Job, source: Source) -> str:
    """Label the images that have no labels yet; report when all of the selection have some.

    Args:
        job: what and where.
        source: the models.

    Returns:
        What was done, for the terminal.

    Raises:
        UserError: a file cannot be read, the folder was made with other settings, or CUDA's memory
            is too small.
    """
    selection = _selection(job, source.taxonomy)
    folder = PseudoLabelFolder(job.root / job.folder, source.taxonomy)
    meta = make_meta(
        source.kind, source.models, source.class_map, selection.image_size,
        selection.cameras, source.taxonomy,
        **source.settings, computed=_computed(job),
    )  # fmt: skip
    own = selection.batches(job.batch_size)[job.shard.index :: job.shard.count]
    labeller = None
    if not job.overwrite:
        folder.check(meta)
    if folder.changes(meta) or _pending(own, folder.finished(selection.cameras)):
        with _memory_told(job):
            labeller = source.load(job.device)
    # Now, not before: models that cannot be loaded leave no word of theirs.
    folder.claim(meta, job.overwrite)
    folder.remove_leftovers(image for batch in own for image in batch)
    done = folder.finished(selection.cameras)
    if labeller is not None:
        _label(job, labeller, folder, _pending(own, done), done)
    return _told(job, selection, folder, own, done)


def _selection(job: Job, taxonomy: Taxonomy) -> Selection:
    if job.infos:
        return select_info_images(job.infos, job.cameras, job.scenes, taxonomy)
    return select_images(job.root, str(job.version), job.cameras or CAMERAS, job.scenes)


def _computed(job: Job) -> dict[str, Any]:
    """What decides the last bits: a folder that is finished otherwise would be of two kinds."""
    return {"precision": precision(job.device), "batch_size": job.batch_size, **versions()}


def _pending(batches: list[Batch], done: set[tuple[str, str]]) -> list[Batch]:
    """The batches that lack a file."""
    return [batch for batch in batches if any(image.key not in done for image in batch)]


def _label(
    job: Job,
    labeller: Labeller,
    folder: PseudoLabelFolder,
    batches: list[Batch],
    done: set[tuple[str, str]],
) -> None:
    """Label whole batches, and write of them what is not there."""
    loader = DataLoader(
        _Images(job.root, batches), batch_size=None, collate_fn=_as_it_is, num_workers=job.workers
    )
    total = sum(map(len, batches))
    hidden = not job.show_progress
    with tqdm(total=total, desc="pseudo-labels", unit="image", disable=hidden) as bar:
        for batch, images in zip(batches, loader):
            with _memory_told(job):
                labelled = labeller.label(images)
            for image, (labels, confidence) in zip(batch, labelled):
                if image.key not in done:
                    folder.write(image, labels, confidence)
            bar.update(len(batch))
            raise_if_interrupted()


def _told(
    job: Job,
    selection: Selection,
    folder: PseudoLabelFolder,
    own: list[Batch],
    before: set[tuple[str, str]],
) -> str:
    images = [image for batch in own for image in batch]
    there = sum(image.key in before for image in images)
    lines = [f"{len(images) - there} images labelled, {there} already there: {folder.path}"]
    if job.shard.count > 1:
        lines[0] = f"shard {job.shard.index}/{job.shard.count}: {lines[0]}"
    done = folder.finished(selection.cameras)
    missing = sum(image.key not in done for image in selection.images())
    if missing:
        lines.append(f"{missing} images of other shards are missing: the last one to end reports")
    else:
        lines += ["", write_label_report(job.root, selection, folder)]
    return "\n".join(lines)


class _Images(Dataset):
    """The images of every batch."""

    def __init__(self, root: Path, batches: list[Batch]) -> None:
        self._root, self._batches = root, batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> list[Image.Image]:
        return [
            read_image(self._root / image.record["filename"], image.record)
            for image in self._batches[index]
        ]


def _as_it_is(batch: Any) -> Any:
    return batch


@contextmanager
def _memory_told(job: Job) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = "a smaller --batch-size" if job.batch_size > 1 else "smaller models"
        raise UserError(
            f"the memory of {job.device} is too small for --batch-size {job.batch_size}: use "
            f"{smaller}. What is labelled belongs to this call's settings: name another --folder, "
            "or begin again with --overwrite"
        ) from error
