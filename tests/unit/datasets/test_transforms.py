import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image

from minkocc.datasets.transforms.augment import (
    AugmentImages,
    AugmentScene,
    DropVoxels,
    resample_voxels,
    voxel_sources,
)
from minkocc.datasets.transforms.formatting import img2raw
from minkocc.datasets.transforms.loading import (
    InputError,
    LoadImages,
    LoadPoints,
    read_image,
    read_lidar,
    read_sweep,
    refine,
)
from minkocc.datasets.transforms.points_to_ego import PointsToEgo
from minkocc.datasets.transforms.weak_targets import LoadWeakOccupancy
from minkocc.files.fingerprint import _digest
from minkocc.files.pseudo_label_meta import PseudoLabelMetaError, make_meta, write_meta
from minkocc.files.rig import NUSCENES_BOX, Mount
from minkocc.ops.point_sampling import in_picture
from minkocc.ops.ray_cast import mark_rays, ray_hits_and_passes
from minkocc.registry import TRANSFORMS
from minkocc.structures.errors import UserError
from minkocc.structures.phase import Phase
from minkocc.structures.taxonomy import CAMERAS
from minkocc.structures.voxel_grid import VoxelGrid
from tests.unit.datasets.linked_files import replace

GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.4), 0.4)
RANGE = list(GRID.point_cloud_range)


def write_points(path, points):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.asarray(points, np.float32).tofile(path)


def pose(x=0.0, y=0.0, z=0.0, yaw=0.0):
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    matrix[:3, 3] = x, y, z
    return matrix


# LiDAR


@pytest.mark.parametrize("cut", [1, 4, 7])
def test_truncated_lidar_is_named(tmp_path, cut):
    path = tmp_path / "cut.bin"
    write_points(path, np.ones((4, 5)))
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(InputError, match=rf"{path} is truncated: {80 - cut} bytes"):
        read_lidar(path)


def test_missing_lidar_is_named(tmp_path):
    with pytest.raises(InputError, match=rf"{tmp_path}/none.bin cannot be read"):
        read_lidar(tmp_path / "none.bin")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_lidar_with_values_that_are_not_finite_is_named(tmp_path, value):
    points = np.ones((4, 5))
    points[1:3, 2] = value
    write_points(tmp_path / "nan.bin", points)
    with pytest.raises(InputError, match=r"nan\.bin holds 2 points"):
        read_lidar(tmp_path / "nan.bin")


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        (0, 3e38, r"a point 3e\+38 m away, expected metres, at most 10000"),
        (2, -20_000.0, "a point 20000 m away"),
        (3, 3e38, r"intensities from 1 to 3e\+38, expected 0 to 255"),
        (3, -1.0, "intensities from -1 to 1, expected 0 to 255"),
        (3, 256.0, "intensities from 1 to 256, expected 0 to 255"),
    ],
)
def test_lidar_in_other_units_is_named(tmp_path, column, value, words):
    points = np.ones((4, 5))
    points[2, column] = value
    write_points(tmp_path / "far.bin", points)
    with pytest.raises(InputError, match=rf"far\.bin holds {words}"):
        read_lidar(tmp_path / "far.bin")


