"""Projection and sampling against worked values and ``grid_sample``."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minkocc.ops.point_sampling import MIN_DEPTH, in_picture, project_points, sample_features

SIZE = (90, 160)


def camera(fx=100.0, fy=90.0, cx=80.0, cy=45.0):
    """Ego to image of a camera at the ego origin that looks along x."""
    ego2cam = torch.tensor([[0.0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    cam2img = torch.tensor([[fx, 0, cx, 0], [0, fy, cy, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return cam2img @ ego2cam


def test_projection_by_hand():
    points = torch.tensor([[10.0, 0, 0], [10.0, 2.0, 1.0], [-10.0, 0, 0], [10.0, -9.0, 0]])
    flipped = camera() @ torch.diag(torch.tensor([-1.0, 1, 1, 1]))
    uv, depth, valid = project_points(points, torch.stack([camera(), flipped]), SIZE)
    assert uv.shape == (2, 4, 2)
    torch.testing.assert_close(uv[0, :2], torch.tensor([[80.0, 45.0], [60.0, 36.0]]))
    assert depth.tolist() == [[10, 10, -10, 10], [-10, -10, 10, -10]]
    # Behind the camera, and at u = 170 of 160.
    assert valid.tolist() == [[True, True, False, False], [False, False, True, False]]


def test_borders_of_the_image_and_of_depth():
    k = camera(cx=0.0, cy=0.0, fx=1.0, fy=1.0)

    def valid(u, v, depth):
        point = torch.tensor([[depth, -u * depth, -v * depth]])
        return project_points(point, k[None], SIZE).valid.item()

    assert valid(0.0, 0.0, 1.0)
    assert not valid(-0.01, 0.0, 1.0)
    assert valid(159.99, 89.99, 1.0)
    assert not valid(160.0, 5.0, 1.0)
    assert not valid(5.0, 90.0, 1.0)
    assert valid(1.0, 1.0, 0.11)
    assert not valid(1.0, 1.0, 0.1)
    assert not valid(1.0, 1.0, 0.0)
    assert not valid(float("nan"), 1.0, 1.0)


def project_view_by_view(points, ego2img, size):
    """The former form: one product a view, whose columns are then taken apart."""
    in_image = points @ ego2img[:, :3, :3].transpose(1, 2) + ego2img[:, None, :3, 3]
    depth = in_image[..., 2]
    uv = in_image[..., :2] / depth.clamp_min(MIN_DEPTH)[..., None]
    inside = (uv >= 0).all(-1) & (uv[..., 0] < size[1]) & (uv[..., 1] < size[0])
    return uv, depth, inside & (depth > MIN_DEPTH)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(0, 50))
def test_one_product_for_all_views_is_as_good_as_one_a_view(seed, views, count):
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(views, 3, 3, generator=generator, dtype=torch.double))[0]
    move = torch.eye(4, dtype=torch.double).repeat(views, 1, 1)
    move[:, :3, :3] = turn
    move[:, :3, 3] = torch.randn(views, 3, generator=generator)
    ego2img = camera().double() @ move
    points = 20 * torch.randn(count, 3, generator=generator, dtype=torch.double)
    points.requires_grad_()
    got, expected = (form(points, ego2img, SIZE) for form in (project_points, project_view_by_view))
    assert torch.equal(got[2], expected[2])
    for a, b in zip(got[:2], expected[:2]):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    first, second = (
        torch.autograd.grad(out[0][out[2]].sum() + out[1].sum(), points)[0]
        for out in (got, expected)
    )
    torch.testing.assert_close(first, second, rtol=1e-7, atol=1e-7)


def test_what_is_outside_the_raw_image_is_border():
    shares = torch.tensor(
        [[[0.5, 0.0, 0.0], [0.0, 1.0, -0.25]], [[0.0, 0.1, 0.0], [0.1, 0.0, 0.0]]]
    )
    uv = torch.tensor([[1.0, 1.0], [1.0, 0.2], [2.0, 1.0], [1.99, 1.24], [-0.1, 1.0]])
    got = in_picture(uv.expand(2, -1, -1), shares)
    assert got[0].tolist() == [True, False, False, True, False]
    assert got[1].tolist() == [True, True, True, True, False]


def test_projection_is_exempt_from_autocast():
    points = torch.tensor([[30.01, 10.02, 1.03]])
    plain = project_points(points, camera()[None], SIZE)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = project_points(points, camera()[None], SIZE)
    assert torch.equal(plain.uv, mixed.uv)


def test_a_ramp_reproduces_its_coordinates():
    # A map at stride 4 whose value is the image coordinate of its cell's centre.
    u = (torch.arange(40) + 0.5) * 4
    v = (torch.arange(22) + 0.5) * 4
    ramp = torch.stack([u.expand(22, 40), v[:, None].expand(22, 40)])[None]
    uv = torch.rand(50, 2) * torch.tensor([150.0, 78.0]) + 4
    sampled = sample_features(ramp, torch.zeros(50).long(), uv, (88, 160))
    torch.testing.assert_close(sampled, uv)


def test_beyond_the_outer_centres_the_border_is_repeated():
    maps = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    corners = torch.tensor([[0.0, 0.0], [7.99, 0.0], [0.0, 7.99], [7.99, 7.99], [4.0, 4.0]])
    sampled = sample_features(maps, torch.zeros(5).long(), corners, (8, 8))
    torch.testing.assert_close(sampled[:, 0], torch.tensor([1.0, 2.0, 3.0, 4.0, 2.5]))


def test_equals_grid_sample_in_values_and_gradients():
    torch.manual_seed(0)
    maps = torch.randn(3, 4, 7, 9, dtype=torch.float64, requires_grad=True)
    view = torch.randint(0, 3, (60,))
    uv = torch.rand(60, 2, dtype=torch.float64) * torch.tensor([160.0, 90.0])
    uv = uv.requires_grad_()
    sampled = sample_features(maps, view, uv, SIZE)
    grid = (uv / torch.tensor([160.0, 90.0]) * 2 - 1)[None, None].expand(3, -1, -1, -1)
    everywhere = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
    expected = everywhere[view, :, 0, torch.arange(60)]
    torch.testing.assert_close(sampled, expected)
    weights = torch.randn(60, 4, dtype=torch.float64)
    for got, want in zip(
        torch.autograd.grad((sampled * weights).sum(), [maps, uv]),
        torch.autograd.grad((expected * weights).sum(), [maps, uv]),
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_type_follows_the_maps_and_nothing_gives_nothing(dtype):
    maps = torch.ones(2, 3, 4, 5, dtype=dtype, requires_grad=True)
    sampled = sample_features(maps, torch.tensor([1]), torch.tensor([[3.0, 2.0]]), SIZE)
    assert sampled.dtype == dtype
    assert sampled.tolist() == [[1, 1, 1]]
    nothing = sample_features(maps, torch.zeros(0).long(), torch.zeros(0, 2), SIZE)
    assert nothing.shape == (0, 3)
    nothing.sum().backward()


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="ego2img"):
        project_points(torch.zeros(2, 3), camera(), SIZE)
    with pytest.raises(ValueError, match="view_idx"):
        sample_features(torch.zeros(1, 1, 2, 2), torch.zeros(3).long(), torch.zeros(2, 2), SIZE)
