"""How long the renderers take, and how far Pulsar's images are from ours."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minkocc.apis.benchmark.rendering import (
    RANGE,
    Scene,
    installed_renderers,
    read_scene,
    render_scene,
)
from minkocc.apis.benchmark.stage_times import clock
from minkocc.evaluation.report import aligned
from minkocc.evaluation.voxel_iou import percent_of
from minkocc.models.renderers import Renderer, build_renderer
from minkocc.ops import pulsar_render
from minkocc.ops.sphere_render import RenderSettings, render_spheres
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID


def measure_times(
    frame: dict[str, Any],
    root: Path,
    counts: Sequence[int],
    channels: Sequence[int],
    widths: Sequence[int],
    repeat: int,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Seconds forward and backward of every renderer that is installed, over all views of a frame.

    Args:
        frame: of an info file, with a dense label.
        root: of its files.
        counts: numbers of voxels, drawn from the label's occupied ones; all where it has fewer.
        channels: numbers of values a voxel.
        widths: of the images, pixels.
        repeat: runs of each, after one that is not counted.
        device: where to render.
    """
    rows = []
    for width in widths:
        scene = read_scene(frame, root, None, width).to(device)
        occupied = torch.from_numpy(np.argwhere(scene.semantics < FREE)).to(device)
        order = torch.randperm(len(occupied), generator=torch.Generator().manual_seed(0))
        for count, name, values in product(counts, installed_renderers(), channels):
            index = occupied[order[:count].to(device)]
            renderer = build_renderer(name, 0.4, RANGE, 8, 3e-3, 1e-6)
            value = torch.randn(len(index), values, device=device, requires_grad=True)
            laps = [_lap(renderer, scene, index, value) for _ in range(repeat + 1)]
            forward, backward = zip(*laps[1:])
            rows.append(
                {
                    "renderer": name,
                    "views": len(scene.ego2cam),
                    "size": list(scene.size),
                    "voxels": len(index),
                    "channels": values,
                    "forward_s": _spread(forward),
                    "backward_s": _spread(backward),
                    "both_s": _spread([sum(lap) for lap in laps[1:]]),
                }
            )
    return rows


def _lap(renderer: Renderer, scene: Scene, index: Tensor, values: Tensor) -> tuple[float, float]:
    start = clock()
    out = render_scene(renderer, scene, index, values, 0.0, learns=True)
    middle = clock()
    out.values.sum().backward()
    return middle - start, clock() - middle


def times_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Milliseconds forward and backward together in Markdown: median, and the range of the runs."""
    table: dict[tuple[Any, ...], dict[str, str]] = {}
    for row in rows:
        h, w = row["size"]
        case = (f"{row['views']} x {w}x{h}", str(row["voxels"]), str(row["channels"]))
        middle, low, high = (1e3 * row["both_s"][key] for key in ("median", "min", "max"))
        table.setdefault(case, {})[row["renderer"]] = f"{middle:.0f} ({low:.0f} to {high:.0f})"
    names = list(dict.fromkeys(row["renderer"] for row in rows))
    lines = [["views", "voxels", "channels", *names]]
    lines += [[*case, *(found.get(name, "") for name in names)] for case, found in table.items()]
    return "\n".join(aligned(lines))


def measure_agreement(
    frame: dict[str, Any], root: Path, width: int = 400, least_px: float = 1.0
) -> dict[str, Any]:
    """How far Pulsar's images of a frame's label are from those of our spheres.

    The principal points are whole pixels, as Pulsar wants them; opacities and 18 values a voxel are
    random.

    Args:
        frame: of an info file, with a dense label.
        root: of its files.
        width: of the images, pixels.
        least_px: radius that no sphere is drawn smaller than, pixels.

    Raises:
        SettingError: pytorch3d is not installed.
    """
    scene = read_scene(frame, root, None, width)
    middle = torch.tensor([scene.size[1] / 2, scene.size[0] / 2]).double()
    cameras = scene.cam2img.clone()
    cameras[:, :2, 2] = middle - (middle - cameras[:, :2, 2]).round()
    index = torch.from_numpy(np.argwhere(scene.semantics < FREE))
    generator = torch.Generator().manual_seed(0)
    spheres = (
        OCC3D_GRID.to_centre(index),
        torch.full((len(index),), 0.7 * OCC3D_GRID.voxel_size),
        0.5 + 0.5 * torch.rand(len(index), generator=generator),
        torch.randn(len(index), 18, generator=generator),
    )
    settings = RenderSettings(max_hits=32, min_radius_px=least_px)
    ours, theirs = (
        render(*spheres, scene.ego2cam, cameras, scene.size, settings)
        for render in (render_spheres, pulsar_render.render_pulsar)
    )
    size = ours.features.norm(dim=1)
    apart = (ours.features - theirs.features).norm(dim=1)[ours.coverage > 0.5]
    apart = apart / size[ours.coverage > 0.5]
    within = {
        f"within_{percent}_percent": percent_of(int((apart < percent / 100).sum()), apart.numel())
        for percent in (1, 5)
    }
    return {
        "views": [len(cameras), *scene.size],
        "spheres": len(index),
        "pixels": apart.numel(),
        "median_percent": round(100 * float(apart.median()), 3),
        **within,
    }


def _spread(laps: Sequence[float]) -> dict[str, float]:
    """Median, least and most: one lap that is much longer than the others shows."""
    return {
        "median": round(statistics.median(laps), 4),
        "min": round(min(laps), 4),
        "max": round(max(laps), 4),
    }