BAD_SETTINGS = {
    "ratio 5": (DropVoxels, {"ratio": 5}, r"DropVoxels\.ratio 5: expected a number from 0 to 1"),
    "ratio -0.1": (DropVoxels, {"ratio": -0.1}, r"DropVoxels\.ratio -0\.1"),
    "ratio NaN": (DropVoxels, {"ratio": float("nan")}, r"DropVoxels\.ratio nan"),
    "ratio True": (DropVoxels, {"ratio": True}, r"DropVoxels\.ratio True"),
    "flip 7": (AugmentScene, {"flip": 7}, r"AugmentScene\.flip 7: expected a number from 0 to 1"),
    "flip -1": (AugmentScene, {"flip": -1}, r"AugmentScene\.flip -1"),
    "yaw inf": (AugmentScene, {"yaw": float("inf")}, r"AugmentScene\.yaw inf"),
    "yaw in degrees": (AugmentScene, {"yaw": 22.5}, r"AugmentScene\.yaw 22\.5"),
    "shift 1.5": (AugmentImages, {"shift": 1.5}, r"AugmentImages\.shift 1\.5"),
    "colour 2": (AugmentImages, {"colour": 2}, r"AugmentImages\.colour 2"),
    "scale 0": (AugmentImages, {"scale": (0.0, 1.0)}, r"AugmentImages\.scale 0\.0"),
    "scale backwards": (AugmentImages, {"scale": (1.1, 0.9)}, r"AugmentImages\.scale\[1\] 0\.9"),
    "rotate NaN": (AugmentImages, {"rotate": float("nan")}, r"AugmentImages\.rotate nan"),
    "100 sweeps": (LoadPoints, {"sweeps": 100}, r"LoadPoints\.sweeps 100: .* from 0 to 10"),
    "-1 sweeps": (LoadPoints, {"sweeps": -1}, r"LoadPoints\.sweeps -1"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_settings_that_make_no_sense_are_refused(case):
    step, values, words = BAD_SETTINGS[case]
    needed = {
        AugmentScene: {"point_cloud_range": RANGE, "voxel_size": 0.4},
        AugmentImages: {"image_size": (54, 96)},
    }
    with pytest.raises(UserError, match=words):
        step(**needed.get(step, {}), **values)


def two_sweeps(root, current, earlier, sweep2ego, mount):
    write_points(root / "now.bin", current)
    write_points(root / "then.bin", earlier)
    return {
        "token": "t",
        "data_root": str(root),
        "lidar_points": {"lidar_path": "now.bin", "lidar2ego": mount, "timestamp": 10.0},
        "lidar_sweeps": [
            {"lidar_path": "then.bin", "timestamp": 9.95, "sweep2ego": sweep2ego},
            {"lidar_path": "never.bin", "timestamp": 9.9, "sweep2ego": sweep2ego},
        ],
    }


def test_sweeps_meet_in_the_current_ego_frame(tmp_path):
    # The vehicle drove 3 m along x and turned left by 90 degrees; a post stands still.
    mount = pose(1.0, 0.0, 1.8, yaw=-np.pi / 2)
    then, now = pose(100.0, 50.0), pose(103.0, 50.0, yaw=np.pi / 2)
    post = np.array([110.0, 57.0, 0.7, 1.0])
    seen = [np.linalg.inv(ego2global @ mount) @ post for ego2global in (now, then)]
    clouds = [[[*p[:3], 51.0, 3.0]] for p in seen]
    sweep2ego = np.linalg.inv(now) @ then @ mount
    results = two_sweeps(tmp_path, *clouds, sweep2ego, mount)
    points = LoadPoints(sweeps=1)(results)["points"]
    assert points.dtype == np.float32
    # From (103, 50) facing +y: 7 m ahead, 7 m to the right.
    expected = [[7.0, -7.0, 0.7, 0.2, 0.0], [7.0, -7.0, 0.7, 0.2, 0.05]]
    np.testing.assert_allclose(points, expected, atol=1e-5)


def test_returns_on_the_vehicle_are_removed_wherever_it_stood(tmp_path):
    mount = pose(1.0, 0.0, 1.8)
    roof, street = [0.5, 0.5, 0.0, 0.0, 0.0], [9.0, 0.0, -1.8, 0.0, 0.0]
    # Where the vehicle stands now the earlier sweep hit something real, 20 m ahead of it.
    ahead = [20.0, 0.5, -1.0, 0.0, 0.0]
    results = two_sweeps(tmp_path, [roof, street], [roof, ahead], pose(-20.0) @ mount, mount)
    points = LoadPoints(sweeps=1)(results)["points"]
    np.testing.assert_allclose(points[:, :3], [[10.0, 0.0, 0.0], [1.0, 0.5, 0.8]], atol=1e-5)


def test_no_point_off_the_vehicle_is_an_error(tmp_path):
    roof = [[0.0, 0.0, 0.0, 0.0, 0.0]]
    results = two_sweeps(tmp_path, roof, roof, pose(z=1.8), pose(z=1.8))
    for phase in ({}, {"phase": Phase.WEAK}):
        with pytest.raises(InputError, match="hold no point off the vehicle"):
            LoadPoints(sweeps=1)({**results, **phase})


def test_a_tested_frame_may_be_without_points(tmp_path):
    roof = [[0.0, 0.0, 0.0, 0.0, 0.0]]
    results = two_sweeps(tmp_path, roof, roof, pose(z=1.8), pose(z=1.8))
    points = LoadPoints(sweeps=1)({**results, "phase": None})["points"]
    assert points.shape == (0, 5)
    assert points.dtype == np.float32


# Points of another loader


def from_mmdet3d(frame, **more):
    init_default_scope("minkocc")
    path = str(Path(frame["data_root"]) / frame["lidar_points"]["lidar_path"])
    frame = {**frame, "lidar_points": {**frame["lidar_points"], "lidar_path": path}}
    loader = {"type": "mmdet3d.LoadPointsFromFile", "coord_type": "LIDAR", "load_dim": 5}
    return PointsToEgo()(TRANSFORMS.build({**loader, "use_dim": 4, **more})(frame))["points"]


def test_mmdet3ds_loader_gives_the_same_points(frame):
    own = LoadPoints(sweeps=0)({**frame})["points"]
    assert len(own) > 1000
    np.testing.assert_array_equal(from_mmdet3d(frame), own)
    np.testing.assert_array_equal(from_mmdet3d(frame, use_dim=5), own)


def test_points_without_intensity_are_refused(frame):
    with pytest.raises(InputError, match=r"\(\d+, 3\), expected \(P, 4\).*use_dim=4"):
        from_mmdet3d(frame, use_dim=3)


def test_what_another_loader_read_is_checked_as_our_own(frame):
    points = np.ones((3, 4), np.float32)
    points[1, 2] = np.nan
    with pytest.raises(InputError, match="1 points with NaN"):
        PointsToEgo()({**frame, "points": points})
    with pytest.raises(InputError, match="intensities from 1 to 300"):
        PointsToEgo()({**frame, "points": np.array([[1, 1, 1, 1], [1, 1, 1, 300.0]])})


def test_no_point_is_left_of_another_loader(frame):
    none = np.empty((0, 4), np.float32)
    assert PointsToEgo()({**frame, "points": none})["points"].shape == (0, 5)
    with pytest.raises(InputError, match="hold no point off the vehicle"):
        PointsToEgo()({**frame, "phase": Phase.WARM, "points": none})


# Images and pseudo-labels


def test_images_and_matrices(frame):
    results = LoadImages()(dict(frame))
    assert [image.size for image in results["imgs"]] == [(192, 108)] * 6
    assert results["raw_size"] == (108, 192)
    assert results["cam2img"].shape == results["ego2cam"].shape == (6, 4, 4)
    assert (results["cam2img"][:, 3] == [0, 0, 0, 1]).all()


def image_path(frame, camera="CAM_BACK"):
    return Path(frame["data_root"]) / frame["images"][camera]["img_path"]


def test_truncated_image_is_named(frame):
    path = replace(image_path(frame))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"{path} cannot be read"):
        LoadImages()(frame)


def test_file_that_is_no_image_is_named(frame):
    path = replace(image_path(frame))
    path.write_bytes(b"not a JPEG")
    with pytest.raises(InputError, match=rf"{path} cannot be read"):
        LoadImages()(frame)


def test_missing_image_is_named(frame):
    path = image_path(frame)
    path.unlink()
    with pytest.raises(InputError, match=rf"{path} does not exist"):
        LoadImages()(frame)


def test_image_of_another_size_is_named(frame):
    path = replace(image_path(frame))
    Image.new("RGB", (96, 54)).save(path)
    with pytest.raises(InputError, match=rf"{path} is 96x54, its info says 192x108"):
        LoadImages()(frame)


def turned(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


IMAGES = {
    "16 bits": (
        lambda path: Image.fromarray(np.full((108, 192), 700, np.uint16)).save(path, "PNG"),
        "pixels of mode I;16, which would be cut off at 255: convert it to 8 bits",
    ),
    "32 bits": (
        lambda path: Image.fromarray(np.full((108, 192), 700, np.int32)).save(path, "TIFF"),
        "pixels of mode I, which would be cut off at 255",
    ),
    "floats": (
        lambda path: Image.fromarray(np.ones((108, 192), np.float32)).save(path, "TIFF"),
        "pixels of mode F, which would be cut off at 255",
    ),
    "black and white": (
        lambda path: Image.new("1", (192, 108)).save(path, "PNG"),
        "pixels of mode 1,",
    ),
    **{
        f"EXIF orientation {orientation}": (
            lambda path, orientation=orientation: Image.new("RGB", (192, 108)).save(
                path, "JPEG", exif=turned(orientation)
            ),
            rf"EXIF orientation {orientation}\).*store its pixels as they are meant",
        )
        for orientation in (3, 6, 8)
    },
    "a bomb": (
        lambda path: Image.new("1", (9000, 9000)).save(path, "PNG"),
        "is 9000x9000, its info says 192x108",
    ),
}


@pytest.mark.parametrize("case", IMAGES)
def test_images_that_would_not_be_seen_as_they_are_meant_are_refused(frame, case, monkeypatch):
    save, words = IMAGES[case]
    path = image_path(frame)
    path.unlink()
    save(path)
    monkeypatch.setattr(Image.Image, "convert", None)  # nothing is unpacked
    with pytest.raises(InputError, match=f"{path} .*{words}"):
        read_image(path, frame["images"]["CAM_BACK"])


def test_what_pillow_takes_for_a_bomb_is_named(frame, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"cannot be read \(Image size .* exceeds limit"):
        read_image(image_path(frame), frame["images"]["CAM_BACK"])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK"])
def test_images_of_8_bits_of_any_kind_are_read(frame, mode):
    path = image_path(frame)
    path.unlink()
    Image.new("RGB", (192, 108), (102, 102, 102)).convert(mode).save(path, "TIFF", exif=turned(1))
    seen = np.asarray(read_image(path, frame["images"]["CAM_BACK"]))
    assert seen.shape == (108, 192, 3)
    assert np.abs(seen.astype(int) - 102).max() <= 2


def test_refine_repeats_every_voxel():
    coarse = np.arange(8).reshape(2, 2, 2)
    fine = refine(coarse, 3)
    assert fine.shape == (6, 6, 6)
    for index in np.ndindex(6, 6, 6):
        assert fine[index] == coarse[tuple(i // 3 for i in index)]


# Augmentation of images

CAM2IMG = np.eye(4)
CAM2IMG[:2, :3] = [[260.0, 0.0, 158.0], [0.0, 250.0, 95.0]]


def blob(u, v, size=(320, 180)):
    """A bright dot around a pixel of a dark image."""
    x, y = np.arange(size[0]) + 0.5 - u, np.arange(size[1])[:, None] + 0.5 - v
    grey = 255 * np.exp(-(x**2 + y**2) / 18.0)
    return Image.fromarray(np.repeat(grey[..., None], 3, 2).astype(np.uint8))


def centre_of(image):
    weight = image[..., 0].astype(float)
    weight[weight < 30] = 0
    rows, columns = np.indices(weight.shape)
    total = weight.sum()
    assert total > 0
    return np.array([((columns + 0.5) * weight).sum(), ((rows + 0.5) * weight).sum()]) / total


def project(matrix, point):
    u, v, z, _ = matrix @ point
    return np.array([u, v]) / z


@pytest.mark.parametrize("size", [(90, 160), (128, 320), (270, 480)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scale": (0.8, 0.8)},
        {"scale": (1.3, 1.3)},
        {"shift": 0.1},
        {"rotate": 12.0},
        {"scale": (0.85, 1.2), "shift": 0.05, "rotate": 8.0},
    ],
)
def test_a_point_keeps_its_pixel_at_any_depth(size, settings):
    pixel = np.array([180.0, 110.0])
    ray = np.linalg.inv(CAM2IMG[:3, :3]) @ [*pixel, 1.0]
    results = {
        "imgs": [blob(*pixel)] * 2,
        "img_aug": np.tile(np.eye(4), (2, 1, 1)),
        "rng": np.random.default_rng(5),
    }
    out = AugmentImages(image_size=size, **settings)(results)
    for image, img_aug in zip(out["imgs"], out["img_aug"]):
        assert image.shape == (*size, 3)
        found = centre_of(image)
        for depth in (2.0, 40.0):
            point = np.array([*(ray * depth), 1.0])
            expected = project(img_aug @ CAM2IMG, point)
            np.testing.assert_allclose(found, expected, atol=0.3)


def test_plain_resize_keeps_the_bottom_of_the_image():
    results = {
        "imgs": [blob(160, 170)],
        "img_aug": np.eye(4)[None],
        "rng": np.random.default_rng(0),
    }
    out = AugmentImages(image_size=(60, 160))(results)
    # 320x180 becomes 160x90, of which the upper 30 rows go.
    np.testing.assert_allclose(centre_of(out["imgs"][0]), [80.0, 55.0], atol=0.3)


@pytest.mark.parametrize("size", [(90, 160), (256, 320), (60, 160)])
@pytest.mark.parametrize("settings", [{}, {"scale": (0.8, 0.8)}, {"shift": 0.1, "rotate": 12.0}])
def test_the_black_border_is_what_lies_outside_the_raw_image(size, settings):
    results = {
        "imgs": [Image.new("RGB", (320, 180), "white")] * 2,
        "img_aug": np.tile(np.eye(4), (2, 1, 1)),
        "rng": np.random.default_rng(3),
    }
    out = AugmentImages(image_size=size, **settings)(results)
    v, u = np.indices(size) + 0.5
    pixels = torch.from_numpy(np.stack([u.ravel(), v.ravel()], 1)).expand(2, -1, -1)
    shown = in_picture(pixels, torch.from_numpy(img2raw(out["img_aug"], (180, 320))))
    for image, seen in zip(out["imgs"], shown.view(2, *size).numpy()):
        white = image[..., 0] == 255  # whole pixels of the raw image
        black = image[..., 0] == 0
        assert (white & ~seen).sum() + (black & seen).sum() <= 0.01 * white.size
        assert black.any() == (not seen.all())


def test_views_draw_their_own_augmentation():
    results = {
        "imgs": [blob(160, 100)] * 2,
        "img_aug": np.tile(np.eye(4), (2, 1, 1)),
        "rng": np.random.default_rng(0),
    }
    out = AugmentImages(image_size=(90, 160), rotate=5.0, shift=0.1)(results)
    assert not np.allclose(out["img_aug"][0], out["img_aug"][1])


# Augmentation of the scene


def scene(seed=0):
    """Occupied voxels, and one point at the centre of each."""
    rng = np.random.default_rng(seed)
    semantics = np.where(rng.random(GRID.shape) < 0.05, 4, 17).astype(np.uint8)
    index = np.argwhere(semantics == 4)
    points = np.zeros((len(index), 5), np.float32)
    points[:, :3] = RANGE[:3] + (index + 0.5) * GRID.voxel_size
    return semantics, points


def scene_results(seed=0, draw=0):
    semantics, points = scene(seed)
    return {
        "points": points,
        "voxel_semantics": semantics,
        "mask_camera": semantics == 4,
        "weak_occupancy": (semantics == 4).astype(np.uint8),
        "rng": np.random.default_rng(draw),
    }


def test_flips_move_points_and_labels_alike():
    _, points = scene()
    seen = set()
    for draw in range(12):
        out = AugmentScene(RANGE, 0.4, flip=0.5, yaw=0.0)(scene_results(draw=draw))
        signs = np.sign(np.diag(out["ego_aug"])[:2])
        seen.add(tuple(signs))
        axes = [axis for axis in (0, 1) if signs[axis] < 0]
        for key in ("voxel_semantics", "mask_camera", "weak_occupancy"):
            plain = scene_results()[key]
            assert np.array_equal(out[key], np.flip(plain, axes)), key
        np.testing.assert_allclose(out["points"][:, :3], points[:, :3] * [*signs, 1], atol=1e-5)
        voxels = np.full(GRID.shape, 17, np.uint8)
        voxels[tuple(GRID.to_index(out["points"][:, :3]).T)] = 4
        assert np.array_equal(out["voxel_semantics"], voxels)
    assert len(seen) == 4


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    semantics, points = scene()
    turn = np.round(pose(yaw=turns * np.pi / 2))
    out = resample_voxels(semantics, voxel_sources(GRID, turn), 255)
    assert np.array_equal(out, np.rot90(semantics, turns))
    voxels = np.full(GRID.shape, 17, np.uint8)
    voxels[tuple(GRID.to_index(points[:, :3] @ turn[:3, :3].T).T)] = 4
    assert np.array_equal(out, voxels)


def brute_resample(grid, array, ego_aug, fill):
    """Voxel by voxel in 3D; also which voxels' centres are so near to a face that either will do.

    The inverse of a flip and a turn is its transpose, so that nothing is shared with the code.
    """
    out = np.full(grid.shape, fill, array.dtype)
    unclear = np.zeros(grid.shape, bool)
    low, size = np.array(grid.point_cloud_range[:3]), grid.voxel_size
    for index in np.ndindex(grid.shape):
        centre = low + (np.array(index) + 0.5) * size
        before = (ego_aug[:3, :3].T @ (centre - ego_aug[:3, 3]) - low) / size
        unclear[index] = np.abs(before - np.round(before)).min() < 1e-9
        source = np.floor(before).astype(int)
        if (source >= 0).all() and (source < grid.shape).all():
            out[index] = array[tuple(source)]
    return out, unclear


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("yaw", [0.0, 0.3, -1.1, 2.5])
def test_resampling_equals_a_search_voxel_by_voxel(flips, yaw):
    # Neither square nor around the vehicle, so that x, y and the sides cannot be mixed up.
    grid = VoxelGrid((-2.0, -1.0, -0.8, 3.6, 3.0, 0.8), 0.4)
    ego_aug = np.diag([*flips, 1.0, 1.0]) @ pose(x=0.13, y=-0.21, yaw=yaw)
    array = np.random.default_rng(0).integers(0, 18, grid.shape).astype(np.uint8)
    expected, unclear = brute_resample(grid, array, ego_aug, 255)
    out = resample_voxels(array, voxel_sources(grid, ego_aug), 255)
    assert out.dtype == np.uint8
    assert unclear.mean() < 0.01
    assert np.array_equal(out[~unclear], expected[~unclear])
    assert (out == 255).any()


@pytest.mark.parametrize(("row", "column"), [(2, 0), (2, 2), (2, 3), (0, 2), (1, 2)])
def test_an_augmentation_that_moves_z_is_refused(row, column):
    ego_aug = pose(yaw=0.2)
    ego_aug[row, column] += 0.1
    with pytest.raises(ValueError, match="ego_aug moves z"):
        voxel_sources(GRID, ego_aug)


@pytest.mark.parametrize("draw", range(4))
def test_any_turn_keeps_points_inside_the_thing_they_hit(draw):
    # Points well inside a block stay inside it, whatever the nearest-voxel lookup rounds.
    results = scene_results(draw=draw)
    block = np.full(GRID.shape, 17, np.uint8)
    block[12:17, 5:10, 1:5] = 10
    results["voxel_semantics"] = block
    low, high = np.array([1.2, -1.6, -0.2]), np.array([2.4, -0.4, 0.6])
    rng = np.random.default_rng(1)
    results["points"] = np.zeros((200, 5), np.float32)
    results["points"][:, :3] = rng.uniform(low, high, (200, 3))
    out = AugmentScene(RANGE, 0.4, flip=0.5, yaw=0.7)(results)
    index = GRID.to_index(out["points"][:, :3])
    assert (out["voxel_semantics"][tuple(index.T)] == 10).all()
    assert (out["voxel_semantics"] == 10).sum() == pytest.approx(100, abs=15)


def test_what_turns_in_from_outside_is_ignored():
    results = scene_results()
    results["voxel_semantics"][:] = 17
    results["mask_camera"][:] = True
    results["weak_occupancy"][:] = 0

    class Half:  # 45 degrees, no flip
        def uniform(self, low, high):
            return high

        def random(self, size):
            return np.ones(size)

    results["rng"] = Half()
    out = AugmentScene(RANGE, 0.4, flip=0.5, yaw=np.pi / 4)(results)
    x, y = np.meshgrid(*[(np.arange(20) + 0.5) * 0.4 - 4.0] * 2, indexing="ij")
    outside = np.abs(x) + np.abs(y) > 4 * np.sqrt(2)
    assert outside[0, 0]
    for key, inner, outer in (
        ("voxel_semantics", 17, 255),
        ("mask_camera", True, False),
        ("weak_occupancy", 0, 254),
    ):
        assert (out[key][outside] == outer).all(), key
        assert (out[key][~outside] == inner).all(), key


def test_dropped_voxels_are_ignored_and_never_free():
    semantics, weak = np.full(GRID.shape, 17, np.uint8), np.zeros(GRID.shape, np.uint8)
    semantics[:10], weak[:10] = 7, 1
    weak[15:] = 255
    out = DropVoxels(ratio=0.25)(
        {
            "voxel_semantics": semantics.copy(),
            "weak_occupancy": weak.copy(),
            "rng": np.random.default_rng(0),
        }
    )
    for key, before, ignored in (
        ("voxel_semantics", semantics, 254),
        ("weak_occupancy", weak, 253),
    ):
        after = out[key]
        dropped = after[:10] == ignored
        assert dropped.mean() == pytest.approx(0.25, abs=0.05)
        assert np.array_equal(after[:10][~dropped], before[:10][~dropped])
        assert np.array_equal(after[10:], before[10:])


def test_dropout_draws_for_occupied_voxels_only():
    semantics = np.full(GRID.shape, 17, np.uint8)
    semantics[3, 4, 1:3] = 7
    drawn, rng = [], np.random.default_rng(0)

    class Counting:
        def random(self, size, dtype):
            drawn.append(size)
            return rng.random(size, dtype=dtype)

    DropVoxels(ratio=0.5)({"voxel_semantics": semantics, "rng": Counting()})
    assert drawn == [2]


def test_dropout_reaches_an_array_in_any_memory_order():
    semantics = np.asfortranarray(np.random.default_rng(0).integers(0, 18, GRID.shape, np.uint8))
    before = semantics.copy()
    out = DropVoxels(ratio=1.0)({"voxel_semantics": semantics, "rng": np.random.default_rng(0)})
    assert np.array_equal(out["voxel_semantics"], np.where(before < 17, 254, before))


# Weak occupancy

SENSOR = np.array([0.2, 0.2, 1.2])  # in voxel (10, 10, 5) of GRID


def weak_results(root, sweeps):
    """``sweeps``: per sweep (sensor position, end points), in the current ego frame."""
    sources = []
    for number, (sensor, ends) in enumerate(sweeps):
        lidar2ego = pose(*sensor)
        local = np.asarray(ends, float).reshape(-1, 3) - sensor
        write_points(root / f"{number}.bin", np.pad(local, ((0, 0), (0, 2))))
        sources.append({"lidar_path": f"{number}.bin", "lidar2ego": lidar2ego})
    return {
        "token": "abc",
        "data_root": str(root),
        "cache_root": str(root),
        "phase": Phase.WEAK,
        "weak_sources": lambda: sources,
        # The vehicle's own box is far off, so that it removes nothing.
        "lidar_points": {"lidar2ego": pose(1000.0)},
    }


def test_weak_occupancy_worked_by_hand(tmp_path):
    # Along +y at x = z = const: the ray crosses y-voxels 10..14 and ends in 15.
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    weak = LoadWeakOccupancy(RANGE, 0.4)(results)["weak_occupancy"]
    expected = np.full(GRID.shape, 255, np.uint8)
    expected[10, 10:15, 5] = 0
    expected[10, 15, 5] = 1
    assert np.array_equal(weak, expected)
    assert weak.dtype == np.uint8


def test_a_hit_outlives_the_rays_of_other_sweeps(tmp_path):
    beyond = [[0.2, 3.8, 1.2]]
    results = weak_results(
        tmp_path, [(SENSOR, beyond), (SENSOR, beyond), (SENSOR, [[0.2, 2.2, 1.2]])]
    )
    weak = LoadWeakOccupancy(RANGE, 0.4, cache=False)(results)["weak_occupancy"]
    assert weak[10, :, 5].tolist() == [255] * 10 + [0] * 5 + [1] + [0] * 3 + [1]


def test_sweeps_add_up_to_what_their_counts_say(tmp_path):
    rng = np.random.default_rng(0)
    sweeps = [(rng.uniform(-5, 5, 3), rng.uniform(-5, 5, (60, 3))) for _ in range(4)]
    results = weak_results(tmp_path, sweeps)
    weak = LoadWeakOccupancy(RANGE, 0.4, cache=False)(results)["weak_occupancy"]
    counts = []
    for source in results["weak_sources"]():
        path, lidar2ego = tmp_path / source["lidar_path"], source["lidar2ego"]
        ends = read_sweep(path, lidar2ego, Mount(pose(1000.0), NUSCENES_BOX))[:, :3]
        counts.append(ray_hits_and_passes(GRID, lidar2ego[None, :3, 3].astype(np.float32), ends))
    hits, passes = np.sum(counts, axis=0)
    assert np.array_equal(weak, np.where(hits > 0, 1, np.where(passes > 0, 0, 255)))
    assert set(np.unique(weak)) == {0, 1, 255}


@pytest.mark.parametrize(
    "target",
    [
        np.zeros((3, 3, 3), np.uint8),
        np.zeros(GRID.shape, np.int32),
        np.asfortranarray(np.zeros(GRID.shape, np.uint8)),
    ],
)
def test_a_target_that_cannot_be_marked_is_named(target):
    with pytest.raises(ValueError, match=r"target is .*: expected contiguous uint8 \(20, 20, 6\)"):
        mark_rays(GRID, [SENSOR], [SENSOR], target)


def test_sweeps_from_outside_the_grid_and_other_poses_count(tmp_path):
    results = weak_results(tmp_path, [(np.array([-9.0, 0.2, 1.2]), [[-3.0, 0.2, 1.2]])])
    weak = LoadWeakOccupancy(RANGE, 0.4, cache=False)(results)["weak_occupancy"]
    assert weak[:, 10, 5].tolist() == [0, 0, 1] + [255] * 17


def test_cache_is_used_and_belongs_to_its_settings(tmp_path):
    step = LoadWeakOccupancy(RANGE, 0.4)
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    first = step(dict(results))["weak_occupancy"]
    assert step.prepare(dict(results)) is False
    assert np.array_equal(step(dict(results))["weak_occupancy"], first)
    (tmp_path / "0.bin").unlink()
    moved = dict(results, weak_sources=lambda: [{"lidar_path": "0.bin", "lidar2ego": pose(0.1)}])
    other_grid = LoadWeakOccupancy(RANGE, 0.2)
    for other, miss in ((step, moved), (other_grid, results), (step, results)):
        with pytest.raises(InputError, match=r"0\.bin cannot be read"):
            other(dict(miss))


def test_corrupt_cache_is_named(tmp_path):
    step = LoadWeakOccupancy(RANGE, 0.4)
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    step(dict(results))
    (path,) = (tmp_path / "weak_occupancy").rglob("*.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=f"{path} cannot be read"):
        step(dict(results))


def with_sky(results, **meta):
    """The results of a frame whose root has pseudo-labels."""
    write_meta(
        Path(results["data_root"]) / "pseudo_labels", make_meta("test", [], {}, None, **meta)
    )
    view = {"cam2img": np.eye(3), "ego2cam": np.eye(4), "img_path": "samples/x/a.jpg"}
    return {**results, "images": {camera: dict(view) for camera in CAMERAS}}


@pytest.mark.parametrize("rules", [{"min_hits": 2}, {"see_through": 4.0}, {"sky": True}])
def test_other_rules_keep_other_files(tmp_path, rules):
    results = with_sky(weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])]))
    plain, other = LoadWeakOccupancy(RANGE, 0.4), LoadWeakOccupancy(RANGE, 0.4, **rules)
    sources = results["weak_sources"]()
    assert plain.path(results, sources) != other.path(results, sources)


def test_equal_rules_keep_one_file(tmp_path):
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    paths = {
        LoadWeakOccupancy(RANGE, 0.4, see_through=ratio).path(results, results["weak_sources"]())
        for ratio in (4, 4.0)
    }
    assert len(paths) == 1


def test_other_pseudo_labels_or_cameras_have_another_sky(tmp_path):
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    step, sources = LoadWeakOccupancy(RANGE, 0.4, sky=True), results["weak_sources"]()
    with pytest.raises(PseudoLabelMetaError, match="does not exist"):
        step.path(results, sources)
    paths = {step.path(with_sky(results, prompts=prompts), sources) for prompts in ("a", "b")}
    turned = with_sky(results, prompts="b")
    turned["images"]["CAM_BACK"]["cam2img"] = 2 * np.eye(3)
    paths.add(step.path(turned, sources))
    label = tmp_path / "pseudo_labels" / "labels" / "CAM_BACK" / "a.png"
    label.parent.mkdir(parents=True)
    label.write_bytes(b"a label")
    paths.add(step.path(turned, sources))
    assert len(paths) == 4


OTHER_RAY = [[0.2, 3.0, 1.2]]


@pytest.mark.parametrize(("keep_time", "by_content"), [(False, False), (False, True), (True, True)])
def test_a_target_is_made_anew_of_other_sweeps_under_the_same_names(
    tmp_path, keep_time, by_content
):
    step = LoadWeakOccupancy(RANGE, 0.4)
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    results["cache_by_content"] = by_content
    assert step(dict(results))["weak_occupancy"][10, 15, 5] == 1
    status = (tmp_path / "0.bin").stat()
    weak_results(tmp_path, [(SENSOR, OTHER_RAY)])  # as large
    later = 0 if keep_time else 1_000_000
    times = (status.st_atime_ns, status.st_mtime_ns + later)
    os.utime(tmp_path / "0.bin", ns=times)
    if keep_time:
        _digest.cache_clear()  # of another process
    assert step(dict(results))["weak_occupancy"][10, 15:18, 5].tolist() == [0, 0, 1]


def spoil_kept(path, **arrays):
    with np.load(path) as kept:
        whole = {**kept, **arrays}
    np.savez(path, **{key: value for key, value in whole.items() if value is not None})


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"weak_occupancy": np.full(GRID.shape, 7, np.uint8)},
            "holds values other than 0 to 1 and",
        ),
        ({"weak_occupancy": np.full(GRID.shape, 254, np.uint8)}, "holds values other than 0 to 1"),
        ({"weak_occupancy": np.zeros(GRID.shape, bool)}, "is bool"),
        ({"weak_occupancy": np.zeros(GRID.shape[::-1], np.uint8)}, r"is uint8 \(6, 20, 20\)"),
        ({"weak_occupancy": np.zeros((9000, 9000), np.uint8)}, r"unpacks to 77\.2 MiB"),
        ({"weak_occupancy": None}, "cannot be read"),
        ({"made_of": np.zeros(32, np.uint8)}, "was made of something else"),
        ({"made_of": None}, "was made of something else"),
    ],
)
def test_a_kept_target_that_cannot_be_right_is_refused(tmp_path, arrays, words):
    step = LoadWeakOccupancy(RANGE, 0.4)
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    step(dict(results))
    (path,) = (tmp_path / "weak_occupancy").rglob("*.npz")
    spoil_kept(path, **arrays)
    for use in (step, step.prepare):
        with pytest.raises(InputError, match=f"{path} .*{words}.*delete it"):
            use(dict(results))


