"""What pixels meet, on a road and a wall: an untrained network keeps everything it looks at."""

import numpy as np
import pytest
import torch

from minkocc.apis.analyze_rendering import OUTCOMES, VARIANTS, count_frame, figures_of
from minkocc.structures.phase import Phase
from minkocc.structures.voxel_grid import OCC3D_GRID, VoxelGrid
from tests.unit.models.tiny_model import SMALL_RANGE, build, make_batch, semantics

NOTHING, FREE, OTHER, OWN = range(len(OUTCOMES))
ROAD, WALL = 11, 15


def counted(keep_all=False, label=None):
    """Counts of each variant, and the labelled pixels."""
    model = build().eval()
    if keep_all:
        model.genunet.set_thresholds([0.04] * 4)  # an untrained network says 0.047
    small = VoxelGrid(SMALL_RANGE, 0.4)
    truth = np.full(OCC3D_GRID.shape, 17, np.uint8)
    low = OCC3D_GRID.to_index(np.array(SMALL_RANGE[:3]) + 0.1)
    x, y, _ = small.shape
    truth[low[0] : low[0] + x, low[1] : low[1] + y] = semantics(small) if label is None else label
    data = make_batch(Phase.WEAK)
    sample = data["data_samples"][0]
    # The floor and all that is not hit is known: the rest of the room is free.
    sample.weak_occupancy[sample.weak_occupancy == 255] = 0
    with torch.no_grad():
        found = dict(count_frame(model, model.data_preprocessor(data, True), truth))
    labels = sample.img_semantics
    return found, int(((labels > 0) & (labels < 18)).sum())


def test_every_labelled_pixel_is_counted_once_under_each_variant():
    found, pixels = counted()
    assert list(found) == list(VARIANTS)
    assert all(counts.sum() == pixels for counts in found.values())
    assert found["exact"][:, FREE].sum() == 0
    # Everything is road below and wall above, and labelled so; the labels go on above the wall.
    assert found["exact"][WALL, OWN] > 0.8 * found["exact"][WALL, 1:].sum()
    assert found["exact"][ROAD, OWN] > 0.6 * found["exact"][ROAD].sum()


def test_false_voxels_hide_what_is_behind_them_until_they_are_carved():
    found, _ = counted(keep_all=True)
    assert found["trained"][:, FREE].sum() > found["trained"][:, OWN].sum()
    assert found["carved"][:, FREE].sum() == 0
    assert found["carved"][:, OWN].sum() > 2 * found["trained"][:, OWN].sum()


def test_voxels_of_another_class_are_told_from_free_ones():
    found, pixels = counted(label=np.uint8(4))  # cars everywhere
    assert found["exact"][:, [FREE, OWN]].sum() == 0
    assert found["exact"][:, OTHER].sum() > 0.8 * pixels


def test_figures_by_hand():
    counts = np.zeros((17, 4), np.int64)
    counts[ROAD] = [1, 2, 3, 4]
    counts[WALL] = [0, 10, 0, 0]
    figures = figures_of(counts)
    assert figures["pixels"] == 20
    assert list(figures["all"].values()) == [5.0, 60.0, 15.0, 20.0]
    assert figures["classes"]["driveable_surface"] == 40.0
    assert figures["classes"]["manmade"] == 0.0
    assert figures["classes"]["bus"] is None
    assert sum(figures["all"].values()) == pytest.approx(100)
