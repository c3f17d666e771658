"""How far LiDAR, boxes, voxel labels and images of one keyframe tell the same story.

Everything is measured on what a user of the data set gets: the files of a nuScenes root, read by
nuscenes-devkit. Every figure is an integer histogram ``(17, 2)``: right and total by Occ3D class,
so that keyframes, scenes and processes add up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.data_classes import Box
from nuscenes.utils.geometry_utils import points_in_box, transform_matrix
from PIL import Image
from pyquaternion import Quaternion

from minkocc.ops.first_hit import first_hits, voxel_rays
from minkocc.structures.taxonomy import (
    CAMERAS,
    CATEGORY_TO_ID,
    FREE,
    NUM_CLASSES,
    UNLABELLED_2D,
    class_id,
    to_2d,
)
from minkocc.structures.voxel_grid import OCC3D_GRID
from minkocc.synthetic.categories import CATEGORIES, CATEGORY_CLASS
from minkocc.synthetic.rig import LIDAR

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Agreement = dict[str, Counts]
"""Figures by name, each ``(17, 2)``: right and total by Occ3D class."""

FAR = 20.0
"""Metres from the camera where ``labels_in_images`` parts near from far."""
_PIXEL_STEP = 8
_MIN_DEPTH = 0.5  # metres; a voxel that reaches nearer fills the view and proves nothing
_FIRST_STATIC = class_id("driveable_surface")
_ANNOTATED_FAMILIES = ("human.", "movable_object.", "vehicle.")
_MOVING = frozenset({"vehicle.moving", "pedestrian.moving", "cycle.with_rider"})
_STEPS = np.array(list(product((-1, 0, 1), repeat=3)))  # (27, 3)
_CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))  # (8, 3), of a voxel, in voxels


def _is_annotated(category: str) -> bool:
    """Whether boxes are drawn around things of this category."""
    return category.startswith(_ANNOTATED_FAMILIES) and category != "vehicle.ego"


# By nuScenes-lidarseg index. The ego vehicle and noise are in no label, though their Occ3D id is 0.
_ANNOTATED = np.array([_is_annotated(name) for name in CATEGORIES])
_LABELLED = np.array([name not in ("noise", "vehicle.ego") for name in CATEGORIES])


@dataclass(frozen=True)
class BoxRecord:
    """One annotation.

    Args:
        box: in the LiDAR frame; its name is the category.
        num_lidar_pts: points on the object, as the table says.
        moves: whether its attribute says that it is under way.
    """

    box: Box
    num_lidar_pts: int
    moves: bool


@dataclass(frozen=True)
class View:
    """One camera of a keyframe.

    Args:
        channel: its name.
        ids: ``(H, W)`` uint8 2D ids of the pseudo-label.
        cam2img: 3x3 camera matrix.
        ego2cam: 4x4 from the keyframe's ego frame, through the camera's own ego pose.
    """

    channel: str
    ids: npt.NDArray[np.uint8]
    cam2img: FloatArray
    ego2cam: FloatArray


@dataclass(frozen=True)
class ReadKeyframe:
    """What the files say about one moment.

    Args:
        points: ``(N, 3)`` metres, LiDAR frame.
        category: ``(N,)`` uint8 nuScenes-lidarseg index.
        lidar2ego: 4x4.
        boxes: of the keyframe.
        semantics: ``(200, 200, 16)`` uint8 Occ3D ids.
        mask_camera: ``(200, 200, 16)`` bool.
        views: the cameras, none where pseudo-labels are not the truth.
    """

    points: FloatArray
    category: npt.NDArray[np.uint8]
    lidar2ego: FloatArray
    boxes: tuple[BoxRecord, ...]
    semantics: npt.NDArray[np.uint8]
    mask_camera: BoolArray
    views: tuple[View, ...]


def read_keyframe(nusc: NuScenes, token: str, with_views: bool) -> ReadKeyframe:
    """Read one keyframe.

    Args:
        nusc: the data set.
        token: of the sample.
        with_views: whether to read the pseudo-labels.

    Raises:
        OSError: a file is missing.
        ValueError: a file is damaged.
    """
    sample, root = nusc.get("sample", token), Path(nusc.dataroot)
    lidar = nusc.get("sample_data", sample["data"][LIDAR])
    points = np.fromfile(root / lidar["filename"], np.float32).reshape(-1, 5)[:, :3]
    path = root / nusc.get("lidarseg", lidar["token"])["filename"]
    category = np.fromfile(path, np.uint8)
    if len(category) != len(points):
        raise ValueError(
            f"{path} has {len(category)} labels for {len(points)} points: write the scene anew"
        )
    scene = nusc.get("scene", sample["scene_token"])["name"]
    with np.load(root / "gts" / scene / token / "labels.npz") as label:
        semantics, mask_camera = label["semantics"], label["mask_camera"] > 0
    ego2global = _pose(nusc.get("ego_pose", lidar["ego_pose_token"]))
    views = [_read_view(nusc, sample["data"][c], ego2global) for c in CAMERAS if with_views]
    return ReadKeyframe(
        points.astype(np.float64),
        category,
        _pose(nusc.get("calibrated_sensor", lidar["calibrated_sensor_token"])),
        _read_boxes(nusc, lidar["token"]),
        semantics,
        mask_camera,
        tuple(views),
    )


def measure(keyframe: ReadKeyframe) -> Agreement:
    """All figures of one keyframe; those of images only where it has views."""
    found = points_in_boxes(keyframe) | points_in_voxels(keyframe)
    if keyframe.views:
        figures = [labels_in_images(keyframe, view) for view in keyframe.views]
        found |= merge(figures)
    return found


def merge(figures: Iterable[Agreement]) -> Agreement:
    """The sums by name."""
    total: Agreement = {}
    for one in figures:
        for name, counts in one.items():
            total[name] = total.get(name, 0) + counts
    return total


def share(counts: Counts) -> float:
    """Right over total; 1 where there is nothing to be wrong about."""
    right, total = counts.sum(0)
    return float(right / total) if total else 1.0


def points_in_boxes(keyframe: ReadKeyframe) -> Agreement:
    """Whether points and boxes of objects agree.

    Returns:
        ``points_in_boxes``: of the points of a category that is annotated (people, movable objects
        and vehicles but the ego vehicle), those inside a box of their category;
        ``boxes_count_points``: of the boxes, those whose ``num_lidar_pts`` is the number of points
        of their category in them; ``boxes_count_points/nearly``: the same within 5 % or one point.
    """
    object_points = _ANNOTATED[keyframe.category]
    inside = np.zeros(len(keyframe.points), np.bool_)
    classes, exact, nearly = [], [], []
    for record in keyframe.boxes:
        within = _points_of(keyframe, record)
        inside |= within
        gap = abs(int(within.sum()) - record.num_lidar_pts)
        classes.append(CATEGORY_TO_ID[record.box.name])
        exact.append(gap == 0)
        nearly.append(gap <= max(1.0, 0.05 * record.num_lidar_pts))
    category = keyframe.category[object_points]
    kind = np.array(classes, np.int64)
    return {
        "points_in_boxes": _tally(CATEGORY_CLASS[category], inside[object_points]),
        "boxes_count_points": _tally(kind, np.array(exact, np.bool_)),
        "boxes_count_points/nearly": _tally(kind, np.array(nearly, np.bool_)),
    }


def points_in_voxels(keyframe: ReadKeyframe) -> Agreement:
    """Whether points lie in voxels of their class.

    Points outside the grid, of the ego vehicle and of noise do not count.

    Returns:
        ``static_in_voxels``: of the points of ground, buildings and plants (ids 11..16), those
        whose voxel or one of its 26 neighbours has their class, because range noise and the
        majority vote of a voxel move a border by one voxel; ``moving_in_voxels``: the same of
        objects (ids 0..10), and ``moving_in_voxels/under_way`` of those in a box whose attribute
        says that it moves. ``/6`` allows the six neighbours that share a face, ``/exact`` none.
    """
    ego = keyframe.points @ keyframe.lidar2ego[:3, :3].T + keyframe.lidar2ego[:3, 3]
    index = OCC3D_GRID.to_index(ego)
    counted = OCC3D_GRID.contains(index) & _LABELLED[keyframe.category]
    under_way = np.zeros(len(ego), np.bool_)
    for record in keyframe.boxes:
        if record.moves:
            under_way |= _points_of(keyframe, record)
    kind = CATEGORY_CLASS[keyframe.category[counted]]
    same = _same_around(keyframe.semantics, index[counted], kind)
    static, moving = kind >= _FIRST_STATIC, under_way[counted]
    groups = {
        "static_in_voxels": static,
        "moving_in_voxels": ~static,
        "moving_in_voxels/under_way": moving,
    }
    distance = np.abs(_STEPS).sum(1)
    found = {name: _tally(kind[rows], same[:, rows].any(0)) for name, rows in groups.items()}
    for name in ("static_in_voxels", "moving_in_voxels"):
        rows = groups[name]
        for suffix, reach in (("6", 1), ("exact", 0)):
            near = same[distance <= reach][:, rows].any(0)
            found[f"{name}/{suffix}"] = _tally(kind[rows], near)
    return found


def labels_in_images(keyframe: ReadKeyframe, view: View) -> Agreement:
    """Whether a camera's semantic image shows the voxel that its pixels look at.

    The ray through the centre of every eighth pixel, both ways, runs to the first occupied voxel.
    A ray counts if the camera sees that voxel by ``mask_camera`` and the pixel is labelled. It is
    right if the voxel's class stands anywhere in the rectangle that the voxel covers in the image:
    silhouettes of voxels are blocky, and the surface may cross the voxel anywhere.

    Returns:
        ``labels_in_images``, by the voxel's class; ``/near`` and ``/far`` of voxels on either side
        of ``FAR`` metres, and ``/exact``: of all rays, those whose own pixel has the class.
    """
    pixels = _pixel_grid(view.ids.shape)
    cam2ego = np.linalg.inv(view.ego2cam)
    rays = np.column_stack([pixels + 0.5, np.ones(len(pixels))])
    rays = rays @ np.linalg.inv(view.cam2img).T @ cam2ego[:3, :3].T
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    directions = rays.astype(np.float32)
    hit, _ = first_hits(
        voxel_rays(OCC3D_GRID, cam2ego[None, :3, 3], directions), keyframe.semantics != FREE
    )
    kind = keyframe.semantics.reshape(-1)[hit]
    pixel_ids = view.ids[pixels[:, 1], pixels[:, 0]]
    centre = OCC3D_GRID.to_centre(np.stack(np.unravel_index(hit, OCC3D_GRID.shape), 1))
    windows, depth = _footprints(view, centre)
    counted = keyframe.mask_camera.reshape(-1)[hit] & (kind != FREE) & (depth > _MIN_DEPTH)
    counted &= pixel_ids != UNLABELLED_2D
    kind, windows, wanted = kind[counted], windows[counted], to_2d(kind[counted])
    shown = _appears(view.ids, wanted, windows)
    far = np.linalg.norm(centre[counted] - cam2ego[:3, 3], axis=1) > FAR
    return {
        "labels_in_images": _tally(kind, shown),
        "labels_in_images/near": _tally(kind[~far], shown[~far]),
        "labels_in_images/far": _tally(kind[far], shown[far]),
        "labels_in_images/exact": _tally(kind, pixel_ids[counted] == wanted),
    }


def _read_view(nusc: NuScenes, token: str, ego2global: FloatArray) -> View:
    data = nusc.get("sample_data", token)
    calibrated = nusc.get("calibrated_sensor", data["calibrated_sensor_token"])
    cam_ego = nusc.get("ego_pose", data["ego_pose_token"])
    channel, stem = data["channel"], Path(data["filename"]).stem
    path = Path(nusc.dataroot) / "pseudo_labels" / "labels" / channel / f"{stem}.png"
    with Image.open(path) as image:
        ids = np.asarray(image)
    global2cam = np.linalg.inv(_pose(cam_ego) @ _pose(calibrated))
    return View(channel, ids, np.array(calibrated["camera_intrinsic"]), global2cam @ ego2global)


def _read_boxes(nusc: NuScenes, lidar: str) -> tuple[BoxRecord, ...]:
    _, boxes, _ = nusc.get_sample_data(lidar)
    records = []
    for box in boxes:
        annotation = nusc.get("sample_annotation", box.token)
        names = {nusc.get("attribute", t)["name"] for t in annotation["attribute_tokens"]}
        records.append(BoxRecord(box, annotation["num_lidar_pts"], bool(names & _MOVING)))
    return tuple(records)


def _pose(record: dict[str, Any]) -> FloatArray:
    """4x4 matrix of a record's rotation and translation."""
    return np.asarray(transform_matrix(record["translation"], Quaternion(record["rotation"])))


