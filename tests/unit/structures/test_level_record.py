import pytest
import torch

from minkocc.structures.pruning import LevelRecord


@pytest.mark.parametrize("wrong", ["coords", "logits", "kept"])
def test_tensors_of_another_batch_are_refused(wrong):
    fields = {
        "coords": torch.zeros(3, 3, dtype=torch.int32),
        "logits": torch.zeros(3),
        "kept": torch.zeros(3, dtype=torch.bool),
    }
    LevelRecord(stride=1, **fields, cut=0, threshold=0.5)
    fields[wrong] = torch.zeros(3, 4)  # with the batch's column, say
    with pytest.raises(ValueError, match=r"expected \(V, 3\), \(V,\) and \(V,\)"):
        LevelRecord(stride=1, **fields, cut=0, threshold=0.5)
