import json
import shutil
import zipfile

import numpy as np
import pytest

from minkocc.evaluation.prediction_folder import (
    FrameFiles,
    evaluate_frames,
    frames_of_infos,
    frames_of_origins,
    match_frames,
)
from minkocc.evaluation.protocols import PROTOCOLS, Frame, add_counts
from minkocc.files.infos import read_infos
from minkocc.files.occupancy import PredictionError, read_measured_label, read_prediction
from minkocc.files.writing import write_pickle
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.unit.evaluation.prediction_folders import ORIGINS, TOKENS, volume


def matched(folders, listed=None):
    return match_frames(folders / "pred", folders / "gts", listed)


def test_every_label_is_a_frame(folders):
    found = matched(folders)
    assert [frame.token for frame in found.frames] == list(TOKENS)
    assert (found.missing, found.extra, found.not_asked) == ([], [], 0)
    assert found.frames[0].ray_origins is None


def test_missing_and_extra_tokens(folders):
    (folders / "pred" / "bb.npz").rename(folders / "pred" / "zz.npz")
    found = matched(folders)
    assert (found.missing, found.extra) == (["bb"], ["zz"])
    assert [frame.pred is None for frame in found.frames] == [False, True, False]


def test_a_list_of_origins_says_which_frames(folders):
    (folders / "origins.json").write_text(json.dumps({"cc": [[1.0, 2.0, 1.8]]}))
    found = matched(folders, frames_of_origins(folders / "origins.json"))
    assert [frame.token for frame in found.frames] == ["cc"]
    np.testing.assert_array_equal(found.frames[0].ray_origins, [[1.0, 2.0, 1.8]])
    assert (found.extra, found.not_asked) == (["aa", "bb"], 2)


def test_infos_give_frames_scenes_and_origins(synthetic_root, tmp_path):
    listed = frames_of_infos(synthetic_root / "minkocc_infos_val.pkl")
    for token in listed.origins:
        np.savez_compressed(tmp_path / f"{token}.npz", pred=volume(0))
    found = match_frames(tmp_path, synthetic_root / "gts", listed)
    assert {frame.token for frame in found.frames} == set(listed.scenes)
    assert all(frame.ray_origins.shape[1] == 3 for frame in found.frames)
    assert found.not_asked == 6  # those of the training scenes


def test_frames_without_a_label_are_left_out(synthetic_root, tmp_path):
    content = read_infos(synthetic_root / "minkocc_infos_val.pkl")
    content["data_list"][0]["occ_path"] = None
    write_pickle(tmp_path / "infos.pkl", content)
    expected = [frame["token"] for frame in content["data_list"][1:]]
    assert list(frames_of_infos(tmp_path / "infos.pkl").origins) == expected


def test_infos_without_a_label_are_refused(synthetic_root, tmp_path):
    content = read_infos(synthetic_root / "minkocc_infos_val.pkl")
    for frame in content["data_list"]:
        frame["occ_path"] = None
    write_pickle(tmp_path / "infos.pkl", content)
    with pytest.raises(PredictionError, match=r"none of the 2 frames of .* has a dense label"):
        frames_of_infos(tmp_path / "infos.pkl")


def test_infos_of_another_world_are_refused(folders, synthetic_root):
    listed = frames_of_infos(synthetic_root / "minkocc_infos_val.pkl")
    with pytest.raises(PredictionError, match=r"2 of 2 frames of .* have no label in --gt"):
        matched(folders, listed)


def test_a_label_in_another_scene_is_refused(folders):
    listed = frames_of_origins(folders / "origins.json")
    listed.scenes["aa"] = "scene-9"
    with pytest.raises(PredictionError, match="has frame aa in scene scene-9"):
        matched(folders, listed)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        pytest.param("[" * 100_000, "is no JSON", id="deep"),
        ("[1]", "expected {token"),
        ("{}", "expected {token"),
        ('{"aa": [1, 2, 3]}', "frame aa: ray origins of shape"),
        ('{"aa": "here"}', "frame aa: could not convert"),
        ('{"aa": [[400, 0, 0]]}', "frame aa: none of 1 ray origins"),
        ('{"aa": [[0, 0, 1e30]]}', "frame aa: .* under 1000000 m"),
        ('{"aa": [[0, 0, 1' + 400 * "0" + "]]}", "frame aa: int too large"),
        ("[" * 100_000, "is no JSON"),
        ('{"aa": "' + "long" * 1000 + '"}', r"frame aa: .{,200}$"),
    ],
)
def test_bad_origins_are_named(tmp_path, content, words):
    path = tmp_path / "o.json"
    path.write_text(content)
    with pytest.raises(PredictionError, match=words):
        frames_of_origins(path)


