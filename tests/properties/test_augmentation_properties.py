"""Augmentation moves points, labels, pixels and pictures together, whatever it draws."""

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from minkocc.datasets.transforms import (
    AugmentImages,
    AugmentScene,
    LiftPseudoLabels,
    PackOccInputs,
    SampleLattice,
)
from minkocc.models.pulsar_head import PulsarHead
from minkocc.ops.point_sampling import project_points
from minkocc.structures.phase import Phase
from minkocc.structures.render_lattice import RenderLattice
from minkocc.structures.voxel_grid import VoxelGrid

HEIGHT, WIDTH = 200, 320  # of the raw images
IMAGE_SIZE = (140, 256)  # of the network's: scaled by 0.8, 20 rows cut
VIEWS = 3
GRID = VoxelGrid((-4.0, -4.0, -1.0, 4.0, 4.0, 1.4), 0.4)
LOPSIDED = VoxelGrid((-2.0, -3.2, -1.0, 4.4, 2.0, 0.2), 0.4)
FILLS = {"voxel_semantics": 255, "mask_camera": False, "weak_occupancy": 254}

seeds = st.integers(0, 2**32 - 1)


def turn(axis, angle):
    """3x3 rotation about a coordinate axis."""
    a, b = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[[a, b], [a, b]] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def cameras(rng):
    """``ego2cam`` and ``cam2img`` of tilted cameras a third of a turn apart, off-centre, fx != fy.

    Their views do not overlap: each covers less than 38 degrees to either side.
    """
    ego2cam, cam2img = np.tile(np.eye(4), (2, VIEWS, 1, 1))
    looking_ahead = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    for view in range(VIEWS):
        yaw = 2 * np.pi * view / VIEWS + rng.uniform(-0.1, 0.1)
        tilt = turn(0, rng.uniform(-0.1, 0.1)) @ turn(2, rng.uniform(-0.1, 0.1))
        rotation = tilt @ looking_ahead @ turn(2, -yaw)
        ego2cam[view, :3, :3] = rotation
        ego2cam[view, :3, 3] = -rotation @ rng.uniform(-0.4, 0.4, 3)
        cam2img[view, [0, 1], [0, 1]] = rng.uniform(0.8, 1.2, 2) * WIDTH
        cam2img[view, :2, 2] = rng.uniform(0.4, 0.6, 2) * (WIDTH, HEIGHT)
    return ego2cam, cam2img


def frame(seed, **changes):
    """A frame as the loading steps leave it."""
    rng = np.random.default_rng(seed)
    ego2cam, cam2img = cameras(rng)
    results = {
        "token": "t",
        "scene_name": "s",
        "phase": Phase.WEAK,
        "iteration": 0,
        "rng": rng,
        "points": np.zeros((1, 5), np.float32),
        "imgs": [Image.new("RGB", (WIDTH, HEIGHT))] * VIEWS,
        "img_aug": np.tile(np.eye(4), (VIEWS, 1, 1)),
        "ego2cam": ego2cam,
        "cam2img": cam2img,
        "raw_size": (HEIGHT, WIDTH),
        "ray_origins": np.zeros((1, 3)),
    }
    return {**results, **changes}


def any_scene_step(grid=GRID):
    """Flips, turns, both or neither."""
    return st.builds(
        AugmentScene,
        st.just(grid.point_cloud_range),
        st.just(grid.voxel_size),
        flip=st.sampled_from([0.0, 0.5, 1.0]),
        yaw=st.sampled_from([0.0, 0.3925, np.pi]),
    )


def any_image_step():
    """Scale, shift and rotation, any of them or none."""
    return st.builds(
        AugmentImages,
        st.just(IMAGE_SIZE),
        scale=st.sampled_from([(1.0, 1.0), (0.8, 1.2)]),
        shift=st.sampled_from([0.0, 0.12]),
        rotate=st.sampled_from([0.0, 10.0]),
    )


def on_rays(results, view, pixels, depths):
    """``(P, 3)`` ego points at raw pixels ``(P, 2)`` and depths ``(P,)`` of a camera."""
    K, ego2cam = results["cam2img"][view], results["ego2cam"][view]
    x = (pixels[:, 0] - K[0, 2]) / K[0, 0] * depths
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1] * depths
    return (np.stack([x, y, depths], 1) - ego2cam[:3, 3]) @ ego2cam[:3, :3]


