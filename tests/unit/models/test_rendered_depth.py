"""The depth term: what a target knows of a pixel's depth, and what the rendered one is taught."""

import math

import numpy as np
import pytest
import torch

from minkocc.models.pulsar_head import PulsarHead
from minkocc.models.render_cameras import RenderCameras
from minkocc.models.rendered_depth import depth_loss, known_depths
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.phase import Phase
from minkocc.structures.taxonomy import (
    WEAK_DROPPED,
    WEAK_FREE,
    WEAK_IGNORED,
    WEAK_OCCUPIED,
    WEAK_UNKNOWN,
)
from minkocc.structures.voxel_grid import VoxelGrid

GRID = VoxelGrid((-4.0, -4.0, -2.0, 16.0, 4.0, 2.0), 0.4)
CHANNELS = 6
RANGE = (1.0, 60.0)
EYE = [0.037, 0.113, 0.091]  # no ray passes exactly through a corner
ROW = GRID.to_index(np.array(EYE)).tolist()  # that of the camera's axis


def camera(size=(5, 7), focal=12.0, turn=0.0):
    """At ``EYE``, looking along +x turned by ``turn`` around z."""
    c, s = math.cos(turn), math.sin(turn)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.tensor([[s, -c, 0.0], [0.0, 0.0, -1.0], [c, s, 0.0]])
    pose[:3, 3] = -pose[:3, :3] @ torch.tensor(EYE, dtype=torch.float64)
    k = torch.tensor([[focal, 0, size[1] / 2], [0, focal + 1, size[0] / 2], [0, 0, 1.0]])
    return RenderCameras(pose[None], k[None].double(), size)


def volume(**at):
    """Free but for voxels at metres x along the camera's axis: ``x4=WEAK_UNKNOWN``."""
    target = torch.full(GRID.shape, WEAK_FREE, dtype=torch.uint8)
    for name, value in at.items():
        target[int(GRID.to_index(np.array([float(name[1:]), 0.0, 0.0]))[0]), ROW[1], ROW[2]] = value
    return target