def test_a_mask_below_0_is_refused(tmp_path):
    mask = np.zeros(GOOD.shape, np.int8)
    mask[0, 0, 0] = -1
    np.savez_compressed(tmp_path / "labels.npz", semantics=GOOD, mask_camera=mask)
    with pytest.raises(PredictionError, match=r"mask_camera is int8 .* expected 0 and 1"):
        read_measured_label(tmp_path / "labels.npz")


def test_missing_origins_file(tmp_path):
    with pytest.raises(PredictionError, match="cannot be read"):
        frames_of_origins(tmp_path / "none.json")


def test_empty_folders_are_named(folders, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for pred, gt, words in (
        (empty, folders / "gts", "holds no .npz"),
        (folders / "none", folders / "gts", "--pred .* is not a folder"),
        (folders / "pred", folders / "none", "--gt .* is not a folder"),
        (folders / "pred", folders / "gts" / "scene-0", "did you mean .*gts"),
        (folders / "pred", empty, "holds no <scene>"),
        (folders / "pred", folders, "did you mean .*gts"),
    ):
        with pytest.raises(PredictionError, match=words):
            match_frames(pred, gt, None)


GOOD = volume(0)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pred": GOOD[:-1]}, r"key pred has shape \(199, 200, 16\), expected \(200, 200, 16\)"),
        ({"arr_0": GOOD.ravel()}, r"key arr_0 has shape \(640000,\)"),
        ({"semantics": GOOD.astype(np.int64)}, "is int64, expected uint8: use .astype"),
        ({"pred": GOOD.astype(np.float32)}, "is float32, expected uint8"),
        ({"pred": np.where(GOOD == 17, 255, GOOD).astype(np.uint8)}, "holds id 255"),
        ({"pred": np.where(GOOD == 17, 18, GOOD).astype(np.uint8)}, "holds id 18"),
        ({"pred": GOOD, "instances": GOOD.astype(np.int16) - 20}, "key instances is int16"),
        ({"pred": GOOD, "instances": GOOD.astype(np.float32)}, "key instances is float32"),
        ({"voxels": GOOD}, "holds none of the keys pred, semantics, arr_0"),
        ({"pred": GOOD, "arr_0": GOOD}, "holds pred, arr_0 of the keys"),
        ({"pred": GOOD, "instances": GOOD[:5]}, "key instances is uint8"),
        ({"pred": np.array({"run": "code"}, dtype=object)}, "cannot be read"),
    ],
)
def test_bad_predictions_are_refused_by_name(tmp_path, arrays, words):
    path = tmp_path / "token.npz"
    np.savez_compressed(path, **arrays)
    with pytest.raises(PredictionError, match=f"prediction .*token.npz.*{words}"):
        read_prediction(path)


@pytest.mark.parametrize("keep", [0, 100, -40])
def test_truncated_files_are_refused(folders, keep):
    path = folders / "pred" / "aa.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(PredictionError, match=r"aa\.npz cannot be read .* write it again"):
        read_prediction(path)


def test_flipped_bytes_are_refused(folders):
    path = folders / "pred" / "aa.npz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(PredictionError, match="cannot be read"):
        read_prediction(path)


def test_a_single_array_under_the_name_of_an_npz_is_refused(tmp_path):
    with open(tmp_path / "a.npz", "wb") as sink:
        np.save(sink, GOOD)
    with pytest.raises(PredictionError, match=r"a\.npz cannot be read \(it is a single array"):
        read_prediction(tmp_path / "a.npz")


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("pred", "text")
    with pytest.raises(PredictionError, match="pred is no array"):
        read_prediction(tmp_path / "a.npz")


def test_a_header_that_asks_for_too_much_is_refused(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000000000000,), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        size = len(header).to_bytes(2, "little")
        archive.writestr("pred.npy", b"\x93NUMPY\x01\x00" + size + header)
    with pytest.raises(PredictionError, match=r"a\.npz cannot be read"):
        read_prediction(tmp_path / "a.npz")


def test_a_token_with_two_labels_is_refused(folders):
    shutil.copytree(folders / "gts" / "scene-0" / "aa", folders / "gts" / "scene-1" / "aa")
    with pytest.raises(PredictionError, match=r"two labels of one token: .*scene-0/aa.*scene-1/aa"):
        matched(folders)


