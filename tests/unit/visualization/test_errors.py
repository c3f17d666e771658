"""What is right, wrong, missed and invented, and that the pictures show it."""

import numpy as np

from minkocc.structures.voxel_grid import VoxelGrid
from minkocc.visualization.errors import (
    COLOURS,
    INVENTED,
    MISSED,
    NAMES,
    PALETTE,
    RIGHT,
    WRONG_CLASS,
    compare,
    error_pictures,
)

FREE, CAR, BUS, DROPPED = 17, 4, 3, 255
GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), 0.4)


def volumes():
    """Prediction, label and mask with one block of 4 x 4 columns of each kind, and of the unseen.

    In front left: right; front right: wrong class; back left: missed; back right: invented.
    """
    pred, label = (np.full(GRID.shape, FREE, np.uint8) for _ in range(2))
    pred[12:16, 12:16, 1] = label[12:16, 12:16, 1] = CAR
    pred[12:16, 4:8, 1], label[12:16, 4:8, 1] = BUS, CAR
    label[4:8, 12:16, 1] = CAR
    pred[4:8, 4:8, 1] = CAR
    mask = np.ones(GRID.shape, bool)
    pred[0, 0, 0] = label[0, 19, 0] = CAR
    mask[0] = False
    return pred, label, mask


def test_kinds_by_hand():
    found = compare(*volumes())
    assert found.dtype == np.uint8
    assert (found[12:16, 12:16, 1] == RIGHT).all()
    assert (found[12:16, 4:8, 1] == WRONG_CLASS).all()
    assert (found[4:8, 12:16, 1] == MISSED).all()
    assert (found[4:8, 4:8, 1] == INVENTED).all()
    kinds = (RIGHT, WRONG_CLASS, MISSED, INVENTED)
    assert [int((found == kind).sum()) for kind in kinds] == [16] * 4
    assert (found == FREE).sum() == found.size - 64  # the unseen ones among them


def test_a_dropped_voxel_is_free():
    pred, label, mask = volumes()
    label[12, 12, 1] = DROPPED
    pred[12, 13, 1] = DROPPED
    found = compare(pred, label, mask)
    assert (found[12, 12, 1], found[12, 13, 1]) == (INVENTED, MISSED)


def test_pictures_show_each_kind_in_its_colour_and_place():
    pictures = error_pictures(*volumes(), GRID)
    assert len(pictures) == 2
    for title, _ in pictures:
        for name, colour in zip(NAMES, COLOURS):
            assert f"{name} {colour}" in title
    above = pictures[0][1]
    quarter = {RIGHT: (17, 17), WRONG_CLASS: (17, 40), MISSED: (40, 17), INVENTED: (40, 40)}
    for kind, place in quarter.items():  # forward up, left left, 3 pixels a voxel
        shaded = (0.7 + 0.3 * 1 / 4) * PALETTE[kind]  # at the second of five heights
        assert np.array_equal(above[place], shaded.astype(np.uint8)), NAMES[kind]
    for _, picture in pictures:
        legend = picture[-26:].reshape(-1, 3).tolist()
        assert all(PALETTE[kind].tolist() in legend for kind in quarter)
    seen = pictures[1][1][:-26].reshape(-1, 3)
    tops = [tuple(PALETTE[kind].tolist()) for kind in quarter]
    assert set(tops) <= set(map(tuple, seen.tolist()))


def test_four_colours_differ_and_none_is_the_background():
    four = PALETTE[:4].astype(int)
    distances = np.abs(four[:, None] - np.array([*four, PALETTE[FREE]])[None]).sum(-1)
    assert (distances + 1000 * np.eye(4, 5, dtype=int)).min() > 120