def _points_of(keyframe: ReadKeyframe, record: BoxRecord) -> BoolArray:
    """Which points lie in the box and are of its category, ``(N,)``."""
    same = keyframe.category == CATEGORIES.index(record.box.name)
    inside = np.zeros(len(same), np.bool_)
    inside[same] = points_in_box(record.box, keyframe.points[same].T)
    return inside


def _same_around(
    semantics: npt.NDArray[np.uint8], index: npt.NDArray[np.int64], kind: npt.NDArray[np.uint8]
) -> BoolArray:
    """Whether the voxel at each of ``_STEPS`` from ``index`` is of ``kind``, ``(27, N)``."""
    padded = np.pad(semantics, 1, constant_values=FREE)
    return np.stack([padded[tuple((index + 1 + step).T)] == kind for step in _STEPS])


def _pixel_grid(shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """Every eighth pixel across and down, ``(N, 2)`` columns and rows."""
    first = _PIXEL_STEP // 2
    rows, columns = (np.arange(first, size, _PIXEL_STEP) for size in shape)
    return np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)


def _footprints(view: View, centre: FloatArray) -> tuple[npt.NDArray[np.int64], FloatArray]:
    """The rectangle of pixels that voxels cover, and the depth of their nearest corner.

    Args:
        view: the camera.
        centre: ``(N, 3)`` of the voxels, metres, ego frame.

    Returns:
        ``(N, 4)`` first and last-plus-one column, first and last-plus-one row, cut at the image's
        edges, and ``(N,)`` metres.
    """
    corners = centre[:, None] + _CORNERS * OCC3D_GRID.voxel_size
    local = corners @ view.ego2cam[:3, :3].T + view.ego2cam[:3, 3]  # (N, 8, 3)
    depth = local[..., 2]
    uv = (local @ view.cam2img.T)[..., :2] / np.maximum(depth, 1e-3)[..., None]
    height, width = view.ids.shape
    low = np.clip(np.floor(uv.min(1)), 0, (width, height))
    high = np.clip(np.ceil(uv.max(1)), 0, (width, height))
    windows = np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1).astype(np.int64)
    return windows, depth.min(1)


def _appears(
    ids: npt.NDArray[np.uint8], wanted: npt.NDArray[np.uint8], windows: npt.NDArray[np.int64]
) -> BoolArray:
    """Whether the id ``wanted`` stands in each window of ``_footprints``, ``(N,)``."""
    found = np.zeros(len(wanted), np.bool_)
    for kind in np.unique(wanted):
        rows = wanted == kind
        left, right, top, bottom = windows[rows].T
        area = cv2.integral((ids == kind).astype(np.uint8))  # a summed-area table
        inside = area[bottom, right] - area[top, right] - area[bottom, left] + area[top, left]
        found[rows] = inside > 0
    return found


def _tally(kind: npt.NDArray[Any], right: BoolArray) -> Counts:
    """Right and total by class, ``(17, 2)``."""
    total = np.bincount(kind, minlength=NUM_CLASSES)
    return np.stack([np.bincount(kind[right], minlength=NUM_CLASSES), total], 1).astype(np.int64)
