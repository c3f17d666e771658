"""Checkpoints by path and by address: whatever they hold, nothing of it is run."""

import functools
import http.server
import threading

import pytest
import torch
from mmengine.runner import CheckpointLoader

from minkocc.files.checkpoints import load_safely, local_checkpoint, read_checkpoint
from minkocc.files.reading import UnsafeFileError
from minkocc.models.image_encoder import ImageEncoder
from minkocc.structures.errors import UserError
from tests.bomb import Bomb


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A folder, the address it is served under, and a download cache of its own."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_remote_checkpoint_is_fetched_once_and_read(served):
    folder, address = served
    torch.save({"state_dict": {"a": torch.ones(2)}}, folder / "good.pth")
    assert read_checkpoint(f"{address}/good.pth")["state_dict"]["a"].tolist() == [1, 1]
    (folder / "good.pth").unlink()
    assert read_checkpoint(f"{address}/good.pth")["state_dict"]["a"].tolist() == [1, 1]


@pytest.mark.parametrize("read", [read_checkpoint, CheckpointLoader.load_checkpoint])
def test_code_in_a_remote_checkpoint_is_not_run(served, tmp_path, read):
    folder, address = served
    load_safely()
    torch.save({"state_dict": {}, "note": Bomb(tmp_path / "ran")}, folder / "bad.pth")
    with pytest.raises(UnsafeFileError, match="could run code: refused"):
        read(f"{address}/bad.pth")
    assert not (tmp_path / "ran").exists()


def test_code_in_remote_backbone_weights_is_not_run(served, tmp_path):
    folder, address = served
    torch.save({"note": Bomb(tmp_path / "ran")}, folder / "bad.pth")
    encoder = ImageEncoder(
        {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8},
        {"type": "mmdet.FPN", "in_channels": [8, 16, 32, 64], "out_channels": 8, "num_outs": 4},
        image_pretrained=f"{address}/bad.pth",
    )
    with pytest.raises(UserError, match=r"image_pretrained .*could run code: refused"):
        encoder.init_weights()
    assert not (tmp_path / "ran").exists()


def test_backbone_weights_that_are_not_finite_are_not_begun_with(tmp_path):
    torch.save({"conv1.weight": torch.full((8, 3, 7, 7), float("nan"))}, tmp_path / "nan.pth")
    encoder = ImageEncoder(
        {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8},
        {"type": "mmdet.FPN", "in_channels": [8, 16, 32, 64], "out_channels": 8, "num_outs": 4},
        image_pretrained=str(tmp_path / "nan.pth"),
    )
    with pytest.raises(UserError, match=r"image_pretrained .*conv1\.weight is not finite"):
        encoder.init_weights()


def test_what_cannot_be_fetched_says_so(served):
    _, address = served
    with pytest.raises(UserError, match=r"none\.pth cannot be downloaded .*name a local file"):
        read_checkpoint(f"{address}/none.pth")
    for name in ("open-mmlab://resnet50", "torchvision://resnet5000", "s3://bucket/a.pth"):
        with pytest.raises(UserError, match=r"only http://, https:// and torchvision://resnet18"):
            local_checkpoint(name)


def test_a_file_that_is_no_checkpoint_is_not_called_malicious(tmp_path):
    (tmp_path / "config.py").write_text("alpha = 0.1\n")
    with pytest.raises(UserError, match=r"config\.py is not a checkpoint"):
        read_checkpoint(tmp_path / "config.py")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list, expected a checkpoint"):
        read_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize("part", ["state_dict", "ema_state_dict", "meta", "message_hub"])
@pytest.mark.parametrize("value", [3, [1], None, "x"], ids=str)
def test_parts_that_are_no_dicts_are_named(tmp_path, part, value):
    torch.save({"state_dict": {"a": torch.ones(1)}, part: value}, tmp_path / "odd.pth")
    kind = type(value).__name__
    with pytest.raises(UserError, match=rf"odd\.pth is not a checkpoint: its {part} is a {kind}"):
        read_checkpoint(tmp_path / "odd.pth")


def test_a_flipped_bit_of_a_weight_is_found(tmp_path):
    """torch itself passes over the checksums: another weight would be trained on, or tested."""
    path = tmp_path / "flipped.pth"
    torch.save({"state_dict": {"a": torch.full((64,), 1.5)}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((64,), 1.5).numpy().tobytes()) + 5] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["state_dict"]["a"].isfinite().all()
    with pytest.raises(UserError, match=r"flipped\.pth cannot be read .*(CRC|checksum)"):
        read_checkpoint(path)


@pytest.mark.parametrize("place", [-26, -22])
def test_a_damaged_end_of_an_archive_is_named(tmp_path, place):
    path = tmp_path / "c.pth"
    torch.save({"state_dict": {"a": torch.ones(2)}}, path)
    content = bytearray(path.read_bytes())
    content[place] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"c\.pth cannot be read"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state_dict": {"a": torch.ones(3).to_sparse()}}, "state_dict.a is sparse"),
        ({"message_hub": {"log_scalars": 3}}, "its log is damaged"),
        ({"message_hub": {"log_scalars": {"loss": torch.ones(2)}}}, "its log is damaged"),
        ({"message_hub": {"log_scalars": {"loss": [torch.ones(2), torch.ones(3)]}}}, "damaged"),
        ({"message_hub": {"log_scalars": {"loss": [1, 2]}}}, "its log is damaged"),
    ],
)
def test_what_no_one_can_go_on_from_is_refused(tmp_path, change, words):
    torch.save({"state_dict": {"a": torch.ones(2)}, **change}, tmp_path / "c.pth")
    with pytest.raises(UserError, match=rf"c\.pth: .*{words}"):
        read_checkpoint(tmp_path / "c.pth")
