"""A world small enough to work out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np

from minkocc.synthetic.meshes.mesh import Paint, box, concatenate
from minkocc.synthetic.town.world import World, build_world

WALL = 12.2
"""Metres ahead of the ego vehicle, in the middle of a voxel."""


def walled_world(reflectance: float = 0.25) -> World:
    """A flat world whose only objects are the ground and a wall across the road."""
    world = build_world(0, 0, 1)
    still = dataclasses.replace(world.ground.road, waves=np.zeros((1, 4)))
    ground = dataclasses.replace(world.ground, road=still)
    pose = dataclasses.replace(world, ground=ground).ego_pose(0.0)
    road = Paint("flat.driveable_surface", (0.3, 0.3, 0.3))
    bricks = Paint("static.manmade", (0.5, 0.5, 0.5), reflectance=reflectance)
    floor = box((0, 0, -0.05), (150, 150, 0.1), road)
    wall = box((WALL + 0.5, 0, 2), (1.0, 30, 4), bricks)
    static = concatenate([floor, wall]).transformed(pose)
    return dataclasses.replace(world, ground=ground, actors=(), static=static)
