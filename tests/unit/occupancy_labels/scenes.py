"""Scenes worked by hand: a LiDAR that stands still or drives, walls, and boxes that move."""

import numpy as np

from minkocc.occupancy_labels.scene import Box, Camera, Keyframe, Sweep
from minkocc.structures.taxonomy import class_id
from minkocc.structures.voxel_grid import OCC3D_GRID

CAR, MANMADE, ROAD = (class_id(name) for name in ("car", "manmade", "driveable_surface"))
MOUNT = np.eye(4)
MOUNT[2, 3] = 1.8


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    matrix[:3, 3] = x, y, z
    return matrix


def sheet(x, y, z, step=0.1):
    """Points all over a box's extent; an axis of one number is flat."""
    axes = [
        np.arange(*a, step) + step / 2 if isinstance(a, tuple) else np.array([a]) for a in (x, y, z)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)


def seen(points, ego2world, time, kind=None):
    """A sweep that met these world points."""
    world2lidar = np.linalg.inv(ego2world @ MOUNT)
    local = points @ world2lidar[:3, :3].T + world2lidar[:3, 3]
    classes = None if kind is None else np.broadcast_to(np.uint8(kind), len(points)).copy()
    return Sweep(local, MOUNT, ego2world, time, classes)


def car(track, x, y, yaw=0.0):
    return Box(track, CAR, pose(x, y, 0.8, yaw), (4.0, 2.0, 1.6))


def ahead(ego2world):
    """A camera that looks ahead."""
    cam2ego = np.eye(4)
    cam2ego[:3, :3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]]
    cam2ego[:3, 3] = 1.0, 0.0, 1.5
    cam2img = np.array([[400.0, 0, 400], [0, 400, 225], [0, 0, 1]])
    return Camera(cam2img, ego2world @ cam2ego, (800, 450))


def keyframe(time, sweeps, boxes=(), ego2world=None, cameras=()):
    return Keyframe(
        f"t{time}", time, pose() if ego2world is None else ego2world, sweeps, boxes, cameras
    )


def at(x, y, z):
    return tuple(OCC3D_GRID.to_index(np.array([x, y, z])))
