import numpy as np
import pytest

from minkocc.structures import taxonomy as t


def test_names_palette_and_2d_ids_line_up():
    assert len(t.CLASSES) == 17
    assert t.PALETTE.shape == (18, 3)
    assert t.PALETTE_2D.shape == (t.NUM_IDS_2D, 3)
    assert len({tuple(colour) for colour in t.PALETTE}) == 18
    assert np.array_equal(t.PALETTE_2D[1:18], t.PALETTE[:17])


def test_2d_map():
    assert t.to_2d(np.array([0, 16, 17])).tolist() == [1, 17, 0]


def test_categories_are_the_32_of_lidarseg():
    assert len(t.CATEGORY_TO_ID) == 32
    assert set(t.CATEGORY_TO_ID.values()) == set(range(17))


def test_unknown_class_is_named():
    with pytest.raises(ValueError, match="unknown class 'tree'"):
        t.class_id("tree")
