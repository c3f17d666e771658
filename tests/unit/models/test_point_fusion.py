import pytest
import torch

from minkocc.models.point_fusion import PointFusion

SIZE = (16, 16)
POINT, IMAGE, OUT = 3, 2, 5


def camera(cx):
    """Looks along +x from the origin: u = cx - 10 y / x, v = 8 - 10 z / x."""
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[cx, -10.0, 0.0], [8.0, 0.0, -10.0], [1.0, 0.0, 0.0]])
    return matrix


def point_at(u, v, depth=4.0):
    """The point that the camera with cx = 8 sees at a pixel."""
    return [depth, (8.0 - u) * depth / 10, (8.0 - v) * depth / 10]


# The second view sees everything 5 pixels further right.
EGO2IMG = torch.stack([camera(8.0), camera(13.0)])
BOTH, FIRST, SECOND = point_at(6.0, 10.0), point_at(14.0, 2.0), point_at(-3.0, 6.0)
NONE = point_at(30.0, 30.0)
BEHIND = [-value for value in BOTH]  # its mirrored projection is BOTH's pixel


@pytest.fixture
def fusion():
    torch.manual_seed(0)
    return PointFusion(POINT, IMAGE, num_levels=2, out_channels=OUT).eval()


@pytest.fixture
def levels():
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, IMAGE, 16, 16), (2, IMAGE, 4, 4)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def read(levels, view, u, v):
    """Both levels at an even pixel that is the centre of a cell of the coarse one."""
    assert u % 4 == v % 4 == 2
    fine = levels[0][view, :, v - 1 : v + 1, u - 1 : u + 1].mean((1, 2))
    return torch.cat([fine, levels[1][view, :, v // 4, u // 4]])


def image_features(fusion, points, levels, ego2img, size):
    """Weighted sum over the views of every point of one sample, ``(P, num_levels * C)``."""
    feats, weight, point = fusion.sample_views(
        [points], [level[None] for level in levels], ego2img[None], size
    )
    return feats.new_zeros(len(points), feats.shape[1]).index_add(0, point, feats * weight[:, None])


def test_one_view_gives_exactly_its_feature(fusion, levels):
    points = torch.tensor([FIRST, SECOND])
    got = image_features(fusion, points, levels, EGO2IMG, SIZE)
    expected = torch.stack([read(levels, 0, 14, 2), read(levels, 1, 2, 6)])
    torch.testing.assert_close(got, expected)


def test_no_view_gives_zero(fusion, levels):
    got = image_features(fusion, torch.tensor([NONE, BOTH]), levels, EGO2IMG, SIZE)
    assert (got[0] == 0).all()
    assert (got[1] != 0).all()


def test_the_black_border_of_an_augmented_image_is_not_seen(fusion, levels):
    points = torch.tensor([BOTH, FIRST])
    whole = torch.tensor([[1 / 16, 0, 0], [0, 1 / 16, 0]])  # the raw image fills the input
    left = torch.tensor([[1 / 10, 0, 0], [0, 1 / 16, 0]])  # it ends at column 10 of it

    def feats(first):
        return fusion.sample_views(
            [points], [v[None] for v in levels], EGO2IMG[None], SIZE, [torch.stack([first, whole])]
        )

    assert feats(whole).point.tolist() == [0, 1, 0]
    cut = feats(left)
    assert cut.point.tolist() == [0, 0]  # FIRST falls on column 14
    torch.testing.assert_close(cut.feats[0], read(levels, 0, 6, 10))


def test_behind_the_camera_is_never_sampled(fusion, levels):
    for level in levels:
        level.requires_grad_()
    got = image_features(fusion, torch.tensor([BEHIND]), levels, EGO2IMG, SIZE)
    assert (got == 0).all()
    got.sum().backward()
    assert all(level.grad is None or not level.grad.any() for level in levels)


def test_two_views_are_mixed_by_the_softmax_of_their_logits(fusion, levels):
    # At (6, 10) and (11, 10): the second is read off the fine map by hand, bilinearly.
    def at(view, u, v):
        fine = levels[0][view, :, v - 1 : v + 1, u - 1 : u + 1].mean((1, 2))
        x = u / 4 - 0.5
        left = int(x)
        share = x - left
        row = levels[1][view, :, v // 4]
        return torch.cat([fine, row[:, left] * (1 - share) + row[:, left + 1] * share])

    pair = torch.stack([at(0, 6, 10), at(1, 11, 10)])
    weight = fusion.view_logit(pair).squeeze(1).softmax(0)
    expected = weight[0] * pair[0] + weight[1] * pair[1]
    got = image_features(fusion, torch.tensor([BOTH]), levels, EGO2IMG, SIZE)[0]
    torch.testing.assert_close(got, expected)
    assert 0.01 < weight[0] < 0.99


def test_large_logits_do_not_overflow(fusion, levels):
    with torch.no_grad():
        fusion.view_logit[2].weight.mul_(1e4)
    got = image_features(fusion, torch.tensor([BOTH]), levels, EGO2IMG, SIZE)
    assert got.isfinite().all()
    assert (got != 0).all()


def test_gradient_reaches_the_sampled_cells_only(fusion, levels):
    for level in levels:
        level.requires_grad_()
    points = torch.tensor([FIRST, BEHIND, NONE])
    image_features(fusion, points, levels, EGO2IMG, SIZE).sum().backward()
    fine, coarse = (torch.zeros_like(level) for level in levels)
    fine[0, :, 1:3, 13:15] = 0.25
    coarse[0, :, 0, 3] = 1.0
    torch.testing.assert_close(levels[0].grad, fine)
    torch.testing.assert_close(levels[1].grad, coarse)


def test_samples_of_a_batch_use_their_own_maps_cameras_and_points(fusion, levels):
    other = [level.flip(1) * 2 for level in levels]
    moved = EGO2IMG.flip(0)
    clouds = [torch.tensor([BOTH, FIRST, NONE]), torch.tensor([SECOND, BOTH])]
    feats = torch.randn(5, POINT, generator=torch.Generator().manual_seed(2))
    batched = fusion(
        clouds,
        feats,
        [torch.stack(pair) for pair in zip(levels, other)],
        torch.stack([EGO2IMG, moved]),
        SIZE,
    )
    first = fusion(clouds[:1], feats[:3], [v[None] for v in levels], EGO2IMG[None], SIZE)
    second = fusion(clouds[1:], feats[3:], [v[None] for v in other], moved[None], SIZE)
    assert batched.shape == (5, OUT)
    torch.testing.assert_close(batched, torch.cat([first, second]))


def test_is_an_mlp_on_the_point_and_the_weighted_image_feature():
    """The first layer comes before the sum over the views; values and gradients are the same."""
    torch.manual_seed(3)
    fusion = PointFusion(POINT, IMAGE, num_levels=2, out_channels=OUT).double()
    levels = [
        torch.randn(2, IMAGE, size, size, dtype=torch.double, requires_grad=True)
        for size in (16, 4)
    ]
    points = torch.tensor([BOTH, FIRST, SECOND, NONE, BEHIND]).double()
    feats = torch.randn(5, POINT, dtype=torch.double, requires_grad=True)
    cameras = EGO2IMG.double()
    images = image_features(fusion, points, levels, cameras, SIZE)
    expected = fusion.mlp(torch.cat([feats, images], 1))
    got = fusion([points], feats, [level[None] for level in levels], cameras[None], SIZE)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    inputs = [feats, *levels, *fusion.parameters()]
    towards = torch.randn_like(got)
    for mine, reference in zip(
        torch.autograd.grad(got, inputs, towards), torch.autograd.grad(expected, inputs, towards)
    ):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)
