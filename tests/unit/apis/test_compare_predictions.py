import numpy as np
import pytest
from PIL import Image

from minkocc.apis.compare_predictions import draw_comparison, frames_to_draw
from minkocc.files.occupancy import PredictionError, read_measured_label
from minkocc.structures.taxonomy import PALETTE, class_id


@pytest.fixture
def infos(synthetic_root):
    return synthetic_root / "minkocc_infos_train.pkl"


def test_scenes_are_spread_and_shown_in_their_middle(infos):
    frames = frames_to_draw(infos, 2)
    assert [frame["scene_name"] for frame in frames] == ["scene-0001", "scene-0003"]
    assert len(frames_to_draw(infos, 50)) == 3
    first, second = (f for f in frames_to_draw(infos, 3)[:2])
    assert first["token"] != second["token"]


def test_label_and_predictions_stand_side_by_side(infos, tmp_path):
    frames = frames_to_draw(infos, 1)
    token, root = frames[0]["token"], infos.parent
    label, mask, _ = read_measured_label(root / frames[0]["occ_path"])
    cars = np.where(label < 17, class_id("car"), label).astype(np.uint8)
    for name, values in (("right", label), ("cars", cars)):
        (tmp_path / name).mkdir()
        np.savez_compressed(tmp_path / name / f"{token}.npz", pred=values)
    preds = {name: tmp_path / name for name in ("right", "cars")}
    draw_comparison(frames, root, preds, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # The last row: three oblique pictures; the first two are the same, the third is of one colour.
    gap, width = 8, (2400 - 4 * 8) // 3
    thirds = [pixels[-380:-40, gap + i * (width + gap) :][:, : width - 2] for i in range(3)]
    assert np.abs(thirds[0] - thirds[1]).mean() < 6
    assert np.abs(thirds[0] - thirds[2]).mean() > 12
    colour = PALETTE[class_id("car")].astype(int)
    is_car = [(np.abs(part - colour).max(-1) < 12).mean() for part in thirds]
    assert is_car[2] > 3 * max(is_car[0], 0.01)
    assert mask.any()


def test_a_missing_prediction_is_named(infos, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(PredictionError, match=r"--pred a=.*none has no .*\.npz.*--dump"):
        draw_comparison(frames_to_draw(infos, 1), infos.parent, {"a": tmp_path / "none"}, tmp_path)