def middle(cameras, target):
    """Of the pixel on the axis."""
    h, w = cameras.size
    return float(known_depths(target, GRID, cameras, RANGE).view(h, w)[h // 2, w // 2])


def test_the_first_occupied_voxel_gives_the_depth_of_its_centre():
    # 4.1 m lies in the voxel from 4.0 to 4.4 m.
    target = volume(x4=WEAK_OCCUPIED, x8=WEAK_OCCUPIED)
    assert middle(camera(), target) == pytest.approx(4.2 - EYE[0], abs=1e-5)


@pytest.mark.parametrize("value", [WEAK_UNKNOWN, WEAK_IGNORED, WEAK_DROPPED])
def test_behind_what_nobody_knows_no_depth_is_known(value):
    assert middle(camera(), volume(x4=value, x8=WEAK_OCCUPIED)) == 0.0
    assert middle(camera(), volume(x8=WEAK_OCCUPIED, x12=value)) == pytest.approx(
        8.2 - EYE[0], abs=1e-5
    )


def test_a_ray_that_meets_nothing_has_no_depth():
    assert not known_depths(volume(), GRID, camera(), RANGE).any()


def test_what_is_not_rendered_is_not_met():
    near = volume(x0=WEAK_OCCUPIED, x8=WEAK_OCCUPIED)
    assert middle(camera(), near) == pytest.approx(8.2 - EYE[0], abs=1e-5)
    h, w = camera().size
    short = known_depths(near, GRID, camera(), (1.0, 6.0)).view(h, w)
    assert short[h // 2, w // 2] == 0.0


@pytest.mark.parametrize("turn", [0.0, 0.4, -1.3, 3.0])
def test_known_depths_are_those_of_small_steps_along_the_rays(turn):
    """Ten thousand small steps from the camera, which know nothing of walks through grids."""
    rng = np.random.default_rng(5)
    kinds = [WEAK_FREE, WEAK_OCCUPIED, WEAK_UNKNOWN]
    target = torch.from_numpy(rng.choice(kinds, GRID.shape, p=[0.95, 0.03, 0.02]).astype(np.uint8))
    cameras = camera((9, 13), turn=turn)
    got = known_depths(target, GRID, cameras, RANGE)
    eyes, rays = (each.numpy() for each in cameras.rays())
    steps = np.arange(RANGE[0], 25.0, 0.002)
    wrong = 0
    for pixel, ray in enumerate(rays[0]):
        index = GRID.to_index(eyes[0] + steps[:, None] * ray)
        index = index[GRID.contains(index)]
        states = target.numpy()[tuple(index.T)]
        stops = (states != WEAK_FREE).nonzero()[0]
        want = 0.0
        if len(stops) and states[stops[0]] == WEAK_OCCUPIED:
            want = (GRID.to_centre(index[stops[0]]) - eyes[0]) @ ray
        wrong += abs(want - float(got[0, pixel])) > 1e-4
    assert wrong <= 1  # a corner that is cut by less than a step
    assert 0.05 < float((got > 0).double().mean()) < 0.95


def test_the_loss_is_the_ratio_of_depths_over_pixels_that_are_known_and_covered():
    cameras = camera((1, 4))
    eyes, rays = cameras.rays()
    depths = torch.tensor([2.0, 4.0, 6.0, 8.0], dtype=torch.float64)
    places = (eyes[:, None] + depths[:, None] * rays).transpose(1, 2).view(1, 3, 1, 4)
    known = torch.tensor([[4.0, 4.0, 0.0, 1.0]], dtype=torch.float64)
    covered = torch.tensor([True, True, True, False]).view(1, 1, 4)
    got = depth_loss(places, covered, known, cameras)
    assert float(got) == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_without_a_pixel_that_counts_the_loss_is_zero_and_has_a_gradient_path():
    cameras = camera((1, 2))
    places = torch.zeros(1, 3, 1, 2, requires_grad=True)
    loss = depth_loss(places, torch.zeros(1, 1, 2, dtype=torch.bool), torch.zeros(1, 2), cameras)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(places.grad).all()


def sample(cameras, **metainfo):
    """One that a head renders at the size of ``cameras``, at stride 1, central."""
    one = OccDataSample(metainfo={"raw_size": cameras.size, **metainfo})
    k = torch.eye(4)[None]
    k[:, :3, :3] = cameras.cam2img
    data = {"cam2img": k, "ego2cam": cameras.ego2cam.float(), "ego_aug": torch.eye(4)}
    one.set_data(data)
    return one


def walls(*distances):
    """Coordinates of walls across the camera's view, ``(V, 3)``."""
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), -1).reshape(-1, 3)
    x = [int(GRID.to_index(np.array([d, 0.0, 0.0]))[0]) for d in distances]
    return torch.from_numpy(index[np.isin(index[:, 0], x)])


def target_of(coords):
    target = torch.full(GRID.shape, WEAK_FREE, dtype=torch.uint8)
    target[tuple(coords.T)] = WEAK_OCCUPIED
    return target


def head_of(renderer="spheres", **settings):
    torch.manual_seed(0)
    settings = {"weight_2d": 0.0, "depth_weight": 1.0, **settings}
    return PulsarHead(CHANNELS, GRID.voxel_size, render_stride=1, renderer=renderer, **settings)


def terms(head, coords, target, feats=None, phase=Phase.WEAK, ramp=1.0):
    feats = torch.zeros(len(coords), CHANNELS) if feats is None else feats
    batched = torch.nn.functional.pad(coords, (1, 0))
    probs = torch.full((len(coords), 17), 1 / 17)
    samples = [sample(camera((12, 16)))]
    return head.batch_loss(batched, feats, probs, GRID, target[None], samples, phase, 0.5, ramp)


@pytest.mark.parametrize("renderer", ["spheres", "voxels"])
def test_voxels_where_the_target_has_them_cost_nearly_nothing(renderer):
    coords = walls(8.0)
    loss = terms(head_of(renderer), coords, target_of(coords))["loss_depth"]
    assert float(loss.detach()) < 0.5 * 0.02  # half a voxel of 8 m


@pytest.mark.parametrize("renderer", ["spheres", "voxels"])
def test_a_voxel_in_front_of_what_is_known_becomes_transparent(renderer):
    """Gradient descent on opacity alone: the wrong wall's falls, the depth becomes right."""
    right, wrong = walls(8.0), walls(4.0)
    coords, target = torch.cat([right, wrong]), target_of(right)
    head = head_of(renderer)
    feats = torch.zeros(len(coords), CHANNELS)
    feats[len(right) :, 0] = 1.0  # what tells them apart
    # The wrong wall is as dense in front, so that the error begins at half the distance.
    begun = float(terms(head, coords, target, feats)["loss_depth"].detach())
    assert begun == pytest.approx(0.5 * math.log(2), rel=0.15)
    optimiser = torch.optim.Adam(head.sphere.parameters(), 0.1)
    for _ in range(150):
        optimiser.zero_grad()
        terms(head, coords, target, feats)["loss_depth"].backward()
        optimiser.step()
    assert float(terms(head, coords, target, feats)["loss_depth"].detach()) < 0.2 * begun
    with torch.no_grad():
        opacity = head.sphere(feats)[:, 1]
    assert opacity[-1] < opacity[0] - 1


def test_depth_is_the_same_under_flips():
    """The augmented voxels are rendered from where the augmented cameras stand."""
    rng = np.random.default_rng(2)
    coords = torch.from_numpy(np.unique(rng.integers([14, 0, 0], GRID.shape, (400, 3)), axis=0))
    head = head_of()
    plain, flipped = sample(camera((12, 16))), sample(camera((12, 16)))
    flipped.ego_aug = torch.diag(torch.tensor([1.0, -1.0, 1.0, 1.0]))
    mirror = target_of(coords).flip(1)
    want = head.known_depths(target_of(coords), GRID, plain)
    assert want.any()
    torch.testing.assert_close(head.known_depths(mirror, GRID, flipped), want)


def test_the_term_comes_after_the_switch_and_with_its_ramp():
    coords = walls(8.0)
    target = target_of(walls(6.0))
    head = head_of(warm_shader=False)
    assert [head.learns(phase) for phase in Phase] == [False, True, True]  # warm, weak, strong
    whole, half = (terms(head, coords, target, ramp=ramp)["loss_depth"] for ramp in (1.0, 0.5))
    torch.testing.assert_close(half, whole / 2)
    strong = terms(head, coords, target, phase=Phase.STRONG)
    torch.testing.assert_close(strong["loss_depth"], whole)


def test_without_a_weight_nothing_of_it_is_computed():
    head = head_of(depth_weight=0.0)
    assert not any(head.learns(phase) for phase in Phase)
    assert terms(head, walls(8.0), target_of(walls(8.0))) == {}


def test_it_needs_no_2d_labels_and_leaves_their_terms_as_they_are():
    coords, target = walls(8.0), target_of(walls(6.0))
    only_depth = terms(head_of(), coords, target)
    assert list(only_depth) == ["loss_depth"]
    losses = {}
    for weight in (0.0, 1.0):
        head = head_of(weight_2d=1.0, depth_weight=weight)
        one = sample(camera((12, 16)))
        labels = torch.full((1, 12, 16), 3, dtype=torch.uint8)
        one.set_data({"img_semantics": labels, "img_confidence": labels * 50})
        feats, probs = torch.ones(len(coords), CHANNELS), torch.full((len(coords), 17), 1 / 17)
        known = head.known_depths(target, GRID, one) if weight else None
        losses[weight] = head.loss(feats, probs, GRID.to_centre(coords), one, 1.0, known)
    assert set(losses[1.0]) == {"loss_depth", *losses[0.0]}
    for name, value in losses[0.0].items():
        torch.testing.assert_close(losses[1.0][name], value)
