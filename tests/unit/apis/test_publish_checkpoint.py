import pytest
import torch

from minkocc.apis.publish_checkpoint import publish, write_card
from minkocc.engine.checkpoint_fit import load_weights
from minkocc.engine.run_settings import trained_settings
from minkocc.files.checkpoints import read_checkpoint
from minkocc.structures.errors import UserError
from tests.unit.models.tiny_model import build
from tests.unit.study.results import result

RUN = {"alpha": 0.1, "voxel_size": 0.4, "pseudo_labels": "/mine"}


def save(path, state, **meta):
    torch.save({"state_dict": state, "meta": meta, "optimizer": {"state": {}}}, path)
    return path


def test_the_published_network_is_the_trained_one(tmp_path):
    model = build()
    scenes = ["scene-0001"]
    source = save(
        tmp_path / "epoch_3.pth",
        model.state_dict(),
        run=RUN,
        iter=7,
        labelled_scenes=scenes,
        cfg="x",
    )
    size = publish(source, tmp_path / "out.pth")
    assert size == (tmp_path / "out.pth").stat().st_size < 0.6 * source.stat().st_size
    content = read_checkpoint(tmp_path / "out.pth")
    assert set(content) == {"state_dict", "meta"}
    assert content["meta"] == {
        "iter": 7,
        "labelled_scenes": scenes,
        "run": {"alpha": 0.1, "voxel_size": 0.4},
    }
    assert trained_settings(content)["alpha"] == 0.1
    other = build(seed=1)
    load_weights(other, content, "out.pth")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-3, atol=1e-6)


def test_full_precision_loses_nothing(tmp_path):
    model = build()
    publish(
        save(tmp_path / "in.pth", model.state_dict(), run=RUN), tmp_path / "out.pth", half=False
    )
    state = read_checkpoint(tmp_path / "out.pth")["state_dict"]
    assert all(torch.equal(state[name], value) for name, value in model.state_dict().items())


def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path):
    large = save(tmp_path / "large.pth", {"a": torch.tensor([1e6])}, run=RUN)
    with pytest.raises(UserError, match=r"in half precision: .*a is not finite.*--full"):
        publish(large, tmp_path / "out.pth")
    unknown = save(tmp_path / "unknown.pth", {"a": torch.ones(1)})
    with pytest.raises(UserError, match="does not say how it was trained"):
        publish(unknown, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_the_card_says_what_it_is(tmp_path):
    figures = result("a", 0, 12.5)
    figures["final"]["occ3d"]["num_frames"] = 100
    figures["steps"]["train"]["machine"] = "a machine"
    figures |= {"config": "configs/x.py", "options": {"replay": 0.5}}
    figures["knobs"]["train_mask"] = "camera"
    figures["labels_read"] = {"labelled_frames": 60, "all_frames": 600}
    write_card(tmp_path / "card.md", "x.pth", figures, "made by a command")
    card = (tmp_path / "card.md").read_text()
    for words in (
        "`configs/x.py` with `replay=0.5`", "60 of 600", "60 minutes", "c0ffee", "a machine",
        "| mIoU (occ3d) | 12.5 |", "| IoU bus | absent |", "Apache-2.0", "made by a command",
    ):  # fmt: skip
        assert words in card
