"""Voxel rendering against worked values and a dense reference."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minkocc.ops import sphere_hits, voxel_hits
from minkocc.ops.voxel_hits import find_voxel_hits
from minkocc.ops.voxel_render import VoxelRenderSettings, render_voxels
from tests.unit.ops.voxel_reference import random_voxels, render_dense

SIZE = (6, 9)
NEAR = VoxelRenderSettings(min_depth=0.1, max_depth=9.0, max_hits=40)
FINDERS = ["numba", "torch"]


def along_z(*depths, densities=None, x=0.0, min_depth=0.1, size=1.0, finder="auto", max_hits=8):
    """What the one pixel of a camera at the origin sees of voxels at these depths; one-hot."""
    centres = torch.tensor([[x, 0.0, z] for z in depths], dtype=torch.float64).view(-1, 3)
    k = torch.tensor([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]).double()[None]
    densities = torch.tensor(densities or [1.0] * len(depths), dtype=torch.float64)
    how = VoxelRenderSettings(min_depth, 60.0, max_hits, finder)
    one_hot = torch.eye(len(depths)).double()
    out = render_voxels(
        centres, size, densities, one_hot, torch.eye(4).double()[None], k, (1, 1), how
    )
    return out.features[0, :, 0, 0].tolist(), out.coverage.item(), out.depth.item()


@pytest.mark.parametrize("finder", FINDERS)
def test_two_voxels_by_hand(finder):
    weights, coverage, depth = along_z(5.0, 3.0, densities=[2.0, 0.5], finder=finder)
    front, back = 1 - math.exp(-0.5), math.exp(-0.5) * (1 - math.exp(-2))
    assert weights == pytest.approx([back, front])
    assert coverage == pytest.approx(front + back)
    assert depth == pytest.approx((3 * front + 5 * back) / (front + back))


@pytest.mark.parametrize("finder", FINDERS)
def test_the_part_that_is_too_near_does_not_count(finder):
    """A camera inside of a voxel, and one whose near end lies in it."""
    assert along_z(0.0, finder=finder)[1] == pytest.approx(1 - math.exp(-0.4))
    assert along_z(0.0, min_depth=0.0, finder=finder)[1] == pytest.approx(1 - math.exp(-0.5))
    coverage, depth = along_z(1.5, min_depth=1.75, finder=finder)[1:]
    assert coverage == pytest.approx(1 - math.exp(-0.25))
    assert depth == pytest.approx(1.875)


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize("gone", [-3.0, 61.0, 0.0])
def test_what_is_behind_too_far_or_nowhere_is_not_seen(finder, gone):
    voxels = (gone,) if gone else ()
    weights, coverage, depth = along_z(*voxels, finder=finder)
    assert (weights, coverage, depth) == ([0.0] * len(voxels), 0.0, 0.0)


@pytest.mark.parametrize("finder", FINDERS)
def test_a_face_belongs_to_the_voxel_above_it(finder):
    """The ray runs in the plane between two voxels side by side."""
    centres = torch.tensor([[-0.5, 0.0, 3.0], [0.5, 0.0, 3.0]], dtype=torch.float64)
    k = torch.tensor([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]).double()[None]
    eye = torch.eye(4).double()[None]
    hits = find_voxel_hits(centres, 1.0, eye, k, (1, 1), (0.1, 60.0), 4, finder)
    assert hits.voxel[0, 0].tolist() == [1, -1, -1, -1]
    assert (hits.near[0, 0, 0], hits.far[0, 0, 0]) == (2.5, 3.5)


@pytest.mark.parametrize("finder", FINDERS)
def test_only_the_first_voxels_count(finder):
    whole = along_z(2.0, 3.0, 4.0, 5.0, finder=finder)[0]
    cut = along_z(2.0, 3.0, 4.0, 5.0, finder=finder, max_hits=2)[0]
    assert cut == pytest.approx([*whole[:2], 0.0, 0.0])


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize(("views", "max_hits"), [(1, 40), (6, 40), (2, 3)])
def test_values_and_gradients_equal_the_dense_reference(views, max_hits, finder):
    how = replace(NEAR, max_hits=max_hits, finder=finder)
    centres, densities, features, pose, k = random_voxels(12, views=views)
    inputs = [densities.requires_grad_(), features.requires_grad_()]
    out = render_voxels(centres, 0.5, *inputs, pose, k, SIZE, how)
    expected = render_dense(centres, 0.5, *inputs, pose, k, SIZE, how)
    assert out.coverage.max() > 0.5
    grads = []
    for maps in (out, expected):
        loss = sum((m * torch.linspace(-1, 2, m.numel()).view(m.shape)).sum() for m in maps)
        grads.append(torch.autograd.grad(loss, inputs))
    for got, want in (*zip(out, expected), *zip(*grads)):
        assert want.abs().max() > 0
        torch.testing.assert_close(got, want)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31 - 1),
    voxels=st.integers(1, 80),
    max_hits=st.integers(1, 6),
    near=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_finders_miss_nothing(seed, voxels, max_hits, near):
    centres, densities, features, pose, k = random_voxels(seed, voxels)
    arguments = (centres, 0.5, pose, k, SIZE, (near, 4.0), max_hits)
    walked, searched = (find_voxel_hits(*arguments, finder) for finder in FINDERS)
    assert torch.equal(walked.voxel, searched.voxel)
    torch.testing.assert_close(walked.near, searched.near)
    torch.testing.assert_close(walked.far, searched.far)
    how = VoxelRenderSettings(near, 4.0, max_hits)
    out = render_voxels(centres, 0.5, densities, features, pose, k, SIZE, how)
    for got, want in zip(out, render_dense(centres, 0.5, densities, features, pose, k, SIZE, how)):
        torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-5)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31 - 1), voxels=st.integers(1, 400), max_hits=st.integers(1, 6))
def test_empty_space_is_passed_in_blocks_and_nothing_in_it_missed(seed, voxels, max_hits):
    """Few voxels in a wide space, whose edges are whole blocks or not."""
    _, _, _, pose, k = random_voxels(seed, 1)
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(-40, 40, (voxels, 3), generator=generator)
    flat = torch.randint(0, 3, (1,), generator=generator)
    index[:, flat] = index[:, flat].div(8, rounding_mode="floor")
    centres = 0.5 * index.unique(dim=0).double()
    arguments = (centres, 0.5, pose, k, SIZE, (0.5, 40.0), max_hits)
    walked, searched = (find_voxel_hits(*arguments, finder) for finder in FINDERS)
    assert torch.equal(walked.voxel, searched.voxel)
    torch.testing.assert_close(walked.near, searched.near)
    torch.testing.assert_close(walked.far, searched.far)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ahead", [3, 4, 5, 8, 9, 30])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_ray_along_an_axis_finds_what_is_behind_empty_blocks(axis, ahead, sign):
    """It runs in a face of blocks, whose layers above it are its own, and along no other axis."""
    behind = torch.zeros(2, 3).double()
    behind[1, axis] = sign * ahead
    ray = torch.zeros(3).double()
    ray[axis] = sign
    other = ray.roll(1)
    pose = torch.eye(4).double()
    pose[:3, :3] = torch.stack([torch.linalg.cross(other, ray), other, ray])
    k = torch.tensor([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]]).double()[None]
    hits = find_voxel_hits(behind, 1.0, pose[None], k, (1, 1), (1.0, 60.0), 3, "numba")
    assert hits.voxel.flatten().tolist() == [1, -1, -1]
    assert hits.near[0, 0, 0] == pytest.approx(ahead - 0.5)
    assert hits.far[0, 0, 0] == pytest.approx(ahead + 0.5)


@pytest.mark.parametrize("focal", [1.0, 3.0])
@pytest.mark.parametrize("start", [0.0, 1 / 3])
@pytest.mark.parametrize("size", [0.4, 1.0])
def test_rays_through_corners_of_empty_blocks_come_to_an_end(focal, start, size):
    """Where a ray leaves two layers at once, rounding led it back and forth between two blocks."""
    corners = size * torch.tensor([[-20.0, -17.0, -4.0], [23.0, 19.0, 40.0]]).double()
    pose = torch.eye(4).double()[None].repeat(2, 1, 1)
    pose[1, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]).double())
    pose[:, :3, 3] = start * size
    k = torch.tensor([[focal, 0, 20.0], [0, focal, 20.0], [0, 0, 1]]).double().repeat(2, 1, 1)
    arguments = (corners, size, pose, k, (40, 40), (0.0, 100.0), 3)
    walked, searched = (find_voxel_hits(*arguments, finder) for finder in FINDERS)
    assert torch.equal(walked.voxel >= 0, searched.voxel >= 0)


def test_gradcheck():
    centres, densities, features, pose, k = random_voxels(3, voxels=120, views=1)
    inputs = densities.requires_grad_(), features.requires_grad_()

    def render(*values):
        return render_voxels(centres, 0.5, *values, pose, k, (3, 4), replace(NEAR, max_hits=5))

    assert torch.autograd.gradcheck(render, inputs)


@pytest.mark.parametrize("finder", FINDERS)
def test_float32_is_close_to_float64(finder):
    centres, densities, features, pose, k = random_voxels(8)
    how = replace(NEAR, finder=finder)
    exact = render_voxels(centres, 0.5, densities, features, pose, k, SIZE, how)
    found = render_voxels(
        *(x.float() for x in (centres,)), 0.5, densities.float(), features.float(), pose.float(),
        k.float(), SIZE, how,
    )  # fmt: skip
    assert found.features.dtype == found.depth.dtype == torch.float32
    for got, want in zip(found, exact):
        torch.testing.assert_close(got.double(), want, atol=1e-4, rtol=1e-4)


def test_finders_work_in_pieces(monkeypatch):
    centres, *_, pose, k = random_voxels(1, voxels=90)
    arguments = (centres, 0.5, pose, k, SIZE, (0.1, 9.0), 4)
    whole = [find_voxel_hits(*arguments, finder) for finder in FINDERS]
    monkeypatch.setattr(sphere_hits, "_MAX_CANDIDATES", 50)
    monkeypatch.setattr(voxel_hits, "_PIECES", 7)
    for finder, expected in zip(FINDERS, whole):
        for got, want in zip(find_voxel_hits(*arguments, finder), expected):
            assert torch.equal(got, want)


def test_a_table_that_would_be_too_large_is_not_made(monkeypatch):
    centres, *_, pose, k = random_voxels(2)
    arguments = (centres, 0.5, pose, k, SIZE, (0.1, 9.0), 4)
    walked = find_voxel_hits(*arguments)
    monkeypatch.setattr(voxel_hits, "_TABLE_LIMIT", 10)
    monkeypatch.setattr(voxel_hits, "_walk", None)
    torch.testing.assert_close(find_voxel_hits(*arguments), walked)


@pytest.mark.parametrize("finder", FINDERS)
@pytest.mark.parametrize(("voxels", "views"), [(0, 2), (5, 0)])
def test_nothing_to_see_and_nobody_to_see_it(voxels, views, finder):
    centres, densities, features, pose, k = random_voxels(0, voxels=5)
    some, how = densities[:voxels].requires_grad_(), replace(NEAR, finder=finder)
    out = render_voxels(
        centres[:voxels], 0.5, some, features[:voxels], pose[:views], k[:views], SIZE, how
    )
    assert out.features.shape == (views, 3, *SIZE)
    assert not any(m.any() for m in out)
    sum(m.sum() for m in out).backward()


def test_autocast_does_not_reach_the_renderer():
    centres, densities, features, pose, k = (x.float() for x in random_voxels(4))
    expected = render_voxels(centres, 0.5, densities, features, pose, k, SIZE, NEAR)
    with torch.autocast("cpu", torch.bfloat16):
        found = render_voxels(centres, 0.5, densities, features, pose, k, SIZE, NEAR)
    assert all(torch.equal(got, want) for got, want in zip(found, expected))


def test_next_to_nothing_has_a_finite_gradient():
    centres, _, features, pose, k = (x.float() for x in random_voxels(4))
    densities = torch.full((len(centres),), 1e-38, requires_grad=True)
    out = render_voxels(centres, 0.5, densities, features, pose, k, SIZE, NEAR)
    (out.depth * 0).sum().backward()
    assert densities.grad.isfinite().all()


def test_dense_voxels_hide_what_is_behind_without_a_nan():
    weights, coverage, _ = along_z(2.0, 3.0, densities=[1e9, 1e9])
    assert weights == [1.0, 0.0]
    assert coverage == 1.0
    assert along_z(2.0, 3.0, densities=[0.0, 3.0])[0][0] == 0.0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"min_depth": -1}, "min_depth -1"),
        ({"max_depth": 0.1}, r"max_depth 0\.1"),
        ({"max_hits": 0}, "max_hits 0"),
        ({"finder": "cuda"}, "finder 'cuda'"),
    ],
)
def test_senseless_settings_are_refused(change, match):
    with pytest.raises(ValueError, match=match):
        replace(NEAR, **change)


def test_wrong_arguments_are_named():
    centres, densities, features, pose, k = random_voxels(0)
    with pytest.raises(ValueError, match=r"densities has shape \(59,\): expected \(60,\)"):
        render_voxels(centres, 0.5, densities[1:], features, pose, k, SIZE)
    with pytest.raises(ValueError, match=r"lie up to .* voxels off a lattice of 0\.4 m"):
        render_voxels(centres, 0.4, densities, features, pose, k, SIZE)
    with pytest.raises(ValueError, match="unknown finder 'cuda'"):
        find_voxel_hits(centres, 0.5, pose, k, SIZE, (1.0, 9.0), 4, "cuda")
