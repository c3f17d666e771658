"""What labels are made of, from a manifest: classes of returns, boxes, sweeps, cameras."""

import json

import numpy as np
import pytest
from PIL import Image

from minkocc.datasets.log_scene import log_boxes, read_log_scene
from minkocc.datasets.manifest import LogError, manifest
from minkocc.occupancy_labels.label import label_scene
from minkocc.occupancy_labels.scene import SceneError
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.structures.taxonomy import Taxonomy, class_id
from minkocc.structures.voxel_grid import OCC3D_GRID

K = [[40.0, 0.0, 40.0], [0.0, 40.0, 20.0], [0.0, 0.0, 1.0]]
CAM2EGO = [[0, 0, 1, 1.5], [-1, 0, 0, 0.0], [0, -1, 0, 1.2], [0, 0, 0, 1]]
ROAD_AND_CAR = {"classes": ["road", "car"], "colours": {"road": "#000000", "car": "#010101"}}
WALL, CAR = class_id("manmade"), class_id("car")


def pose(x=0.0, z=0.0):
    return {"rotation": [1, 0, 0, 0], "translation": [x, 0.0, z]}


@pytest.fixture
def content(tmp_path):
    """A wall 12 m ahead and a car beside it that drives 4 m between two frames; a sweep between."""
    y, z = np.meshgrid(np.arange(-3, 3, 0.1), np.arange(0.05, 2, 0.1))
    wall = np.stack([np.full(y.size, 12.1), y.ravel(), z.ravel(), np.zeros(y.size)], 1)
    frames = []
    for number in range(2):
        car = wall[(wall[:, 1] > -1) & (wall[:, 1] < 1) & (wall[:, 2] < 1.4)]
        car = car + np.array([-4.0 + 4 * number - 2.2, 5.0, 0.0, 0.0])  # its back
        points = np.concatenate([wall, car]) - [0, 0, 1.8, 0]  # the LiDAR is 1.8 m up
        np.save(tmp_path / f"{number}.npy", points.astype(np.float32))
        classes = np.repeat(np.uint8([WALL, CAR]), [len(wall), len(car)])
        np.save(tmp_path / f"{number}_classes.npy", classes)
        Image.new("RGB", (80, 40)).save(tmp_path / f"{number}.png")
        box = {
            "track": "a", "class": "car", "size": [4.4, 2.2, 1.6],
            "box2ego": {"rotation": [1, 0, 0, 0], "translation": [8.1 + 4 * number, 5, 0.75]},
        }  # fmt: skip
        frames.append(
            {
                "timestamp": 10.0 + number,
                "ego2global": pose(),
                "lidar": f"{number}.npy",
                "cameras": {"front": f"{number}.png"},
                "lidarseg": f"{number}_classes.npy",
                "boxes": [box],
            }
        )
    np.save(tmp_path / "between.npy", np.load(tmp_path / "0.npy")[: len(wall)])
    sweep = {"file": "between.npy", "timestamp": 10.5, "ego2global": pose()}
    frames[1]["sweeps"] = [sweep]
    cameras = {"front": {"cam2img": K, "cam2ego": CAM2EGO}}
    return manifest("drive", frames, lidar={"lidar2ego": pose(z=1.8)}, cameras=cameras)


@pytest.fixture
def read(tmp_path, content):
    def keyframes(**how):
        (tmp_path / "log.json").write_text(json.dumps(content))
        return read_log_scene(tmp_path / "log.json", tmp_path, **how)

    return keyframes


def test_keyframes_have_what_the_manifest_says(read):
    one, two = read()
    assert [len(keyframe.sweeps) for keyframe in (one, two)] == [1, 2]
    assert set(np.unique(one.sweeps[0].classes)) == {WALL, CAR}
    assert two.sweeps[1].classes is None
    (box,) = two.boxes
    assert (box.track, box.class_id, box.size) == ("a", CAR, (4.4, 2.2, 1.6))
    np.testing.assert_allclose(box.box2world[:3, 3], [12.1, 5, 0.75])
    (camera,) = one.cameras
    np.testing.assert_allclose(camera.cam2world, np.array(CAM2EGO, float))
    assert read(use_lidarseg=False)[0].sweeps[0].classes is None


def test_labels_of_a_log_have_the_wall_and_leave_no_trace_of_the_car(read):
    labels = [label for _, label in label_scene(read(), LabelSettings(), None)]
    wall = OCC3D_GRID.to_index(np.array([12.1, 0.1, 0.9]))
    for number, label in enumerate(labels):
        assert label.semantics[tuple(wall)] == WALL
        for other, distance in enumerate((5.9, 9.9)):
            back = OCC3D_GRID.to_index(np.array([distance, 5.0, 0.7]))
            assert (label.semantics[tuple(back)] == CAR) == (other == number), (number, other)
        assert label.mask_lidar[tuple(wall)]
        assert label.mask_camera[tuple(wall)]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("lidarseg", "no.npy", r"frames\.0\.lidarseg is .*no\.npy, which cannot be read"),
        ("lidarseg", "short.npy", "expected a class for each of the"),
        ("lidarseg", "odd.npy", "which holds class 30, expected 0 to 16, or 255"),
        ("boxes", [{"track": "a", "class": "tram"}], r"boxes\.0\.class is 'tram', expected one of"),
        ("boxes", [{"track": "a", "kind": "car"}], "has kind, expected only track, class"),
        ("boxes", {"a": 1}, "boxes is .*, expected a list of objects"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, read, key, value, words):
    np.save(tmp_path / "short.npy", np.zeros(3, np.uint8))
    np.save(tmp_path / "odd.npy", np.full(len(np.load(tmp_path / "0.npy")), 30, np.uint8))
    content["frames"][0][key] = value
    with pytest.raises(LogError, match=words):
        read()


def test_boxes_alone_are_read_without_any_other_file(tmp_path, content):
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / "log.json").write_text(json.dumps(content))
    found = log_boxes(tmp_path / "log.json")
    assert list(found) == ["drive-000000", "drive-000001"]
    (box,) = found["drive-000001"]
    assert (box.track, box.class_id, box.size) == ("a", CAR, (4.4, 2.2, 1.6))
    assert box.box2world[:3, 3].tolist() == [12.1, 5, 0.75]


def test_classes_are_those_of_the_taxonomy(read):
    road = Taxonomy.of(ROAD_AND_CAR)
    with pytest.raises(LogError, match=r"holds class 15, expected 0 to 1, or 255"):
        read(taxonomy=road)
    one, _ = read(taxonomy=road, use_lidarseg=False)
    assert one.boxes[0].class_id == 1
    with pytest.raises(LogError, match=r"boxes\.0\.class is 'car', expected one of road"):
        read(
            taxonomy=Taxonomy.of({"classes": ["road"], "colours": {"road": "#000000"}}),
            use_lidarseg=False,
        )


def test_what_nothing_names_needs_a_class(read):
    classes = {**ROAD_AND_CAR, "moving": ["car"]}
    for rest, expected in ((None, None), ("road", {0})):
        settings = LabelSettings(taxonomy=Taxonomy.of({**classes, "rest": rest}))
        scene = read(taxonomy=settings.taxonomy, use_lidarseg=False)
        if rest is None:
            with pytest.raises(SceneError, match="the taxonomy names none for the rest"):
                list(label_scene(scene, settings))
        else:
            label = next(label for _, label in label_scene(scene, settings))
            assert expected <= set(np.unique(label.semantics)) <= {0, 1, 17}