def raw_pixels(results, view, points):
    """Raw pixels ``(P, 2)`` and depths ``(P,)`` of ego points in a camera."""
    K, ego2cam = results["cam2img"][view], results["ego2cam"][view]
    x, y, z = (points.astype(np.float64) @ ego2cam[:3, :3].T + ego2cam[:3, 3]).T
    return np.stack([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]], 1), z


def with_features(xyz, lag=0.0):
    """``(P, 3)`` as the pipeline's points: intensity and time lag behind the coordinates."""
    out = np.full((len(xyz), 5), 0.5, np.float32)
    out[:, :3], out[:, 4] = xyz, lag
    return out


# Points and pixels


@settings(max_examples=60)
@given(seeds, any_scene_step(), any_image_step())
def test_a_point_keeps_its_pixel_under_any_augmentation(seed, move_scene, warp_images):
    results = frame(seed)
    rng = np.random.default_rng([seed, 1])
    depths = np.array([1.5, 4.0, 15.0, 60.0]).repeat(5)
    clouds = []
    for view in range(VIEWS):
        pixels = rng.uniform(0, 1, (len(depths), 2)) * (WIDTH, HEIGHT)
        clouds.append(on_rays(results, view, pixels, depths))
    before = with_features(np.concatenate(clouds))
    results["points"] = before.copy()
    results = warp_images(move_scene(results))
    packed = PackOccInputs()(results)
    after = packed["inputs"]["points"][:, :3].double()
    uv = project_points(after, packed["data_samples"].ego2img, IMAGE_SIZE).uv.numpy()
    for view in range(VIEWS):
        raw, depth = raw_pixels(results, view, before[:, :3])
        seen = (depth > 1) & (np.abs(raw) < 2 * WIDTH).all(1)
        assert seen.sum() >= len(depths)
        (a, b, c), (d, e, f) = results["img_aug"][view][:2, :3]
        u, v = raw[seen].T
        expected = np.stack([a * u + b * v + c, d * u + e * v + f], 1)
        np.testing.assert_allclose(uv[view, seen], expected, atol=0.02)


def disc(image, pixel, colour):
    """Paint a disc of radius 5 around a pixel."""
    y, x = np.indices(image.shape[:2]) + 0.5
    image[np.hypot(x - pixel[0], y - pixel[1]) < 5] = colour


def shows(image, uv, channel):
    """Whether a picture ``(3, H, W)`` has the pure colour of a channel at a pixel."""
    column, row = np.floor(uv).astype(int)
    if not (0 <= row < image.shape[1] and 0 <= column < image.shape[2]):
        return False
    return (
        image[channel, row, column] > 150 and np.delete(image[:, row, column], channel).max() < 80
    )


def pixel_of(matrix, point):
    u, v, z, _ = matrix @ [*point, 1.0]
    return np.array([u, v]) / z


@settings(max_examples=40)
@given(seeds, any_scene_step())
def test_a_warped_picture_shows_near_and_far_things_where_they_project(seed, move_scene):
    results = frame(seed)
    rng = np.random.default_rng([seed, 1])
    depths, pictures, clouds = np.array([2.0, 40.0]), [], []
    for view in range(VIEWS):
        pixels = np.array([[0.35, 0.55], [0.65, 0.55]]) + rng.uniform(-0.06, 0.06, (2, 2))
        pixels *= WIDTH, HEIGHT
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        disc(picture, pixels[0], (255, 0, 0))
        disc(picture, pixels[1], (0, 255, 0))
        pictures.append(Image.fromarray(picture))
        clouds.append(on_rays(results, view, pixels, depths))
    results["imgs"], results["points"] = pictures, with_features(np.concatenate(clouds))
    warp_images = AugmentImages(IMAGE_SIZE, scale=(0.8, 1.2), shift=0.12, rotate=10.0)
    results = warp_images(move_scene(results))
    offsets = results["img_aug"][:, :2, 2]
    assume((np.linalg.norm(offsets, axis=1) > 12).all())
    packed = PackOccInputs()(results)
    points = packed["inputs"]["points"].numpy()[:, :3].reshape(VIEWS, 2, 3)
    for view in range(VIEWS):
        image = packed["inputs"]["imgs"][view].numpy()
        right = packed["data_samples"].ego2img[view].numpy()
        for depth in range(2):
            assert shows(image, pixel_of(right, points[view, depth]), channel=depth)
        # The test must see a translation that was put where it is divided by the depth.
        img_aug = results["img_aug"][view].copy()
        img_aug[:2, 3], img_aug[:2, 2] = img_aug[:2, 2], 0.0
        wrong = img_aug @ np.linalg.inv(results["img_aug"][view]) @ right
        found = [shows(image, pixel_of(wrong, points[view, d]), channel=d) for d in range(2)]
        assert not all(found)


