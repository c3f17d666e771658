"""Labels of logs: what they were made of and how stays known, and what does not fit is refused."""

import json

import numpy as np
import pytest

from minkocc.apis.create_occupancy import LabelSource, OccupancyLabelError, create_occupancy
from minkocc.datasets.manifest import LogError
from minkocc.datasets.sensor_log import create_log_infos
from minkocc.files.infos import InfoError
from minkocc.files.occupancy import LabelError, made_classes, read_label
from minkocc.occupancy_labels.scene import SceneError
from minkocc.occupancy_labels.settings import LabelSettings
from minkocc.structures.taxonomy import CLASSES, Taxonomy
from tests.unit.datasets.test_log_scene import CAR, content

__all__ = ["content"]  # a fixture


@pytest.fixture
def make(tmp_path, content):
    """Labels of the log as it is now, into ``gts`` of its folder."""

    def labels(settings=None, **how):
        (tmp_path / "log.json").write_text(json.dumps(content))
        settings = settings or LabelSettings()
        source = LabelSource(tmp_path, None, True, settings, (tmp_path / "log.json",), True)
        return create_occupancy(source, tmp_path / "gts", **how)

    return labels


def test_labels_of_files_that_changed_since_are_not_kept(make, content, tmp_path):
    assert make().created == 2
    assert make().created == 0
    content["frames"][1]["boxes"] = []
    with pytest.raises(OccupancyLabelError, match=r"drive holds labels .* --scenes drive --overw"):
        make()
    assert make(overwrite=True).created == 2
    assert make().created == 0
    np.save(tmp_path / "1.npy", np.load(tmp_path / "1.npy")[:-1])
    np.save(tmp_path / "1_classes.npy", np.load(tmp_path / "1_classes.npy")[:-1])
    with pytest.raises(OccupancyLabelError, match="before the scene's manifest, tables or LiDAR"):
        make()


def test_notes_of_before_inputs_were_known_are_taken(make, content, tmp_path):
    make()
    path = tmp_path / "gts" / "occupancy_labels.json"
    note = json.loads(path.read_text())
    assert note["made"]["settings"]["ego_box"] == "each log's own"
    del note["inputs"]
    path.write_text(json.dumps(note))
    content["frames"][1]["boxes"] = []
    assert make().created == 0


def test_infos_say_the_classes_that_the_labels_were_made_in(make, tmp_path):
    make()
    logs = [tmp_path / "log.json"]
    assert made_classes(tmp_path / "gts") == CLASSES
    assert create_log_infos(logs, tmp_path)
    other = Taxonomy.of(
        {"classes": ["road", "car"], "colours": {"road": "#000000", "car": "#fff000"}}
    )
    with pytest.raises(LogError, match=r"made in the classes others, .*, not in road, car: name"):
        create_log_infos(logs, tmp_path, taxonomy=other)
    assert made_classes(tmp_path) is None
    (tmp_path / "gts" / "occupancy_labels.json").write_text('{"made": 3}')
    with pytest.raises(LabelError, match=r"occupancy_labels\.json cannot be read"):
        create_log_infos(logs, tmp_path)


def test_what_infos_would_refuse_is_refused(make, content):
    for number, frame in enumerate(content["frames"]):
        frame["timestamp"] = 1e15 + 1e6 * number
    content["frames"][1]["sweeps"] = []
    with pytest.raises(InfoError, match=r"manifest .*log\.json, frame drive-000000: .*timestamp"):
        make()


@pytest.mark.parametrize("edge", [450.0, 0.0, -1.0, float("nan")])
def test_boxes_in_other_units_are_refused(make, content, edge):
    content["frames"][0]["boxes"][0]["size"] = [edge, 2.0, 1.6]
    with pytest.raises((SceneError, LogError), match="size"):
        make()


def test_each_log_has_the_box_of_its_own_vehicle(make, content, tmp_path):
    make()
    (path, *_) = sorted((tmp_path / "gts").glob("*/*/labels.npz"))
    assert (read_label(path)["voxel_semantics"] == CAR).any()
    content["vehicle"] = {"box": [[3.0, 3.0, -0.5], [11.0, 7.0, 2.5]]}  # as if that car were ours
    make(overwrite=True)
    assert not (read_label(path)["voxel_semantics"] == CAR).any()
