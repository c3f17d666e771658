"""A pedestrian found where the label has one, and cropped the same in every picture."""

import pytest

from minkocc.apis.benchmark.rendering_picture import find_pedestrian, pedestrian_row
from minkocc.files.infos import read_infos
from minkocc.structures.errors import UserError
from minkocc.structures.taxonomy import CLASSES, PALETTE

SHOWN = ("spheres 0.4 m", "voxels 0.4 m, opaque")
RED = PALETTE[CLASSES.index("pedestrian")]


@pytest.fixture(scope="module")
def frames(synthetic_root):
    return read_infos(synthetic_root / "minkocc_infos_train.pkl")["data_list"]


def test_a_pedestrian_is_in_the_middle_of_every_picture(frames, synthetic_root):
    found = next(
        one
        for metres in (10.0, 20.0, 30.0)
        if (one := sighting(frames, synthetic_root, metres)) is not None
    )
    photo, label, *rendered = pedestrian_row(found, synthetic_root, "pseudo_labels", SHOWN)
    assert f"photo, {found.metres:.0f} m" == photo[0]
    assert label[0] == "2D label"
    assert [name for name, _ in rendered] == ["first voxel", *SHOWN]
    shape = rendered[0][1].shape
    assert {picture.shape for _, picture in (label, *rendered)} == {shape}
    assert photo[1].shape[0] / photo[1].shape[1] == shape[0] / shape[1]
    red = (rendered[0][1] == RED).all(-1)
    assert red.any()
    opaque = (rendered[-1][1] == RED).all(-1)
    assert (opaque & red).sum() > 0.9 * red.sum()


def sighting(frames, root, metres):
    try:
        return find_pedestrian(frames, root, metres)
    except UserError:
        return None


def test_nobody_is_there(frames, synthetic_root):
    with pytest.raises(UserError, match="no camera sees a pedestrian at 70 m in 1 frames"):
        find_pedestrian(frames[:1], synthetic_root, 70.0)