def test_the_kept_target_of_another_frame_is_refused(tmp_path):
    step = LoadWeakOccupancy(RANGE, 0.4)
    first = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    second = {**first, "token": "def", "weak_sources": lambda: [*first["weak_sources"]()] * 2}
    step(dict(first))
    (path,) = (tmp_path / "weak_occupancy").rglob("*.npz")
    path.rename(step.path(second, second["weak_sources"]()))
    with pytest.raises(InputError, match="was made of something else"):
        step(second)


def test_a_cache_elsewhere_leaves_the_data_alone(tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    results = weak_results(data, [(SENSOR, [[0.2, 2.2, 1.2]])])
    step = LoadWeakOccupancy(RANGE, 0.4)
    before = sorted(data.iterdir())
    step({**results, "cache_root": str(cache)})
    assert sorted(data.iterdir()) == before
    assert step.prepare({**results, "cache_root": str(cache)}) is False
    assert step.prepare(results) is True


def test_a_cache_that_cannot_be_written_to_names_the_knob(tmp_path):
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    (tmp_path / "weak_occupancy").write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"cannot be kept in .*set cache_root to a folder"):
        LoadWeakOccupancy(RANGE, 0.4)(results)


def test_a_kept_target_of_another_grid_is_refused(tmp_path):
    step = LoadWeakOccupancy(RANGE, 0.4)
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    path = step.path(results, results["weak_sources"]())
    path.parent.mkdir(parents=True)
    np.savez(path, weak_occupancy=np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(InputError, match=r"is uint8 \(3, 3, 3\), expected uint8 \(20, 20, 6\)"):
        step(results)


@pytest.mark.parametrize(
    ("phase", "always", "made"),
    [
        (Phase.WARM, False, False),
        (Phase.STRONG, False, False),
        (None, False, False),
        (None, True, True),
        (Phase.WEAK, False, True),
    ],
)
def test_weak_occupancy_is_made_where_it_is_used(tmp_path, phase, always, made):
    results = weak_results(tmp_path, [(SENSOR, [[0.2, 2.2, 1.2]])])
    results["phase"] = phase
    out = LoadWeakOccupancy(RANGE, 0.4, always=always)(results)
    assert ("weak_occupancy" in out) == made
