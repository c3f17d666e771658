"""Scenes of a few voxels of which every pixel is known."""

import numpy as np
import pytest
import torch

from minkocc.apis.benchmark.rendering import (
    Scene,
    first_voxels,
    installed_variants,
    loss_table,
    measure_loss,
    rendered_classes,
)
from minkocc.files.infos import read_infos
from minkocc.structures.taxonomy import CLASSES
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR, WALL = CLASSES.index("car"), CLASSES.index("manmade")
SIZE = (30, 40)


def scene(pole=True):
    """A wall at 16 m, and before it a pole at 8 m; the camera looks along x from 1.4 m above."""
    semantics = np.full(OCC3D_GRID.shape, 17, np.uint8)
    wall, near = (OCC3D_GRID.to_index(np.array([x, 0.1, 0.1]))[0] for x in (16.2, 8.2))
    semantics[wall, 60:140, :] = WALL
    if pole:
        semantics[near, 100, :] = CAR
    look = torch.eye(4).double()
    look[:3, :3] = torch.tensor([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]])
    camera = torch.eye(4).double()
    camera[:3, 3] = torch.tensor([0.0, -0.2, -1.4])
    k = torch.tensor([[40.0, 0, 20], [0, 40, 15], [0, 0, 1]]).double()
    visible = semantics < 17
    return Scene(semantics, visible, (look @ camera)[None], k[None], SIZE, None)


def test_the_first_voxel_of_every_pixel_worked_by_hand():
    one = scene()
    first = first_voxels(one).reshape(SIZE)
    classes = np.where(first >= 0, one.semantics.reshape(-1)[first], 17)
    # Column u looks at y = 0.2 - (u + .5 - 20) / 40 * x; the pole holds y from 0 to 0.4 at 8 m.
    expected = [CAR if 0 <= 0.2 - (u + 0.5 - 20) / 40 * 8 < 0.4 else WALL for u in range(40)]
    assert classes[15].tolist() == expected
    assert expected.count(CAR) == 2
    assert (classes[:2] == 17).any()  # above the grid there is nothing


@pytest.mark.parametrize("variant", installed_variants())
def test_a_wall_and_a_pole_are_seen_by_all(variant):
    one = scene()
    first = first_voxels(one)
    found, reached = rendered_classes(one, variant)
    met = first >= 0
    right = found[met] == one.semantics.reshape(-1)[first[met]]
    assert right.mean() > (0.999 if "opaque" in variant else 0.9)
    assert 5.0 < reached <= 100.0


def test_figures_of_real_frames_add_up(synthetic_root):
    infos = synthetic_root / "minkocc_infos_val.pkl"
    frames = read_infos(infos)["data_list"][:1]
    figures = measure_loss(frames, synthetic_root, "pseudo_labels")
    assert list(figures["variants"]) == installed_variants()
    for name, found in figures["variants"].items():
        whole = found["right"] + found["another_class"] + found["uncovered"]
        assert whole == pytest.approx(100.0, abs=0.02), name
        assert sum(found["pixels_by_class"].values()) == found["pixels"] > 1000
        assert 0 < found["image"] <= 100
    opaque = figures["variants"]["voxels 0.4 m, opaque"]
    assert opaque["right"] > 99.5
    assert opaque["right"] > figures["variants"]["spheres 0.4 m"]["right"]
    assert "right, pedestrian" in loss_table(figures)
