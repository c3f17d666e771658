import json

import numpy as np
import pytest
from PIL import Image

from minkocc.evaluation.image_iou import count_pixels, summarise_images
from minkocc.evaluation.protocols import COUNTED, PROTOCOLS, Frame
from minkocc.evaluation.pruning import LEVEL_FIGURES
from minkocc.evaluation.report import class_columns, figures, table, write_report
from tests.unit.evaluation.prediction_folders import ORIGINS, volume


@pytest.fixture(scope="module")
def summaries():
    """One summary of each protocol, and one of rendered images."""
    label = volume(0)
    pred = np.where(label == 4, 10, label).astype(np.uint8)
    frame = Frame(pred, label, np.ones(label.shape, bool), np.array(ORIGINS))
    found = [p.summarise(p.count(frame), 1) for p in PROTOCOLS.values()]
    image = np.full((2, 3, 4), 5, np.uint8)
    counts = count_pixels(image, image)
    return [*found, summarise_images({"tied": counts, "shader": counts}, 1)]


def by_name(summaries, name):
    return next(summary for summary in summaries if summary["protocol"] == name)


def test_columns_and_their_means(summaries):
    occ3d = by_name(summaries, "occ3d")
    columns = class_columns(occ3d)
    assert [c.title for c in columns] == ["IoU", "0-20 m", "20-40 m", "over 40 m"]
    assert columns[0].mean == occ3d["miou"]
    assert columns[0].classes == occ3d["classes_averaged"]["miou"]
    assert columns[2].mean == occ3d["rings"]["20-40 m"]["miou"]
    rays = class_columns(by_name(summaries, "rayiou"))
    assert [(c.title, c.mean) for c in rays] == [
        (f"IoU@{t}", by_name(summaries, "rayiou")[f"rayiou@{t}"]) for t in (1, 2, 4)
    ]
    assert [c.title for c in class_columns(by_name(summaries, "raypq"))] == ["PQ@1", "PQ@2", "PQ@4"]
    assert [c.title for c in class_columns(by_name(summaries, "paper-repo"))][:2] == [
        "IoU",
        "IoU@1",
    ]
    rendered = class_columns(by_name(summaries, "rendered2d"))
    assert [(c.title, c.mean) for c in rendered] == [("IoU tied", 100.0), ("IoU shader", 100.0)]


def test_tables_are_markdown_that_aligns(summaries):
    for summary in summaries:
        text = table({**summary, "training": {"train_mask": None}})
        assert text.startswith(f"protocol {summary['protocol']}, 1 frames")
        assert all(note in text for note in summary.get("notes", []))
        assert summary["rule"] in text
        assert "train_mask none" in text
        for block in text.split("\n\n")[1:]:
            assert len({len(line) for line in block.splitlines()}) == 1
            assert set(block.splitlines()[1]) == set("|-:")
    assert "| bus" in text


def test_a_table_to_the_letter():
    summary = {
        "protocol": "occ3d",
        "rule": "all of it",
        "miou": 12.345,
        "geometric_iou": None,
        "voxels_inside": 12345.5,
        "voxels_outside": 7.0,
        "iou": {"car": 12.345, "bus": None},
        "rings": {
            "near": {
                "miou": 7.0,
                "geometric_iou": 50.0,
                "iou": {"car": 7.0, "bus": None},
                "classes_averaged": {"miou": 1},
            }
        },
        "num_frames": 2,
        "classes_averaged": {"miou": 1},
    }
    assert table(summary) == "\n".join(
        [
            "protocol occ3d, 2 frames, percent",
            "(all of it)",
            "",
            "| class               |    IoU |   near |",
            "|---------------------|-------:|-------:|",
            "| car                 |  12.35 |   7.00 |",
            "| bus                 | absent | absent |",
            "| mean                |  12.35 |   7.00 |",
            "| classes in the mean |      1 |      1 |",
            "",
            "| figure        | percent | classes |",
            "|---------------|--------:|--------:|",
            "| miou          |   12.35 |       1 |",
            "| geometric_iou |  absent |         |",
            "",
            "| predicted occupied |  a frame |",
            "|--------------------|---------:|",
            "| voxels_inside      | 12,345.5 |",
            "| voxels_outside     |      7.0 |",
        ]
    )


def test_figures_are_single_numbers(summaries):
    voxels = {f"geometric_{name}" for name in ("iou", "precision", "recall")}
    voxels |= {"miou", "miou_dynamic"}
    for name in ("occ3d", "selfsup15"):
        assert set(figures(by_name(summaries, name))) == {*voxels, *COUNTED}
    assert voxels < figures(by_name(summaries, "paper-repo")).keys()
    assert not set(COUNTED) & figures(by_name(summaries, "paper-repo")).keys()
    assert "num_frames" not in figures(by_name(summaries, "rayiou"))


