"""The ego vehicle's sensors: mounts of the real nuScenes cars, HDL-32E, trigger times."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minkocc.structures.taxonomy import CAMERAS

LIDAR = "LIDAR_TOP"
NATIVE_SIZE = (1600, 900)
"""Width and height in pixels that the intrinsics below belong to."""

Quaternion = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mount:
    """Where a sensor sits.

    Args:
        translation: sensor origin in the ego frame, metres.
        rotation: sensor-to-ego quaternion (w, x, y, z).
        focal: focal length in native pixels, 0 for the LiDAR.
        centre: principal point in native pixels.
        delay: of the trigger to the LiDAR keyframe, seconds.
    """

    translation: tuple[float, float, float]
    rotation: Quaternion
    focal: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)
    delay: float = 0.0

    def sensor2ego(self) -> npt.NDArray[np.float64]:
        """4x4 matrix from the sensor's frame to the ego frame."""
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_matrix(self.rotation)
        matrix[:3, 3] = self.translation
        return matrix

    def intrinsics(self, size: tuple[int, int]) -> npt.NDArray[np.float64]:
        """3x3 camera matrix for images of ``size`` (width, height)."""
        sx, sy = size[0] / NATIVE_SIZE[0], size[1] / NATIVE_SIZE[1]
        cx, cy = self.centre
        return np.array(
            [[self.focal * sx, 0, cx * sx], [0, self.focal * sy, cy * sy], [0, 0, 1]], np.float64
        )


def rotation_matrix(quaternion: Quaternion) -> npt.NDArray[np.float64]:
    """3x3 rotation of a quaternion (w, x, y, z), normalised first."""
    w, x, y, z = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@dataclass(frozen=True)
class Rig:
    """The sensors of one vehicle.

    Args:
        vehicle: its name in the logs.
        left_traffic: whether it drives where one keeps left.
        mounts: by nuScenes channel.
    """

    vehicle: str
    left_traffic: bool
    mounts: dict[str, Mount]

    @property
    def lidar(self) -> Mount:
        """The LiDAR's mount."""
        return self.mounts[LIDAR]


# The calibration of the two nuScenes vehicles: one drives in Singapore, the other in Boston.
_SINGAPORE = {
    LIDAR: Mount(
        (0.943713, 0.0, 1.84023),
        (0.7077955119163518, -0.006492242056004365, 0.010646214713995808, -0.7063073142877817),
    ),
    "CAM_FRONT": Mount(
        (1.70079118954, 0.0159456324149, 1.51095763913),
        (0.4998015430569128, -0.5030316162024876, 0.4997798114386805, -0.49737083824542755),
        1266.417203046554,
        (816.2670197447984, 491.50706579294757),
        -0.0355,
    ),
    "CAM_FRONT_RIGHT": Mount(
        (1.5508477543, -0.493404796419, 1.49574800619),
        (0.2060347966337182, -0.2026940577919598, 0.6824507824531167, -0.6713610884174485),
        1260.8474446004698,
        (807.968244525554, 495.3344268742088),
        -0.0276,
    ),
    "CAM_FRONT_LEFT": Mount(
        (1.52387798135, 0.494631336551, 1.50932822144),
        (0.6757265034669446, -0.6736266522251881, 0.21214015046209478, -0.21122827103904068),
        1272.5979470598488,
        (826.6154927353808, 479.75165386361925),
        -0.0431,
    ),
    "CAM_BACK": Mount(
        (0.0283260309358, 0.00345136761476, 1.57910346144),
        (0.5037872666382278, -0.49740249788611096, -0.4941850223835201, 0.5045496097725578),
        809.2209905677063,
        (829.2196003259838, 481.77842384512485),
        -0.0104,
    ),
    "CAM_BACK_LEFT": Mount(
        (1.03569100218, 0.484795032713, 1.59097014818),
        (0.6924185592174665, -0.7031619420114925, -0.11648342771943819, 0.11203317912370753),
        1256.7414812095406,
        (792.1125740759628, 492.7757465151356),
        -0.0005,
    ),
    "CAM_BACK_RIGHT": Mount(
        (1.0148780988, -0.480568219723, 1.56239545128),
        (0.12280980120078765, -0.132400842670559, -0.7004305821388234, 0.690496031265798),
        1259.5137405846733,
        (807.2529053838625, 501.19579884916527),
        -0.0201,
    ),
}
_BOSTON = {
    LIDAR: Mount(
        (0.985793, 0.0, 1.84019),
        (0.706749235646644, -0.015300993788500868, 0.01739745181256607, -0.7070846669051719),
    ),
    "CAM_FRONT": Mount(
        (1.72200568478, 0.00475453292289, 1.49491291905),
        (0.5077241387638071, -0.4973392230703816, 0.49837167536166627, -0.4964832014373754),
        1252.8131021185304,
        (826.588114781398, 469.9846626224581),
        -0.0355,
    ),
    "CAM_FRONT_RIGHT": Mount(
        (1.58082565783, -0.499078711449, 1.51749368405),
        (0.20335173766558642, -0.19146333228946724, 0.6785710044972951, -0.6793609166212989),
        1256.7485116440405,
        (817.7887570959712, 451.9541780095127),
        -0.0276,
    ),
    "CAM_FRONT_LEFT": Mount(
        (1.5752559464, 0.500519383135, 1.50696032589),
        (0.6812088525125634, -0.6687507165046241, 0.2101702448905517, -0.21108161122114324),
        1257.8625342125129,
        (827.2410631095686, 450.915498205774),
        -0.0431,
    ),
    "CAM_BACK": Mount(
        (0.05524611077, 0.0107882366898, 1.56794286957),
        (0.5067997344989889, -0.4977567019405021, -0.4987849934090844, 0.496594225837321),
        796.8910634503094,
        (857.7774326863696, 476.8848988407415),
        -0.0104,
    ),
    "CAM_BACK_LEFT": Mount(
        (1.04852047718, 0.483058131052, 1.56210154484),
        (0.7048620297871717, -0.6907306801461466, -0.11209091960167808, 0.11617345743327073),
        1254.9860565800168,
        (829.5769333630991, 467.1680561863987),
        -0.0005,
    ),
    "CAM_BACK_RIGHT": Mount(
        (1.05945173053, -0.46720294852, 1.55050857555),
        (0.13819187705364147, -0.13796718183628456, -0.6893329941542625, 0.697630335509333),
        1249.9629280788233,
        (825.3768045375984, 462.54816385708756),
        -0.0201,
    ),
}
RIGS: tuple[Rig, ...] = (Rig("n015", True, _SINGAPORE), Rig("n008", False, _BOSTON))
"""The rigs that scenes take in turn."""

