"""What info files may not say: one place refuses it, before anything is computed of it."""

import copy
import pickle

import pytest

from minkocc.info_file import InfoError, read_infos


@pytest.fixture(scope="module")
def right(synthetic_root):
    """What an info file of three scenes holds."""
    return read_infos(synthetic_root / "minkocc_infos_train.pkl")


def refuse(folder, content, words):
    path = folder / "infos.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InfoError, match=words):
        read_infos(path)


def at(frame, place):
    """The node that holds a dotted place, and its last key."""
    *trail, key = (int(part) if part.isdigit() else part for part in place.split("."))
    for part in trail:
        frame = frame[part]
    return frame, key


# Names and paths

NAMES = [*"../x|/tmp/x|a/b|..|.||.hidden|a\\b|a\nb|a\0b".split("|"), "x" * 300, 7, None]


@pytest.mark.parametrize("name", NAMES, ids=repr)
@pytest.mark.parametrize("key", ["token", "scene_name"])
def test_names_that_are_no_file_names_are_refused(tmp_path, right, key, name):
    content = copy.deepcopy(right)
    content["data_list"][1][key] = name
    refuse(tmp_path, content, f"{key} .* is no plain file name; create it again")


PATHS = [
    "lidar_points.lidar_path",
    "lidar_sweeps.0.lidar_path",
    "images.CAM_BACK.img_path",
    "occ_path",
]


@pytest.mark.parametrize("path", ["../x.bin", "/etc/hostname", "samples/../../x", "", "a\0b", 3])
@pytest.mark.parametrize("place", PATHS)
def test_paths_that_leave_the_root_are_refused(tmp_path, right, place, path):
    content = copy.deepcopy(right)
    node, key = at(content["data_list"][1], place)
    node[key] = path
    refuse(tmp_path, content, rf"{place} .* leaves the data root.*paths_leave_root=True")


def test_paths_leave_the_root_where_that_is_asked_for(tmp_path, right):
    content = copy.deepcopy(right)
    for place in PATHS[:-1]:
        node, key = at(content["data_list"][1], place)
        node[key] = "/elsewhere/" + node[key]
    (tmp_path / "infos.pkl").write_bytes(pickle.dumps(content))
    frames = read_infos(tmp_path / "infos.pkl", paths_leave_root=True)["data_list"]
    assert frames[1]["lidar_points"]["lidar_path"].startswith("/elsewhere/samples/")


def test_a_frame_that_is_listed_twice_is_refused(tmp_path, right):
    content = copy.deepcopy(right)
    content["data_list"].append(content["data_list"][0])
    refuse(tmp_path, content, f"frame {right['data_list'][0]['token']}: it is listed twice")
