"""What info files may not say: one place refuses it, before anything is computed of it."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest

from minkocc.files.infos import InfoError, classes_of_infos, read_infos
from minkocc.structures.taxonomy import Taxonomy
from tests.other_taxonomy import DRIVING8


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


# Values


def scale(place, factor):
    def change(frame):
        node, key = at(frame, place)
        node[key] = factor * np.asarray(node[key])

    return change


def put(place, value):
    def change(frame):
        node, key = at(frame, place)
        node[key] = value(frame) if callable(value) else value

    return change


def mirror(place):
    def change(frame):
        node, key = at(frame, place)
        node[key] = np.diag([1.0, -1.0, 1.0, 1.0]) @ node[key]

    return change


def swap_sweeps(frame):
    sweeps = frame["lidar_sweeps"]
    sweeps[0], sweeps[1] = sweeps[1], sweeps[0]


def microseconds(frame):
    for node in (frame, frame["lidar_points"], *frame["lidar_sweeps"]):
        node["timestamp"] *= 1e6


def more_sweeps(frame):
    last = frame["lidar_sweeps"][-1]
    frame["lidar_sweeps"] += [{**last, "timestamp": last["timestamp"] - 0.05}]


def moved(matrix, metres):
    return matrix + np.pad([[metres]], ((0, 3), (3, 0)))


RIGID = (
    "ego2global lidar_points.lidar2ego lidar_sweeps.3.sweep2ego images.CAM_FRONT.ego2cam".split()
)
STAMPS = [
    place + "timestamp" for place in ("", "lidar_points.", "lidar_sweeps.2.", "images.CAM_FRONT.")
]
NO_RIGID = "is no rotation and translation"
VALUES = {
    **{f"zero {place}": (scale(place, 0.0), f"{place} {NO_RIGID}") for place in RIGID},
    **{f"twice {place}": (scale(place, 2.0), f"{place} {NO_RIGID}") for place in RIGID},
    **{f"mirrored {place}": (mirror(place), f"{place} {NO_RIGID}") for place in RIGID},
    "translation out of this world": (
        put("lidar_sweeps.0.sweep2ego", np.eye(4) + np.pad([[1e30]], ((0, 3), (3, 0)))),
        rf"lidar_sweeps\.0\.sweep2ego {NO_RIGID}",
    ),
    "camera of no focal length": (
        put("images.CAM_BACK.cam2img", np.diag([0.0, 1.0, 1.0])),
        r"images\.CAM_BACK\.cam2img is no camera's",
    ),
    "camera in rows of columns": (
        scale("images.CAM_BACK.cam2img", 0.5),
        r"images\.CAM_BACK\.cam2img is no camera's",
    ),
    **{
        f"{place} is {value}": (put(place, value), rf"{place} {value!r} is no time in seconds")
        for place in STAMPS
        for value in (float("nan"), float("inf"), None, "now", True)
    },
    "a sweep newer than its keyframe": (
        put("lidar_sweeps.0.timestamp", lambda f: f["lidar_points"]["timestamp"] + 0.05),
        r"lidar_sweeps\.0 is of .*, not before the keyframe's own sweep",
    ),
    "a sweep at its keyframe's time": (
        put("lidar_sweeps.0.timestamp", lambda f: f["lidar_points"]["timestamp"]),
        r"lidar_sweeps\.0 is of .*, not before the keyframe's own sweep",
    ),
    "sweeps in another order": (swap_sweeps, r"lidar_sweeps\.1 is of .*, not before lidar_sweeps"),
    "a sweep listed twice": (
        lambda frame: frame["lidar_sweeps"].insert(0, frame["lidar_sweeps"][0]),
        r"lidar_sweeps\.1 is of .*, not before lidar_sweeps\.0",
    ),
    **{
        f"{place} of {value:g} seconds": (put(place, value), rf"{place} .* is more than 60 seconds")
        for place in STAMPS[1:]
        for value in (7.0, 1e10)
    },
    "a time of more digits than a float has": (
        put("timestamp", 10**400),
        "timestamp 1000.* is no time in seconds",
    ),
    "a time that no one can print": (
        put("timestamp", 10**5000),
        "timestamp a int is no time in seconds",
    ),
    "microseconds": (microseconds, r"timestamp 1\d{15}.* is no time in seconds"),
    "more sweeps than infos hold": (more_sweeps, "lidar_sweeps are 11, expected at most 10"),
    "a sensor far from its vehicle": (
        put("images.CAM_BACK.ego2cam", lambda f: moved(f["images"]["CAM_BACK"]["ego2cam"], 1e7)),
        r"images\.CAM_BACK\.ego2cam moves by 1e\+07 m",
    ),
    "a focal length of light years": (
        put("images.CAM_BACK.cam2img", np.diag([1e30, 100.0, 1.0])),
        r"images\.CAM_BACK\.cam2img is no camera's",
    ),
    **{
        f"a matrix as {name}": (
            put("ego2global", lambda f, make=make: make(f["ego2global"])),
            rf"ego2global is {name}, expected a matrix of float64",
        )
        for name, make in (
            ("list", np.ndarray.tolist),
            ("float32", lambda matrix: matrix.astype(np.float32)),
            ("object", lambda matrix: matrix.astype(object)),
            ("<U32", lambda matrix: matrix.astype(str)),
        )
    },
    **{
        f"a target called {name}": (
            put(name, np.zeros(3)),
            f"{name} is made when a frame is loaded",
        )
        for name in ("voxel_semantics", "weak_occupancy", "img_semantics", "points", "ego_aug")
    },
    "ray origins without its own": (
        lambda frame: frame["ray_origins"].__iadd__(3.0),
        "ray_origins lacks the place of the frame's own LiDAR",
    ),
    "the image of another camera": (
        put("images.CAM_BACK.img_path", lambda f: f["images"]["CAM_FRONT"]["img_path"]),
        r"images\.CAM_BACK\.img_path .* is of CAM_FRONT",
    ),
    "ray origins of NaN": (
        lambda frame: frame["ray_origins"].fill(np.nan),
        "ray_origins holds NaN or infinity",
    ),
    **{
        f"ray origins {number}": (
            put("ray_origins", origins),
            r"ray_origins is no array of places \(T, 3\)",
        )
        for number, origins in enumerate(
            [None, [[0.0, 0.0, 1.8]], np.zeros((0, 3)), np.zeros((2, 2)), np.full((1, 3), "x")]
        )
    },
    **{
        f"{key} of {size!r} pixels": (
            put(f"images.CAM_BACK.{key}", size),
            rf"images\.CAM_BACK\.{key} {size!r} is no number of pixels",
        )
        for key in ("height", "width")
        for size in (0, -3, 1.5, None, True)
    },
}


@pytest.mark.parametrize("case", VALUES)
def test_values_that_cannot_be_right_are_refused(tmp_path, right, case):
    change, words = VALUES[case]
    content = copy.deepcopy(right)
    change(content["data_list"][1])
    refuse(tmp_path, content, f"frame {right['data_list'][1]['token']}: {words}")


LABELS = {
    "of another scene": lambda frames: frames[2]["occ_path"],
    "of another frame of the scene": lambda frames: frames[0]["occ_path"],
    "of another frame under its scene": (
        lambda frames: f"gts/{frames[1]['scene_name']}/{frames[2]['token']}/labels.npz"
    ),
    "of no such name": lambda frames: frames[1]["occ_path"].replace("labels", "label"),
    "of its token alone": lambda frames: f"{frames[1]['token']}/labels.npz",
}


@pytest.mark.parametrize("case", LABELS)
def test_the_label_of_another_frame_is_refused(tmp_path, right, case):
    content = copy.deepcopy(right)
    frames = content["data_list"]
    frames[1]["occ_path"] = LABELS[case](right["data_list"])
    refuse(tmp_path, content, f"frame {frames[1]['token']}: occ_path .* is of another frame")


def test_labels_may_lie_in_another_folder(tmp_path, right):
    content = copy.deepcopy(right)
    for frame in content["data_list"]:
        frame["occ_path"] = "occ3d/" + frame["occ_path"]
    (tmp_path / "infos.pkl").write_bytes(pickle.dumps(content))
    assert read_infos(tmp_path / "infos.pkl")["data_list"][0]["occ_path"].startswith("occ3d/gts/")


def test_a_huge_matrix_is_refused_before_it_is_copied(tmp_path, right):
    content = copy.deepcopy(right)
    content["data_list"][1]["ego2global"] = np.zeros((1 << 22,), np.uint8)
    tracemalloc.start()
    try:
        refuse(tmp_path, content, "ego2global is uint8, expected a matrix of float64")
        assert tracemalloc.get_traced_memory()[1] < 24 << 20  # as float64 it takes 32 MiB
    finally:
        tracemalloc.stop()


# Between frames


def swap_times(frames):
    first, second = frames[0], frames[1]
    first["timestamp"], second["timestamp"] = second["timestamp"], first["timestamp"]


LINKS = {
    "time running backwards": (swap_times, "next .* is earlier, or at the same time"),
    "a frame after itself": (
        lambda frames: frames[0].update(next=frames[0]["token"]),
        "next .* is earlier, or at the same time",
    ),
    "a circle": (
        lambda frames: frames[1].update(next=frames[0]["token"]),
        "next .* is earlier, or at the same time",
    ),
    "a link into another scene": (
        lambda frames: frames[1].update(next=frames[2]["token"]),
        "next .* is of another scene",
    ),
    "a link that does not lead back": (
        lambda frames: frames[1].update(prev=""),
        "next .* does not lead back",
    ),
}


def same_sweep(frames):
    sweeps = frames[1]["lidar_sweeps"]
    sweeps[0]["lidar_path"] = sweeps[1]["lidar_path"]


def swap_sweep_files(frames):
    first, second = frames[0]["lidar_points"], frames[1]["lidar_points"]
    first["lidar_path"], second["lidar_path"] = second["lidar_path"], first["lidar_path"]


def same_image(frames):
    frames[1]["images"]["CAM_BACK"] = frames[0]["images"]["CAM_BACK"]


def turn(frames):
    quarter = np.eye(4)
    quarter[:2, :2] = [[0, -1], [1, 0]]
    frames[1]["ego2global"] = frames[1]["ego2global"] @ quarter


def lose_origin(frames):
    frames[0]["ray_origins"] = frames[0]["ray_origins"][:1]


FILES = {
    "a LiDAR file of two times": (same_sweep, "LiDAR file .* is of .* here, and elsewhere of"),
    "LiDAR files that change places": (swap_sweep_files, "LiDAR file .* is of .* here"),
    "an image of two frames": (same_image, "image .* is listed twice"),
    "a pose that was turned": (turn, "do not lead to the places that another frame"),
    "an origin lost": (lose_origin, "do not lead to the places that another frame"),
}


@pytest.mark.parametrize("case", [*LINKS, *FILES])
def test_frames_that_contradict_each_other_are_refused(tmp_path, right, case):
    change, words = {**LINKS, **FILES}[case]
    content = copy.deepcopy(right)
    change(content["data_list"])
    refuse(tmp_path, content, words)


# The file


@pytest.mark.parametrize("classes", [["car"], [], None, 3, [np.zeros(2)] * 17])
def test_classes_of_another_list_are_refused(tmp_path, right, classes):
    content = copy.deepcopy(right)
    content["metainfo"]["classes"] = classes
    refuse(tmp_path, content, r"infos\.pkl has classes .*, expected those of Occ3D-nuScenes")


VERSIONS = [np.zeros(3), ["x" * 1000] * 1000, 10**5000]


@pytest.mark.parametrize("version", VERSIONS, ids=["array", "long", "huge"])
def test_a_version_of_any_kind_is_told_in_a_line(tmp_path, right, version):
    content = copy.deepcopy(right)
    content["metainfo"]["info_version"] = version
    refuse(tmp_path, content, r"infos\.pkl has version None, expected 'minkocc-1'")


@pytest.mark.parametrize("place", ["timestamp", "note"])
def test_what_nests_too_deeply_to_be_copied_is_refused(tmp_path, right, place):
    deep = []
    for _ in range(20):
        deep = [deep]
    content = copy.deepcopy(right)
    content["data_list"][1][place] = deep
    refuse(tmp_path, content, r"infos\.pkl nests deeper than infos do")


@pytest.mark.parametrize("path", [3, None, "a\0b"])
def test_paths_that_are_none_are_refused_where_they_may_leave_the_root(tmp_path, right, path):
    content = copy.deepcopy(right)
    content["data_list"][1]["lidar_points"]["lidar_path"] = path
    (tmp_path / "infos.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InfoError, match=r"lidar_points\.lidar_path .* is no path"):
        read_infos(tmp_path / "infos.pkl", paths_leave_root=True)


def test_a_frame_that_is_listed_twice_is_refused(tmp_path, right):
    content = copy.deepcopy(right)
    content["data_list"].append(content["data_list"][0])
    refuse(tmp_path, content, f"frame {right['data_list'][0]['token']}: it is listed twice")


def test_infos_of_another_taxonomy_are_read_by_whoever_names_it(tmp_path, right):
    content, other = copy.deepcopy(right), Taxonomy.of(DRIVING8)
    content["metainfo"]["classes"] = list(other.classes)
    refuse(
        tmp_path, content, r"infos\.pkl has classes .*'road'.*, expected those of Occ3D-nuScenes"
    )
    path = tmp_path / "infos.pkl"
    assert read_infos(path, taxonomy=other)["data_list"]
    assert classes_of_infos(read_infos(path, taxonomy=None)) == other.classes
    turned = Taxonomy.of({**DRIVING8, "classes": DRIVING8["classes"][::-1]})
    with pytest.raises(InfoError, match=r"expected those of the taxonomy, \['vehicle', 'person'"):
        read_infos(path, taxonomy=turned)
    content["metainfo"]["classes"] = [3]
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(InfoError, match="has classes"):
        read_infos(path, taxonomy=None)