def test_predictions_of_another_world_are_refused(folders):
    for path in (folders / "pred").iterdir():
        path.rename(path.with_name(f"sample_{path.name}"))
    with pytest.raises(PredictionError, match=r"called sample_aa, .*, the frames aa, bb, cc"):
        matched(folders)


def test_no_frame_is_no_figure():
    with pytest.raises(PredictionError, match="no frame to measure"):
        evaluate_frames([], ["occ3d"])


@pytest.mark.parametrize(
    "mask", [np.full(OCC3D_GRID.shape, np.nan), GOOD, np.full(OCC3D_GRID.shape, "1")]
)
def test_a_mask_is_0_and_1(tmp_path, mask):
    np.savez_compressed(tmp_path / "labels.npz", semantics=GOOD, mask_camera=mask)
    with pytest.raises(PredictionError, match=r"mask_camera is .* expected 0 and 1"):
        read_measured_label(tmp_path / "labels.npz")


def test_labels_lack_nothing(folders):
    path = folders / "gts" / "scene-0" / "aa" / "labels.npz"
    np.savez_compressed(path, semantics=GOOD)
    with pytest.raises(PredictionError, match="lacks mask_camera"):
        read_measured_label(path)
    np.savez_compressed(path, semantics=GOOD, mask_camera=GOOD[0])
    with pytest.raises(PredictionError, match="mask_camera is uint8"):
        read_measured_label(path)


def test_instances_are_read(tmp_path):
    ids = np.zeros(OCC3D_GRID.shape, np.uint16)
    ids[3, 4, 5] = 7
    np.savez_compressed(tmp_path / "a.npz", pred=GOOD, instances=ids)
    semantics, found = read_prediction(tmp_path / "a.npz")
    assert np.array_equal(semantics, GOOD)
    assert np.array_equal(found, ids)


@pytest.mark.parametrize("sides", [("pred",), ("label",), ("pred", "label")])
def test_instances_of_each_side_reach_the_protocol(folders, sides):
    """Each class is cut into slices by the ids of one side, or of both."""
    slices = np.arange(200)[:, None, None] // 7 % 2
    slices = np.where(GOOD < 17, 1 + 2 * GOOD + slices, 0).astype(np.uint8)
    ids = {side: {"instances": slices} for side in sides}
    files = folders / "gts" / "scene-0" / "aa" / "labels.npz"
    mask = np.ones(GOOD.shape, np.uint8)
    np.savez_compressed(files, semantics=GOOD, mask_camera=mask, **ids.get("label", {}))
    np.savez_compressed(folders / "pred" / "aa.npz", pred=GOOD, **ids.get("pred", {}))
    frame = FrameFiles("aa", files, folders / "pred" / "aa.npz", np.array(ORIGINS))
    (summary,) = evaluate_frames([frame], ["raypq"])
    assert summary["frames_with_instance_ids"] == {
        "prediction": "pred" in sides, "label": "label" in sides
    }  # fmt: skip
    # With ids on both sides things are found exactly; stuff is split in the prediction alone.
    assert (summary["pq@1"]["car"] == 100.0) == (len(sides) == 2)
    assert (summary["pq@1"]["driveable_surface"] == 100.0) == ("pred" not in sides)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.processes)])
def test_figures_are_the_protocols_own(folders, workers):
    listed = frames_of_origins(folders / "origins.json")
    frames = matched(folders, listed).frames
    summaries = evaluate_frames(frames, list(PROTOCOLS), workers)
    for protocol, summary in zip(PROTOCOLS.values(), summaries):
        counts = add_counts(
            protocol.count(
                Frame(
                    read_prediction(f.pred)[0], *read_measured_label(f.label)[:2], np.array(ORIGINS)
                )
            )
            for f in frames
        )
        assert summary == protocol.summarise(counts, len(frames))


def test_a_missing_prediction_counts_as_free(folders):
    frames = [FrameFiles(f.token, f.label, None) for f in matched(folders).frames]
    (summary,) = evaluate_frames(frames, ["occ3d"])
    assert (summary["miou"], summary["geometric_iou"], summary["num_frames"]) == (0.0, 0.0, 3)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.processes)])
def test_a_bad_file_is_found_before_rays_are_cast(folders, workers, monkeypatch):
    np.savez_compressed(folders / "pred" / "cc.npz", pred=GOOD[:3])
    listed = frames_of_origins(folders / "origins.json")
    monkeypatch.setattr(PROTOCOLS["rayiou"], "count", lambda frame: pytest.fail("a ray was cast"))
    with pytest.raises(PredictionError, match=r"cc\.npz, key pred has shape"):
        evaluate_frames(matched(folders, listed).frames, ["occ3d", "rayiou"], workers)