@pytest.fixture(scope="module")
def written(summaries, tmp_path_factory):
    """The files of a report, written where there was one."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "r_confusion_former.png").touch()
    context = {"pred": "somewhere \udcff", "extra": [], "missing": ["a", "b", "c", "d", "e"]}
    return write_report(folder / "r.json", summaries, context)


def test_report_files(summaries, written):
    folder = written[0].parent
    assert not (folder / "r_confusion_former.png").exists()
    assert [path.name for path in written] == [
        "r.json",
        "r.md",
        "r_classes.png",
        "r_confusion_occ3d.png",  # its matrix is that of the other protocols
        "r_confusion_rendered2d.png",
    ]
    content = json.loads((folder / "r.json").read_text())
    assert content["pred"] == "somewhere \udcff"  # a file's name that is no UTF-8
    assert content["occ3d"]["iou"]["car"] == 0.0
    assert content["rayiou"]["iou@2"]["car"] == 0.0
    markdown = (folder / "r.md").read_text()
    assert "- missing: a, b, c, ... (5)" in markdown
    assert "- extra" not in markdown
    for summary in summaries:
        assert f"## {summary['protocol']}" in markdown
        assert table(summary) in markdown
    for path in written[2:]:
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 500
            assert np.asarray(picture.convert("L")).std() > 5  # something is drawn


def test_a_report_of_nothing(tmp_path):
    written = write_report(tmp_path / "r.json", [], {"frames": 3})
    assert [path.name for path in written] == ["r.json", "r.md"]
    assert json.loads((tmp_path / "r.json").read_text()) == {"frames": 3}


def test_json_keeps_the_schema(written):
    content = json.loads(written[0].read_text())
    assert {"miou", "geometric_iou", "iou", "num_frames"} <= content["occ3d"].keys()
    assert len(content["occ3d"]["iou"]) == 17
    assert {"rayiou", *(f"{k}@{t}" for k in ("rayiou", "iou") for t in (1, 2, 4))} <= content[
        "rayiou"
    ].keys()
    assert {"raypq", "raypq@1", "pq@1"} <= content["raypq"].keys()
    assert {"miou", "rayiou"} <= content["paper-repo"].keys()


def test_protocols_of_one_matrix_share_a_picture(summaries, tmp_path):
    same = [by_name(summaries, name) for name in ("occ3d", "selfsup15")]
    names = [path.name for path in write_report(tmp_path / "r.json", same, {})]
    assert names == ["r.json", "r.md", "r_classes.png", "r_confusion_occ3d.png"]


def pruning(**more):
    """Two levels of round figures."""
    level = {"cell_metres": 0.8, **dict.fromkeys(LEVEL_FIGURES, 50.0), "threshold": 0.3}
    fine = {**level, "cell_metres": 0.4, "precision": None, "candidates": 12345.5}
    levels = [{"stride": 2, **level}, {"stride": 1, **fine}]
    return {"protocol": "pruning", "rule": "cells", "num_frames": 2, "levels": levels, **more}


def sweep():
    axis = {"threshold": [i / 100 for i in range(100)], "threshold_in_use": 0.3}
    curves = {
        "recall": [100.0 - i for i in range(100)],
        "precision": [*map(float, range(99)), None],
        "iou": [50.0] * 100,
    }
    return [{"stride": stride, **axis, **curves} for stride in (2, 1)]


def test_a_table_of_levels_has_a_column_each_and_a_unit_a_row():
    text = table(pruning())
    assert text.startswith("protocol pruning, 2 frames\n(cells)\n\n| decoder level, stride")
    rows = {cells[1].strip(): [c.strip() for c in cells[2:-1]] for cells in
            (line.split("|") for line in text.splitlines()[3:])}  # fmt: skip
    assert rows["decoder level, stride"] == ["2", "1"]
    assert rows["cell, metres"] == ["0.8", "0.4"]
    assert rows["threshold, probability"] == ["0.3", "0.3"]
    assert rows["precision, percent"] == ["50.00", "absent"]
    assert rows["candidates, a frame"] == ["50.0", "12,345.5"]
    assert len(rows) == 3 + len(LEVEL_FIGURES)
    assert figures(pruning()) == {}


def test_levels_are_reported_beside_the_protocols(summaries, tmp_path):
    every = [by_name(summaries, "occ3d"), pruning()]
    written = write_report(tmp_path / "r.json", every, {})
    names = ["r.json", "r.md", "r_classes.png", "r_confusion_occ3d.png"]
    assert [path.name for path in written] == names
    assert json.loads((tmp_path / "r.json").read_text())["pruning"] == pruning()
    assert table(pruning()) in (tmp_path / "r.md").read_text()


def test_a_sweep_is_drawn_and_a_former_one_removed(tmp_path):
    written = write_report(tmp_path / "r.json", [pruning(sweep=sweep())], {})
    assert [path.name for path in written] == ["r.json", "r.md", "r_thresholds.png"]
    assert json.loads((tmp_path / "r.json").read_text())["pruning"]["sweep"] == sweep()
    with Image.open(written[-1]) as picture:
        assert picture.format == "PNG"
        assert picture.width > 800
        assert np.asarray(picture.convert("L")).std() > 5
    write_report(tmp_path / "r.json", [pruning()], {})
    assert not written[-1].exists()
