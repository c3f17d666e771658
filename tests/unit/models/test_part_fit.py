import pytest
from mmengine.registry import init_default_scope

from minkocc.registry import MODELS
from tests.unit.models.test_hard_voxel_encoder import FIXED_POINTS, FUSION
from tests.unit.models.tiny_model import SMALL_RANGE, build

GRID = {"point_cloud_range": SMALL_RANGE, "voxel_size": 0.4}
OURS = {"type": "DynamicVoxelEncoder", **GRID, "point_channels": [8], "fusion": None}
THEIRS = {
    "type": "HardVoxelEncoder", **GRID, "encoder": FIXED_POINTS, "channels": 16, "fusion": FUSION,
}  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"voxel_encoder": {**THEIRS, "fusion": {**FUSION, "image_channels": 12}}},
            r"fusion\.image_channels is 12, and image_encoder\.neck\.out_channels is 8: set both",
        ),
        (
            {"voxel_encoder": {**THEIRS, "fusion": {**FUSION, "out_channels": 12}}},
            r"genunet\.in_channels is 16, and the voxel_encoder's width is 12",
        ),
        (
            {"image_encoder": None, "voxel_encoder": OURS},
            r"genunet\.in_channels is 16, and the voxel_encoder's width is 8",
        ),
        (
            {"semantic_head": {"type": "SemanticHead", "channels": 8}},
            r"semantic_head\.channels is 8, and the genunet's width, its channels\[0\], is 16",
        ),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_batch(parts, words):
    with pytest.raises(ValueError, match=words):
        build(**parts)


def test_a_voxel_encoder_that_does_not_say_its_width_is_taken():
    class Silent(MODELS.get("DynamicVoxelEncoder")):
        def __init__(self, **settings):
            super().__init__(**settings)
            del self.out_channels

    init_default_scope("minkocc")
    MODELS.register_module(module=Silent, force=True)
    build(image_encoder=None, voxel_encoder={**OURS, "type": "Silent"})
    MODELS.module_dict.pop("Silent")