# Points and labels


class Fixed:
    """Draws this rotation and these flips."""

    def __init__(self, angle, flips):
        self.angle, self.flips = angle, flips

    def uniform(self, low, high):
        return self.angle

    def random(self, size):
        return np.where(self.flips, 0.0, 1.0)


def voxel_arrays(grid, rng, block):
    """All four targets; ``block`` x ``block`` columns agree."""
    size_x, size_y, size_z = grid.shape
    coarse = (-(-size_x // block), -(-size_y // block), size_z)

    def random(values):
        drawn = rng.choice(values, coarse).repeat(block, 0).repeat(block, 1)
        return np.ascontiguousarray(drawn[:size_x, :size_y])

    return {
        "voxel_semantics": random(np.arange(18, dtype=np.uint8)),
        "mask_camera": random(np.array([False, True])),
        "weak_occupancy": random(np.array([0, 1, 255], np.uint8)),
    }


def points_in_voxels(grid, rng, count=400):
    """Random places inside random voxels, several in some, off the faces; and these voxels."""
    index = rng.integers(0, grid.shape, (count, 3))
    low = np.array(grid.point_cloud_range[:3])
    return low + (index + rng.uniform(0.02, 0.98, index.shape)) * grid.voxel_size, index


@settings(max_examples=60)
@given(
    seeds,
    st.integers(-2, 2),
    st.tuples(st.booleans(), st.booleans()),
    st.sampled_from([1, 4]),
)
def test_after_quarter_turns_and_flips_every_point_finds_its_voxels_label(
    seed, quarters, flips, block
):
    rng = np.random.default_rng(seed)
    arrays = voxel_arrays(GRID, rng, block)
    xyz, index = points_in_voxels(GRID, rng)
    results = {key: array.copy() for key, array in arrays.items()}
    results.update(points=with_features(xyz), rng=Fixed(quarters * np.pi / 2, flips))
    out = AugmentScene(GRID.point_cloud_range, GRID.voxel_size, flip=0.5, yaw=np.pi)(results)
    moved = GRID.to_index(out["points"][:, :3])
    for key, array in arrays.items():
        assert np.array_equal(out[key][tuple(moved.T)], array[tuple(index.T)]), key
        assert out[key].dtype == array.dtype


@settings(max_examples=60)
@given(seeds, st.sampled_from([GRID, LOPSIDED]), st.sampled_from([1, 4]), st.data())
def test_after_any_turn_a_point_finds_a_label_from_next_to_it(seed, grid, block, data):
    # The centre of the point's new voxel is at most 0.71 voxels from it and at its height, so that
    # its source is the point's old voxel or one of the eight around that.
    rng = np.random.default_rng(seed)
    arrays = voxel_arrays(grid, rng, block)
    xyz, index = points_in_voxels(grid, rng)
    results = {key: array.copy() for key, array in arrays.items()}
    results.update(points=with_features(xyz), rng=rng)
    out = data.draw(any_scene_step(grid))(results)
    moved = grid.to_index(out["points"][:, :3])
    inside = grid.contains(moved)
    assert inside.mean() > 0.2
    x, y, z = (index[inside] + np.array([1, 1, 0])).T
    for key, array in arrays.items():
        around = np.pad(array, ((1, 1), (1, 1), (0, 0)), constant_values=FILLS[key])
        label = out[key][tuple(moved[inside].T)]
        found = [around[x + i, y + j, z] == label for i in (-1, 0, 1) for j in (-1, 0, 1)]
        assert np.any(found, axis=0).all(), key


@settings(max_examples=40)
@given(seeds, any_scene_step())
def test_current_and_earlier_sweeps_move_alike(seed, move_scene):
    rng = np.random.default_rng(seed)
    xyz = rng.uniform(-50, 50, (90, 3))
    lags = np.array([0.0, 0.05, 0.45], np.float32).repeat(30)
    before = with_features(xyz, lags)
    before[:, 3] = rng.random(90)
    packed = PackOccInputs()(
        AugmentImages(IMAGE_SIZE)(move_scene(frame(seed, points=before.copy())))
    )
    after = packed["inputs"]["points"].numpy()
    ego_aug = packed["data_samples"].ego_aug.numpy().astype(np.float64)
    for lag in np.unique(lags):
        rows = lags == lag
        expected = before[rows, :3] @ ego_aug[:3, :3].T
        np.testing.assert_allclose(after[rows, :3], expected, atol=1e-4)
    assert np.array_equal(after[:, 3:], before[:, 3:])


# What the 2D losses see


def both_samples(seed, move_scene, points, first=(), **targets):
    """The same frame without and with 3D augmentation: the points and data samples of both."""
    out = []
    for steps in ([], [move_scene]):
        results = frame(seed, points=points.copy(), **targets)
        for step in [*first, *steps, AugmentImages(IMAGE_SIZE), PackOccInputs()]:
            results = step(results)
        out.append((results["inputs"]["points"], results["data_samples"]))
    return out


@settings(max_examples=40)
@given(seeds, any_scene_step())
def test_a_return_takes_the_pseudo_label_of_its_raw_pixel(seed, move_scene):
    rng = np.random.default_rng([seed, 1])
    labels = rng.integers(0, 19, (VIEWS, HEIGHT, WIDTH)).astype(np.uint8)
    confidence = rng.integers(0, 256, labels.shape).astype(np.uint8)
    cloud, expected = [], {}
    for view in range(VIEWS):
        place = rng.integers(0, (WIDTH, HEIGHT), (20, 2))
        depths = rng.choice([1.5, 6.0, 50.0], 20)
        for number, (column, row) in enumerate(place, start=20 * view):
            label = int(labels[view, row, column])
            if 1 <= label <= 17:
                expected[number] = (label - 1, int(confidence[view, row, column]))
        cloud.append(on_rays(frame(seed), view, place + 0.5, depths))
    points = with_features(np.concatenate(cloud))
    points[:, 4] = 0.0
    targets = {"img_semantics": labels, "img_confidence": confidence, "phase": Phase.WEAK}
    first = [LiftPseudoLabels(1.0), SampleLattice(8)]
    for moved, sample in both_samples(seed, move_scene, points, first, **targets):
        number = sample.lift_point.tolist()
        found = zip(sample.lift_label.tolist(), sample.lift_confidence.tolist())
        assert dict(zip(number, found)) == expected
        assert len(number) == len(expected)
        # The augmentation moved the returns and left them in their rows.
        there = torch.from_numpy(points[:, :3]) @ sample.ego_aug[:3, :3].T
        torch.testing.assert_close(moved[:, :3], there, rtol=1e-5, atol=1e-4)


@settings(max_examples=25)
@given(seeds, any_scene_step(), st.tuples(st.integers(0, 7), st.integers(0, 7)))
def test_3d_augmentation_leaves_the_rendered_views_as_they_are(seed, move_scene, shift):
    torch.manual_seed(seed)
    head = PulsarHead(channels=4, voxel_size=0.4)
    torch.nn.init.normal_(head.sphere.weight)
    # Coverage jumps at a sphere's rim, where single precision would decide by its rounding.
    head.shader.double()
    index = torch.stack([torch.randint(0, size, (150,)) for size in GRID.shape], 1).numpy()
    centres = torch.from_numpy(GRID.to_centre(index))
    feats, probs = torch.randn(150, 4), torch.randn(150, 17).softmax(1)
    (_, plain), (_, moved) = both_samples(seed, move_scene, with_features(centres.numpy()))
    for sample in (plain, moved):
        sample.set_metainfo({"lattice": RenderLattice(8, shift)})
    matrix = moved.ego_aug.double()
    views = []
    with torch.no_grad():
        for sample, places in ((plain, centres), (moved, centres @ matrix[:3, :3].T)):
            views.append(head.render(feats, probs, places, sample))
    assert views[0].coverage.shape == (VIEWS, HEIGHT // 8, WIDTH // 8)
    assert (views[0].coverage.mean((1, 2)) > 0.05).all()
    for name in ("shader_logits", "tied_probs", "coverage"):
        first, second = (getattr(view, name) for view in views)
        torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)
