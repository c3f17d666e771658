"""What the world promises, tested without rendering."""

from __future__ import annotations

import numpy as np
import pytest

from minkocc.structures.taxonomy import CLASSES
from minkocc.synthetic.categories import CATEGORIES, CATEGORY_CLASS, category_index
from minkocc.synthetic.layout import RARE, rare_classes
from minkocc.synthetic.world import World, build_world


@pytest.fixture(scope="module")
def worlds() -> list[World]:
    return [build_world(seed=0, scene=i, keyframes=6) for i in range(6)]


def near_classes(world: World) -> set[str]:
    """Classes with a surface inside the grid at some keyframe, roughly: 35 m from the path."""
    positions = np.stack([world.ego.pose(world.ground, t)[:2, 3] for t in np.arange(6) * 0.5])

    def near(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[:, None, :2] - positions[None], axis=-1).min(1) < 35

    static = near(world.static.vertices[world.static.faces[:, 0]])
    found = set(np.unique(CATEGORY_CLASS[world.static.category[static]]))
    for actor in world.movers:
        if near(actor.pose(world.ground, 1.0)[None, :3, 3])[0]:
            found.add(int(CATEGORY_CLASS[category_index(actor.category)]))
    return {CLASSES[i] for i in found}


def test_six_scenes_hold_every_class_near_the_path(worlds: list[World]) -> None:
    found = [near_classes(world) for world in worlds]
    assert set().union(*found) == set(CLASSES)
    for name in RARE:
        assert sum(name in classes for classes in found) >= 2, name


def test_rare_classes_are_in_two_of_three_scenes() -> None:
    for start in range(5):
        for name in RARE:
            assert sum(name in rare_classes(start + i) for i in range(3)) == 2


def test_worlds_are_reproducible_and_differ() -> None:
    first, again, other = (build_world(1, i, 2) for i in (0, 0, 1))
    np.testing.assert_array_equal(first.static.vertices, again.static.vertices)
    np.testing.assert_array_equal(first.static.colour, again.static.colour)
    assert first.static.vertices.shape != other.static.vertices.shape


def test_ego_drives_forward_and_stays_on_the_road(worlds: list[World]) -> None:
    times = np.arange(0, 2.5, 0.1)
    for world in worlds:
        s, d = world.ego.at(times)
        speed = np.diff(s) / 0.1
        assert (speed >= 0).all()
        assert (speed <= 10.5).all()
        assert (world.ground.category_at(s, d) == category_index("flat.driveable_surface")).all()


def test_movers_do_not_run_into_the_ego(worlds: list[World]) -> None:
    for world in worlds:
        for time in np.arange(0, 2.5, 0.25):
            s, d = world.ego.at(time)
            for actor in world.actors:
                motion = actor.motion
                gap_s = abs(motion.s + motion.vs * time - s)
                gap_d = abs(motion.d + motion.vd * time - d)
                assert gap_s > 2.0 or gap_d > 0.9, actor.category


def test_everything_lies_within_the_map(worlds: list[World]) -> None:
    for world in worlds:
        low, high = world.static.bounds()
        assert (low[:2] > 0).all()
        assert (high[:2] < world.extent).all()


def test_unknown_category_is_named() -> None:
    assert len(CATEGORIES) == 32
    with pytest.raises(ValueError, match=r"vehicle\.tank"):
        category_index("vehicle.tank")
