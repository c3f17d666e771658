"""Returns that a camera sees, and those behind nearer ones, in images of a few pixels."""

import math

import numpy as np
import pytest

from minkocc.evaluation.visible_returns import MARGIN, REACH, visible_returns

FOCAL = 500.0
ACROSS, DOWN = (round(FOCAL * math.tan(math.radians(angle))) for angle in REACH)


def seen(*returns):
    row, column, depth = np.array(returns).T
    return visible_returns(
        row.astype(int), column.astype(int), depth, (100, 120), FOCAL
    ).tolist()  # fmt: skip


def test_a_return_behind_a_nearer_one_is_not_seen():
    assert seen((50, 60, 8.0), (50, 60, 20.0)) == [True, False]
    assert seen((50, 60, 20.0), (50 + DOWN, 60 + ACROSS, 8.0)) == [False, True]


def test_far_beside_a_nearer_one_it_is():
    assert seen((50, 60, 20.0), (50, 60 + ACROSS + 1, 8.0)) == [True, True]
    assert seen((50, 60, 20.0), (50 + DOWN + 1, 60, 8.0)) == [True, True]


def test_a_slanted_surface_does_not_hide_itself():
    metres, share = MARGIN
    gap = metres + share * 20.0
    assert seen((50, 60, 20.0), (50, 61, 20.0 - 0.99 * gap)) == [True, True]
    assert seen((50, 60, 20.0), (50, 61, 20.0 - 1.01 * gap)) == [False, True]


@pytest.mark.parametrize("edge", [(0, 0), (99, 119)])
def test_nothing_beyond_the_edge_of_the_image_hides(edge):
    assert seen((*edge, 20.0)) == [True]


def test_no_return_at_all():
    nothing = np.zeros(0, np.int64)
    assert visible_returns(nothing, nothing, np.zeros(0), (4, 5), FOCAL).shape == (0,)