SENSORS: tuple[str, ...] = (LIDAR, *CAMERAS)
"""Every channel of the rig, LiDAR first."""

SWEEP_INTERVAL = 0.05
"""Seconds from one turn of the LiDAR to the next."""
SWEEPS_PER_KEYFRAME = 10
BEAM_ELEVATIONS = np.radians(np.linspace(-30.67, 10.67, 32))
"""Elevation of each ring of the HDL-32E, radians, lowest first."""
AZIMUTH_STEPS = 1084
LIDAR_RANGE = 80.0
"""Metres beyond which the LiDAR returns nothing."""
RANGE_NOISE = 0.02
"""Standard deviation of a measured range, metres."""


@functools.lru_cache(maxsize=1)
def lidar_directions() -> npt.NDArray[np.float64]:
    """Unit directions of one turn in the LiDAR frame, ``(AZIMUTH_STEPS * 32, 3)``, ring fastest."""
    azimuth = -np.arange(AZIMUTH_STEPS)[:, None] * (2 * np.pi / AZIMUTH_STEPS)
    flat = np.cos(BEAM_ELEVATIONS)[None]
    up = np.broadcast_to(np.sin(BEAM_ELEVATIONS)[None], (AZIMUTH_STEPS, len(BEAM_ELEVATIONS)))
    rays: npt.NDArray[np.float64] = np.stack(
        [np.cos(azimuth) * flat, np.sin(azimuth) * flat, up], -1
    )
    rays = rays.reshape(-1, 3)
    rays.flags.writeable = False  # every caller shares it
    return rays


@functools.lru_cache(maxsize=32)
def camera_directions(mount: Mount, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Directions with unit depth through pixel centres, ``(rows * columns, 3)``, camera frame.

    Args:
        mount: of the camera.
        size: image width and height in pixels.
    """
    intrinsics = mount.intrinsics(size)
    u, v = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
    grid: npt.NDArray[np.float64] = np.stack(np.broadcast_arrays(x[None, :], y[:, None], 1.0), -1)
    grid = grid.reshape(-1, 3)
    grid.flags.writeable = False
    return grid
