import torch
from torch.utils.data._utils.pin_memory import pin_memory

from minkocc.structures.occ_data_sample import OccDataSample


def test_the_dataloader_pins_every_tensor_of_a_sample(monkeypatch):
    """Without a card, on which torch refuses to pin, the call is what can be looked at."""
    asked = []
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda tensor, *_: asked.append(tensor) or tensor.clone()
    )
    sample = OccDataSample(
        voxel_semantics=torch.ones(2, 2, 2), ego2img=torch.eye(4), own="b", metainfo={"token": "a"}
    )
    batch = pin_memory({"inputs": {"points": [torch.ones(3, 5)]}, "data_samples": [sample]})
    assert len(asked) == 3
    (pinned,) = batch["data_samples"]
    assert isinstance(pinned, OccDataSample)
    assert pinned is not sample
    assert pinned.token == "a"
    assert sorted(pinned.keys()) == ["ego2img", "own", "voxel_semantics"]
    assert pinned.own == "b"
    assert torch.equal(pinned.ego2img, sample.ego2img)
