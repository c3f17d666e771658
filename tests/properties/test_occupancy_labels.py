"""What holds of every accumulated scene."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from minkocc.occupancy_labels.point_map import PointMap, thinned
from minkocc.occupancy_labels.scene import Box, Keyframe
from minkocc.occupancy_labels.tracks import tracks_of
from minkocc.ops.fill_gaps import fill_gaps
from minkocc.ops.points_in_boxes import points_in_boxes
from minkocc.structures.taxonomy import FREE
from tests.unit.occupancy_labels.scenes import pose

GRIDS = hnp.arrays(np.uint8, (5, 6, 4), elements=st.sampled_from([FREE] * 4 + [4, 15]))
PLACES = st.floats(-50, 50, width=32)
CLOUDS = hnp.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=PLACES)


def filled_by_search(semantics, known, gap):
    """Voxel by voxel and line by line, as the words say it."""
    out = semantics.copy()
    steps = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]

    def first(place, step):
        for i in range(1, gap + 1):
            here = np.array(place) + i * np.array(step)
            if (here < 0).any() or (here >= semantics.shape).any():
                break
            if semantics[tuple(here)] != FREE:
                return semantics[tuple(here)], i
        return FREE, gap + 1

    for place in np.argwhere((semantics == FREE) & ~known):
        pairs = [(*first(place, s), *first(place, -np.array(s))) for s in steps if s > (0, 0, 0)]
        kinds = {(i + j - 1, a) for a, i, b, j in pairs if a == b != FREE and i + j - 1 <= gap}
        if kinds:
            out[tuple(place)] = min(kinds)[1]
    return out


@given(GRIDS, hnp.arrays(np.bool_, (5, 6, 4)), st.integers(0, 3))
def test_gaps_are_those_that_a_search_finds(semantics, known, gap):
    found, searched = fill_gaps(semantics, known, gap), filled_by_search(semantics, known, gap)
    assert ((found != FREE) == (searched != FREE)).all()
    assert (found[semantics != FREE] == semantics[semantics != FREE]).all()
    assert (found[known & (semantics == FREE)] == FREE).all()


@given(CLOUDS, st.floats(0.1, 5), st.data())
def test_thinning_keeps_one_point_a_cell_within_it(points, cell, data):
    classes = data.draw(hnp.arrays(np.uint8, len(points), elements=st.integers(0, 16)))
    thin = thinned(PointMap(points, classes), cell)
    assert len(thin.points) == len(np.unique(np.floor(points / cell), axis=0))
    assert set(thin.classes) <= set(classes)
    assert np.abs(thin.points).max() <= np.abs(points).max() * (1 + 1e-6)
    again = thinned(PointMap(points[::-1].copy(), classes[::-1].copy()), cell)
    assert np.allclose(thin.points, again.points, atol=1e-4)


@given(CLOUDS, st.floats(-3, 3), st.floats(-40, 40), st.floats(0.5, 20))
def test_points_are_in_boxes_by_their_own_frame(points, yaw, x, half):
    box = pose(x, 3.0, 1.0, yaw)
    owner, local = points_in_boxes(points, np.linalg.inv(box)[None], np.array([[half, 2.0, 1.5]]))
    own = (points - box[:3, 3]) @ box[:3, :3]
    away = np.abs(own) - [half, 2.0, 1.5]
    sure = np.abs(away).min(1) > 1e-5
    assert ((owner == 0) == (away <= 0).all(1))[sure].all()
    assert np.allclose(local[owner == 0], own[owner == 0], atol=1e-6)
    assert np.isnan(local[owner < 0]).all()


@settings(max_examples=30)
@given(st.floats(-20, 20), st.floats(-2, 2), st.floats(0, 1))
def test_a_track_goes_straight_between_its_boxes(speed, turn, share):
    ends = pose(), pose(x=speed, yaw=turn)
    frames = [
        Keyframe(str(i), float(i), pose(), (), [Box("a", 4, end, (4.0, 2.0, 1.5))])
        for i, end in enumerate(ends)
    ]
    (track,) = tracks_of(frames)
    between = track.at(share, 0.5)
    if track.parked:
        assert any(np.allclose(between, end) for end in ends)
        return
    assert np.allclose(between[:3, 3], [share * speed, 0, 0])
    assert np.allclose(between[:3, :3] @ between[:3, :3].T, np.eye(3))
    assert np.isclose(np.arctan2(between[1, 0], between[0, 0]), share * turn)
    beyond = track.at(1.4, 0.5)
    assert np.allclose(beyond[:3, 3], [1.4 * speed, 0, 0])
    assert track.at(1.6, 0.5) is None
