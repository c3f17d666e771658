import json

import pytest
from PIL import Image

from minkocc.apis import learning_curves
from minkocc.apis.learning_curves import draw_learning_curves, logged, validated
from minkocc.structures.errors import UserError


def write_run(folder, logs, validations=()):
    for name, rows in logs.items():
        path = folder / name / "vis_data" / "scalars.json"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "validations").mkdir()
    for place, value in validations:
        summary = {"miou": value, "geometric_iou": 2 * value}
        content = {"iteration": place, "occ3d": summary}
        (folder / "validations" / f"iter_{place}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def run(tmp_path):
    """A run that was resumed at iteration 20, and had logged 30 before."""
    first = [{"iter": i, "step": i, "loss": 100.0 - i, "lr": 0.1} for i in (10, 20, 30)]
    second = [{"iter": 30, "loss": 1.0}, {"occ3d/miou": 3.0, "step": 1}]
    logs = {"20260101_000000": first, "20260102_000000": second}
    return write_run(tmp_path / "one", logs, [(30, 4.0), (20, 3.0)])


def test_a_resumed_run_is_one_curve(run):
    curves = logged(run)
    assert curves == {"loss": {10: 90.0, 20: 80.0, 30: 1.0}, "lr": {10: 0.1, 20: 0.1, 30: 0.1}}
    assert validated(run) == {"miou": {20: 3.0, 30: 4.0}, "geometric_iou": {20: 6.0, 30: 8.0}}


def test_runs_share_a_picture(run, tmp_path):
    other = write_run(tmp_path / "two", {"20260103_000000": [{"iter": 10, "loss": 5.0}]})
    draw_learning_curves([run, other], ["loss", "lr"], tmp_path / "out" / "curves.png", smooth=2)
    with Image.open(tmp_path / "out" / "curves.png") as image:
        assert min(image.size) > 300


def test_what_no_run_logged_is_named_with_what_there_is(run, tmp_path):
    with pytest.raises(UserError, match="no run logged losss: there is loss, lr"):
        draw_learning_curves([run], ["losss"], tmp_path / "x.png")


def test_runs_of_one_name_are_two_lines(run, tmp_path):
    (tmp_path / "other").mkdir()
    twin = write_run(tmp_path / "other" / "one", {"20260103_000000": [{"iter": 10, "loss": 5.0}]})
    found = learning_curves._titles([run, twin, run])
    assert found == {f"{tmp_path.name}/one": run, "other/one": twin}


def test_a_line_that_is_being_written_is_left(run):
    with open(next(run.glob("*/vis_data/scalars.json")), "a") as log:
        log.write('{"iter": 40, "lo')
    assert logged(run)["loss"] == {10: 90.0, 20: 80.0, 30: 1.0}


def test_validations_under_other_protocols_are_passed_over(run):
    whole = {"iteration": 40, "rayiou": {"rayiou": 3.0}}
    (run / "validations" / "iter_40.json").write_text(json.dumps(whole))
    (run / "validations" / "iter_50.json").write_text(
        json.dumps({"iteration": 50, "occ3d": {"miou": None, "geometric_iou": 1.0}})
    )
    assert validated(run)["miou"] == {20: 3.0, 30: 4.0}
    assert validated(run)["geometric_iou"][50] == 1.0


@pytest.mark.parametrize("line", ["{", '{"iter": "soon"}', "3"])
def test_a_damaged_log_is_named(tmp_path, line):
    folder = write_run(tmp_path / "run", {"20260101_000000": []})
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.write_text('{"iter": 1, "loss": 2}\n' + line + "\n")
    with pytest.raises(UserError, match=r"scalars\.json, line 2 is damaged"):
        logged(folder)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"scalars\.json, line 0 is damaged"):
        logged(folder)


def test_a_damaged_validation_is_named(run):
    (run / "validations" / "iter_20.json").write_text('{"occ3d": {}}')
    with pytest.raises(UserError, match=r"iter_20\.json is damaged"):
        validated(run)


def test_a_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no <time>/vis_data"):
        logged(tmp_path)
