import math

import numpy as np
import pytest
import torch

from minkocc.models.pulsar_head import PulsarHead, RenderedViews
from minkocc.models.render_cameras import lattice_intrinsics
from minkocc.models.renderers import SphereRenderer
from minkocc.structures.occ_data_sample import OccDataSample
from minkocc.structures.render_lattice import RenderLattice

VOXEL = 0.4
CHANNELS = 6


def ego_to_cam():
    """Looks along +x from the origin."""
    matrix = torch.eye(4)
    matrix[:3, :3] = torch.tensor([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])
    return matrix


def make_sample(labels, shift=(4, 4), ego_aug=None, focal=(60.0, 66.0)):
    """One camera with off-centre, unequal intrinsics and its pseudo-labels, ``(H, W)``."""
    height, width = labels.shape
    cam2img = torch.eye(4)
    cam2img[:2, :3] = torch.tensor(
        [[focal[0], 0.0, 0.5 * width + 1.3], [0.0, focal[1], 0.5 * height - 0.7]]
    )
    lattice = RenderLattice(8, shift)
    sample = OccDataSample(metainfo={"lattice": lattice, "raw_size": (height, width)})
    sample.set_data(
        {
            "cam2img": cam2img[None],
            "ego2cam": ego_to_cam()[None],
            "ego_aug": torch.eye(4) if ego_aug is None else ego_aug,
            "img_semantics": torch.from_numpy(lattice.pick(labels[None].numpy())),
            "img_confidence": torch.full((1, height // 8, width // 8), 204, dtype=torch.uint8),
        }
    )
    return sample


def wall(distance=6.0, half=3.0):
    """Centres of a one-voxel wall across the camera, ``(V, 3)``."""
    line = torch.arange(-half, half, VOXEL) + VOXEL / 2
    y, z = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([torch.full_like(y, distance), y, z], -1).reshape(-1, 3)


@pytest.fixture(params=["spheres", "voxels"])
def head(request):
    torch.manual_seed(0)
    return PulsarHead(CHANNELS, VOXEL, renderer=request.param)


@pytest.fixture
def spheres():
    torch.manual_seed(0)
    return PulsarHead(CHANNELS, VOXEL)


def test_spheres_start_at_seven_tenths_of_a_voxel_and_opaque(spheres):
    radius, opacity = spheres.renderer.shapes(spheres.sphere(torch.randn(9, CHANNELS)))
    torch.testing.assert_close(radius, torch.full((9,), 0.7 * VOXEL))
    torch.testing.assert_close(opacity, torch.full((9,), 1 / (1 + math.exp(-4))))


def test_radius_stays_between_half_and_nine_tenths_of_a_voxel(spheres):
    torch.nn.init.normal_(spheres.sphere.weight, std=20.0)
    radius, opacity = spheres.renderer.shapes(spheres.sphere(torch.randn(200, CHANNELS)))
    assert radius.min() < 0.51 * VOXEL
    assert radius.max() > 0.89 * VOXEL
    assert ((radius >= 0.5 * VOXEL - 1e-6) & (radius <= 0.9 * VOXEL + 1e-6)).all()
    assert ((opacity >= 0) & (opacity <= 1)).all()


def test_a_voxel_is_as_opaque_along_its_edge_as_a_sphere(spheres):
    raw = torch.randn(50, 2) * 3
    voxels = PulsarHead(CHANNELS, VOXEL, renderer="voxels").renderer
    _, opacity = spheres.renderer.shapes(raw)
    torch.testing.assert_close(1 - (-voxels.densities(raw)).exp(), opacity)


def test_gamma_scales_with_the_voxel():
    assert PulsarHead(CHANNELS, 0.2).renderer.settings.gamma == pytest.approx(1.5e-3)


@pytest.mark.parametrize(
    ("raw", "rendered"), [((45, 80), (5, 10)), ((900, 1600), (112, 200)), ((47, 71), (5, 8))]
)
@pytest.mark.parametrize("shift", [(0, 0), (7, 3), (4, 4)])
def test_rendered_pixels_look_through_the_raw_pixels_they_are_compared_to(raw, rendered, shift):
    lattice = RenderLattice(8, shift)
    assert lattice.size(raw) == rendered
    cam2img = torch.eye(4, dtype=torch.float64)
    cam2img[:2, :3] = torch.tensor([[61.0, 0.0, 37.7], [0.0, 70.0, 20.1]], dtype=torch.float64)
    scaled = lattice_intrinsics(cam2img[None], lattice)[0].double()
    numbers = np.arange(raw[0] * raw[1]).reshape(1, *raw)
    read = lattice.pick(numbers)[0]
    assert read.shape == rendered
    for i in (0, 2, rendered[0] - 1):
        for j in (0, 3, rendered[1] - 1):
            row, column = 8 * i + shift[1], 8 * j + shift[0]
            assert read[i, j] == row * raw[1] + column
            ray = torch.linalg.inv(scaled) @ torch.tensor([j + 0.5, i + 0.5, 1.0]).double()
            centre = torch.tensor([column + 0.5, row + 0.5, 1.0]).double()
            expected = torch.linalg.inv(cam2img[:3, :3]) @ centre
            torch.testing.assert_close(ray, expected, rtol=0, atol=1e-5)


def test_without_2d_labels_the_lattice_is_central(head):
    assert head.lattice(OccDataSample(metainfo={"raw_size": (64, 80)})).shift == (4, 4)


def test_labels_of_another_lattice_are_refused(head):
    sample = make_sample(torch.ones((64, 80), dtype=torch.uint8))
    centres, probs = wall(), torch.rand(225, 17)
    feats = torch.zeros(225, CHANNELS)
    sample.set_metainfo({"lattice": RenderLattice(4, (0, 0))})
    with pytest.raises(ValueError, match=r"render_stride 4, PulsarHead 8"):
        head.loss(feats, probs, centres, sample, 1.0)
    sample.set_metainfo({"lattice": None})
    sample.img_semantics = torch.ones((1, 64, 80), dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"img_semantics is of \(64, 80\).*SampleLattice\(render"):
        head.loss(feats, probs, centres, sample, 1.0)
    del sample.img_semantics
    with pytest.raises(ValueError, match=r"img_semantics is missing.*LoadPseudoLabels"):
        head.warm_loss(feats, centres, sample)


def test_render_shows_the_feature_of_the_wall(head):
    sample = make_sample(torch.ones((64, 80), dtype=torch.uint8))
    centres = wall(half=5.0)
    probs = torch.zeros(len(centres), 17)
    probs[centres[:, 1] > 0, 4] = 1.0  # the left half
    probs[centres[:, 1] <= 0, 15] = 1.0
    views = head.render(torch.randn(len(centres), CHANNELS), probs, centres, sample)
    assert views.shader_logits.shape == (1, 17, 8, 10)
    assert (views.coverage > 0.95).all()
    torch.testing.assert_close(views.tied_probs.sum(1), torch.ones(1, 8, 10))
    # The principal point lies at 41.3 of 80 raw pixels: pixels 0-4 are left of it, 6-9 right.
    assert (views.tied_probs.argmax(1)[..., :5] == 4).all()
    assert (views.tied_probs.argmax(1)[..., 6:] == 15).all()


def test_prediction_in_2d(head):
    """The same wall, cut to its upper left: classes where it covers, nothing elsewhere."""
    labels = torch.arange(64 * 80).reshape(64, 80).remainder(19).byte()
    sample = make_sample(labels, shift=(0, 7))  # column 8 j, row 8 i + 7
    centres = wall(half=5.0)
    centres = centres[(centres[:, 1] > 0) & (centres[:, 2] > -1.0)]
    probs = torch.zeros(len(centres), 17)
    probs[:, 4] = 1.0
    head.predict(torch.randn(len(centres), CHANNELS), probs, centres, sample)
    tied, shader = sample.rendered_tied, sample.rendered_shader
    assert tied.dtype == shader.dtype == torch.uint8
    # Left of the principal point and above z = -1, ten rows below it, there are cars (2D id 5).
    assert (tied[0, :5, :5] == 5).all()
    assert (tied[0, :, 6:] == 0).all()
    assert (tied[0, 6:] == 0).all()
    assert shader.shape == tied.shape == (1, 8, 10)
    assert ((shader >= 1) & (shader <= 17)).all()  # the shader paints every pixel
    assert torch.equal(sample.rendered_target[0], labels[7::8, 0::8])


def test_prediction_in_2d_reads_each_path_where_it_counts(head, monkeypatch):
    sample = make_sample(torch.zeros((64, 80), dtype=torch.uint8), shift=(0, 7))
    tied, shader = torch.zeros(2, 1, 17, 1, 4)
    tied[:, 4] = shader[:, 15] = 1.0
    coverage = torch.tensor([[[0.0, 0.4, 0.5, 0.6]]])
    views = RenderedViews(shader, tied, coverage)
    monkeypatch.setattr(head, "render", lambda *_: views)
    head.predict(None, None, None, sample)
    assert sample.rendered_tied.tolist() == [[[0, 0, 0, 5]]]
    assert sample.rendered_shader.tolist() == [[[16] * 4]]


def test_prediction_in_2d_without_pseudo_labels(head):
    sample = make_sample(torch.zeros((64, 80), dtype=torch.uint8))
    del sample.img_semantics
    centres = wall()
    head.predict(torch.randn(len(centres), CHANNELS), torch.rand(len(centres), 17), centres, sample)
    assert "rendered_tied" in sample
    assert "rendered_target" not in sample


def test_tied_path_teaches_the_voxels_their_pixels_class(head):
    labels = torch.full((64, 80), 15 + 1, dtype=torch.uint8)
    labels[:, :41] = 4 + 1
    sample = make_sample(labels)
    centres = wall()
    logits = torch.zeros(len(centres), 17, requires_grad=True)
    feats = torch.zeros(len(centres), CHANNELS)
    head.shader_weight = 0.0
    optimizer = torch.optim.Adam([logits], lr=0.3)
    costs = []
    for _ in range(12):
        losses = head.loss(feats, logits.softmax(1), centres, sample, ramp=1.0)
        assert list(losses) == ["loss_2d_ce_tied"]
        optimizer.zero_grad()
        losses["loss_2d_ce_tied"].backward()
        optimizer.step()
        costs.append(losses["loss_2d_ce_tied"].item())
    assert costs[0] == pytest.approx(math.log(17), rel=1e-3)
    assert costs[-1] < 0.3 * costs[0]
    # Voxels of another column than the border's that some pixel saw.
    seen = (logits.detach().abs().sum(1) > 0) & (centres[:, 1].abs() > 2 * VOXEL)
    assert seen.sum() > 20
    expected = torch.where(centres[:, 1] > 0, 4, 15)
    assert torch.equal(logits.argmax(1)[seen], expected[seen])


def test_only_labelled_and_covered_pixels_count(head):
    centres = wall(half=0.8)
    probs = torch.full((len(centres), 17), 1 / 17)
    feats = torch.zeros(len(centres), CHANNELS)
    head.shader_weight = 0.0
    labels = torch.full((64, 80), 5, dtype=torch.uint8)
    # The wall spans 20 of the 64x80 pixels around the centre; the corners see nothing.
    cost = head.loss(feats, probs, centres, make_sample(labels), 1.0)["loss_2d_ce_tied"]
    assert cost.item() == pytest.approx(math.log(17), rel=1e-3)
    for nothing in (0, 18):
        sample = make_sample(torch.full_like(labels, nothing))
        assert head.loss(feats, probs, centres, sample, 1.0)["loss_2d_ce_tied"] == 0
    away = make_sample(torch.full_like(labels, 5))
    assert head.loss(feats, probs, -centres, away, 1.0)["loss_2d_ce_tied"] == 0


def test_weights_and_ramp_scale_the_terms(head):
    centres = wall()
    probs = torch.rand(len(centres), 17).softmax(1)
    feats = torch.randn(len(centres), CHANNELS)
    sample = make_sample(torch.full((64, 80), 3, dtype=torch.uint8))
    plain = head.loss(feats, probs, centres, sample, 1.0)
    half = head.loss(feats, probs, centres, sample, 0.5)
    for name, value in plain.items():
        torch.testing.assert_close(half[name], value / 2)
    head.tied_weight = 0.0
    assert list(head.loss(feats, probs, centres, sample, 1.0)) == ["loss_2d_ce_shader"]


@pytest.mark.parametrize(
    ("off", "left"),
    [
        ({"shader_weight": 0.0}, ["loss_2d_ce_tied"]),
        ({"tied_weight": 0.0}, ["loss_2d_ce_shader"]),
        ({"shader_weight": 0.0, "tied_weight": 0.0}, []),
        ({"weight_2d": 0.0}, []),
    ],
)
@pytest.mark.parametrize("renderer", ["spheres", "voxels"])
def test_nothing_is_computed_of_a_path_without_weight(renderer, off, left):
    head = PulsarHead(CHANNELS, VOXEL, renderer=renderer, **off)
    widths, shaded = [], []
    render = head.renderer
    head.renderer = lambda raw, values, *rest: (
        widths.append(values.shape[1]) or render(raw, values, *rest)
    )
    head.shader.register_forward_hook(lambda *_: shaded.append(True))
    centres = wall()
    feats, probs = torch.randn(len(centres), CHANNELS), torch.rand(len(centres), 17).softmax(1)
    sample = make_sample(torch.full((64, 80), 3, dtype=torch.uint8))
    assert list(head.loss(feats, probs, centres, sample, 1.0)) == left
    shader, tied = "loss_2d_ce_shader" in left, "loss_2d_ce_tied" in left
    assert widths == ([CHANNELS * shader + 17 * tied] if left else [])
    assert bool(shaded) == shader
    assert ("loss_warm_shader" in head.warm_loss(feats, centres, sample)) == shader


@pytest.mark.parametrize(
    "bad", [{"beta": 1.0}, {"beta": -0.1}, {"render_stride": 0}, {"renderer": "cubes"}]
)
def test_impossible_settings_are_refused_when_it_is_built(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ValueError, match=f"{name} {value!r}"):
        PulsarHead(CHANNELS, VOXEL, **bad)


def test_warm_loss_trains_the_shader_alone(head):
    centres = wall()
    feats = torch.randn(len(centres), CHANNELS, requires_grad=True)
    sample = make_sample(torch.full((64, 80), 3, dtype=torch.uint8))
    losses = head.warm_loss(feats, centres, sample)
    assert list(losses) == ["loss_warm_shader"]
    losses["loss_warm_shader"].backward()
    assert feats.grad is None
    for name, parameter in head.named_parameters():
        learns = parameter.grad is not None and bool(parameter.grad.any())
        assert learns == name.startswith("shader."), name


def test_confidence_can_be_left_out_of_the_weights(head):
    """Half of the image is barely trusted: with equal weights its pixels count as the others."""
    centres = wall()
    probs = torch.full((len(centres), 17), 0.1 / 16)
    probs[:, 2] = 0.9
    feats = torch.zeros(len(centres), CHANNELS)
    head.shader_weight = 0.0
    labels = torch.full((64, 80), 3, dtype=torch.uint8)  # class 2
    labels[:, 40:] = 5
    sample = make_sample(labels)
    sample.img_confidence[..., 5:] = 2
    trusted = head.loss(feats, probs, centres, sample, 1.0)["loss_2d_ce_tied"]
    head.confidence = False
    equal = head.loss(feats, probs, centres, sample, 1.0)["loss_2d_ce_tied"]
    right, wrong = -math.log(0.9), -math.log(0.1 / 16)
    assert trusted < right + 0.02 * wrong
    assert abs(equal - (right + wrong) / 2) < 0.1 * wrong
    sample.img_confidence[..., 5:] = 0  # unlabelled: none of its pixels counts
    unlabelled = head.loss(feats, probs, centres, sample, 1.0)["loss_2d_ce_tied"]
    assert unlabelled < right + 0.02 * wrong


def test_2d_loss_reaches_spheres_features_and_classifier(head):
    centres = wall()
    feats = torch.randn(len(centres), CHANNELS, requires_grad=True)
    probs = torch.rand(len(centres), 17).softmax(1).requires_grad_()
    sample = make_sample(torch.full((64, 80), 3, dtype=torch.uint8))
    sum(head.loss(feats, probs, centres, sample, 1.0).values()).backward()
    assert feats.grad.any()
    assert probs.grad.any()
    assert head.sphere.weight.grad.any()


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_3d_augmentation_leaves_the_rendering_unchanged(head, signs):
    rng = np.random.default_rng(3)
    steps = torch.tensor(rng.integers(0, 6, (225, 1)) * [1, 0, 0], dtype=torch.float32)
    centres = wall() + VOXEL * steps
    feats, probs = torch.randn(225, CHANNELS), torch.rand(225, 17)
    # Voxels turn with the grid: what is turned against it is none of its lattice.
    angle = 0.37 if isinstance(head.renderer, SphereRenderer) else 0.0
    ego_aug = torch.eye(4)
    ego_aug[:2, :2] = torch.diag(torch.tensor(signs, dtype=torch.float32)) @ torch.tensor(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    labels = torch.ones((64, 80), dtype=torch.uint8)
    plain, moved = make_sample(labels), make_sample(labels, ego_aug=ego_aug)
    with torch.no_grad():
        expected = head.render(feats, probs, centres, plain)
        got = head.render(feats, probs, centres @ ego_aug[:3, :3].T, moved)
    for name in ("coverage", "tied_probs", "shader_logits"):
        torch.testing.assert_close(
            getattr(got, name), getattr(expected, name), rtol=1e-3, atol=2e-3
        )
    assert expected.coverage.mean() > 0.5
