"""A checkpoint to hand on: weights alone, small, with a card that says what it is."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from minkocc.engine.run_settings import trained_settings
from minkocc.files.checkpoints import not_finite, read_checkpoint
from minkocc.files.writing import atomic_write, write_text
from minkocc.structures.errors import UserError


def publish(checkpoint: str | Path, out: Path, half: bool = True) -> int:
    """Write a checkpoint's weights and the settings they were trained under, and nothing else.

    Args:
        checkpoint: what ``read_checkpoint`` takes.
        out: the file to write.
        half: store weights in half precision, which the network reads into its own; half the size.

    Returns:
        Its size in bytes.

    Raises:
        UserError: the checkpoint does not say how it was trained, or a weight does not fit into
            half precision.
    """
    content = read_checkpoint(checkpoint)
    settings = trained_settings(content)
    if not settings:
        raise UserError(
            f"checkpoint {checkpoint} does not say how it was trained (meta.run): publish one that "
            "tools/train.py wrote"
        )
    state = {name: _stored(value, half) for name, value in content["state_dict"].items()}
    lost = not_finite({"state_dict": state})
    if lost:
        raise UserError(f"checkpoint {checkpoint} in half precision: {lost}; use --full")
    meta = content["meta"]
    kept = {name: meta[name] for name in ("iter", "epoch", "labelled_scenes") if name in meta}
    run = {name: value for name, value in settings.items() if name != "pseudo_labels"}  # a place
    buffer = io.BytesIO()
    torch.save({"state_dict": state, "meta": {**kept, "run": run}}, buffer)
    with atomic_write(out) as sink:
        sink.write(buffer.getvalue())
    return len(buffer.getvalue())


def _stored(value: torch.Tensor, half: bool) -> torch.Tensor:
    return value.half() if half and value.is_floating_point() else value.clone()


def write_card(path: Path, name: str, figures: Mapping[str, Any], data: str) -> None:
    """Write what a published checkpoint is, as Markdown.

    Args:
        path: the card.
        name: of the checkpoint's file.
        figures: of its run, as ``tools/study.py`` keeps them.
        data: how its data is made or had, in words or commands.
    """
    final, steps = figures["final"], figures["steps"]
    miou, rayiou = final["occ3d"], final["rayiou"]
    options = ", ".join(f"`{key}={value}`" for key, value in figures["options"].items())
    rows = [
        ("mIoU (occ3d)", miou["miou"]),
        ("geometric IoU (occ3d)", miou["geometric_iou"]),
        ("RayIoU", rayiou["rayiou"]),
        *((f"IoU {key}", value) for key, value in miou["iou"].items()),
    ]
    table = [f"| {key} | {'absent' if value is None else f'{value:.1f}'} |" for key, value in rows]
    trained = steps["train"]
    write_text(
        path,
        "\n".join(
            [
                f"# {name}",
                "",
                f"{figures['label']}. Recipe `{figures['config']}` with {options}.",
                "",
                f"- **Data**: {data}",
                f"- **Trained** at commit {trained['commit']} on {trained['machine']}, "
                f"{trained['seconds'] / 60:.0f} minutes.",
                f"- **Dense labels read**: {figures['labels_read']['labelled_frames']} of "
                f"{figures['labels_read']['all_frames']} training frames.",
                "- **Licence**: Apache-2.0, as the code. Made of synthetic data alone.",
                "- Stored in half precision; read into single precision when it is used.",
                "",
                f"On the {miou['num_frames']} validation frames, last checkpoint, percent "
                f"(`train_mask` {figures['knobs']['train_mask']}, no pretrained image weights):",
                "",
                "| figure | percent |",
                "|---|---:|",
                *table,
                "",
            ]
        ),
    )
