import pytest
import torch
from mmengine.registry import init_default_scope

from minkocc.models.image_encoder import ImageEncoder
from minkocc.registry import MODELS
from minkocc.structures.errors import UserError

BACKBONE = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8, "style": "pytorch"}
NECK = {"type": "mmdet.FPN", "in_channels": [8, 16, 32, 64], "out_channels": 8, "num_outs": 4}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope("minkocc")


def test_views_are_folded_into_the_batch_and_back():
    encoder = ImageEncoder(BACKBONE, NECK).eval()
    imgs = torch.randn(2, 3, 3, 64, 96)
    levels = encoder(imgs)
    assert [tuple(level.shape) for level in levels] == [
        (2, 3, 8, 16, 24),
        (2, 3, 8, 8, 12),
        (2, 3, 8, 4, 6),
        (2, 3, 8, 2, 3),
    ]
    alone = encoder(imgs[1:, 2:])
    torch.testing.assert_close(levels[0][1:, 2:], alone[0])


def test_batch_norm_learns_from_scratch_and_is_frozen_when_pretrained():
    scratch = ImageEncoder(BACKBONE, NECK).train()
    assert scratch.backbone.bn1.training
    assert not ImageEncoder(BACKBONE, NECK, "some.pth").train().backbone.bn1.training


SWIN = {
    "type": "mmdet.SwinTransformer", "embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1,) * 4,
    "window_size": 4,
}  # fmt: skip
PVT = {
    "type": "mmdet.PyramidVisionTransformerV2", "embed_dims": 8, "num_layers": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("backbone", "widths"), [(SWIN, [8, 16, 32, 64]), (PVT, [8, 8, 8, 8])], ids=["Swin", "PVT"]
)
def test_backbones_without_batch_norm_serve_too(backbone, widths):
    encoder = ImageEncoder(backbone, {**NECK, "in_channels": widths}).train()
    levels = encoder(torch.randn(1, 2, 3, 64, 96))
    assert [level.shape[-2:] for level in levels] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    sum(level.sum() for level in levels).backward()
    assert all(p.grad is not None for p in encoder.neck.parameters())


@pytest.mark.parametrize(
    ("backbone", "widths"), [(SWIN, [8, 16, 32, 64]), (PVT, [8, 8, 8, 8])], ids=["Swin", "PVT"]
)
def test_backbones_without_batch_norm_begin_with_weights_too(backbone, widths, tmp_path):
    neck = {**NECK, "in_channels": widths}
    made = ImageEncoder(backbone, neck)
    start = "backbone." if backbone is SWIN else ""  # as mmdet's own code wants them
    state = {f"{start}{name}": value for name, value in made.backbone.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    encoder = ImageEncoder(backbone, neck, str(tmp_path / "weights.pth"))
    encoder.init_weights()
    for name, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, made.backbone.state_dict()[name]), name


@pytest.mark.parametrize("prefix", ["", "module."])
def test_pretrained_weights_are_taken_under_either_name(prefix, tmp_path):
    made = ImageEncoder(BACKBONE, NECK)
    state = {f"{prefix}{name}": value for name, value in made.backbone.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    encoder = ImageEncoder(BACKBONE, NECK, str(tmp_path / "weights.pth"))
    encoder.init_weights()
    assert torch.equal(encoder.backbone.conv1.weight, made.backbone.conv1.weight)


def test_a_bare_state_dict_is_taken_too(tmp_path):
    neck = {**NECK, "in_channels": [8, 8, 8, 8]}
    made = ImageEncoder(PVT, neck)
    torch.save(made.backbone.state_dict(), tmp_path / "weights.pth")
    encoder = ImageEncoder(PVT, neck, str(tmp_path / "weights.pth"))
    encoder.init_weights()
    for name, value in encoder.backbone.state_dict().items():
        assert torch.equal(value, made.backbone.state_dict()[name]), name


DEEPER = {**BACKBONE, "depth": 50}
OTHERS = {
    "a detector": lambda: {
        f"backbone.{name}": value
        for name, value in ImageEncoder(BACKBONE, NECK).backbone.state_dict().items()
    },
    "of another depth": lambda: MODELS.build({**DEEPER, "base_channels": 8}).state_dict(),
    "nothing of it": lambda: {"backbone.x": torch.ones(1)},
}


@pytest.mark.parametrize("other", OTHERS)
def test_weights_of_another_backbone_are_refused(other, tmp_path):
    torch.save({"state_dict": OTHERS[other]()}, tmp_path / "other.pth")
    encoder = ImageEncoder(BACKBONE, NECK, str(tmp_path / "other.pth"))
    with pytest.raises(UserError, match=r"gives \d+ of the backbone's \d+ weights: it holds"):
        encoder.init_weights()


@pytest.mark.parametrize("kind", ["ResNetV1d", "ResNeXt", "Res2Net"])
def test_batch_norm_learns_in_descendants_of_resnet_too(kind):
    more = {"ResNeXt": {"groups": 2, "base_width": 4}, "Res2Net": {"scales": 2, "base_width": 26}}
    backbone = {"type": f"mmdet.{kind}", "depth": 50, "base_channels": 8, **more.get(kind, {})}
    given = dict(backbone)
    neck = {**NECK, "in_channels": [32, 64, 128, 256]}
    encoder = ImageEncoder(backbone, neck).train()
    norms = [m for m in encoder.backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.training for norm in norms)
    assert backbone == given


def test_torchvision_weights_are_asked_for_without_torchvision(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = []

    def download(url, path, *rest, **kwargs):
        asked.append(url)
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    encoder = ImageEncoder(BACKBONE, NECK, "torchvision://resnet50")
    with pytest.raises(UserError, match=r"image_pretrained = 'torchvision://resnet50'.*no network"):
        encoder.init_weights()
    assert asked == ["https://download.pytorch.org/models/resnet50-0676ba61.pth"]
