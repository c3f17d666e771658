import dataclasses
import json
import os

import pytest

from minkocc.structures.errors import UserError
from minkocc.study.definition import Arm, Run, Study
from minkocc.study.run_files import RunFiles, results_in
from tests.forked import ROOT

ARM = Arm("a", "A", "configs/minkocc_semi_a10_mini.py", {"max_epochs": 3, "lr": 0.1}, (0,))
STUDY = Study("s", "/data", (), splits={"far": "/far"})


def files_of(folder, arm=ARM, study=STUDY):
    code = folder / "code_x"
    if not code.is_dir():
        code.mkdir()
        (code / "configs").symlink_to(ROOT / "configs")
    return RunFiles(Run(arm, 0), study, folder, code)


def write_tested(files, split, root, **more):
    """What a test of the last checkpoint leaves."""
    summary = {"protocol": "occ3d", "miou": 5.0, "confusion": [[1]]}
    about = {"commit": "c", "python": "3", "torch": "2", "command": f"test.py data_root={root}"}
    path = files.tested(split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**about, "occ3d": summary, **more}))


def finish(files):
    """Leave what a training and a test leave."""
    work_dir = files.work_dir
    (work_dir / "validations").mkdir(parents=True)
    files.begin()
    summary = {"protocol": "occ3d", "miou": 5.0, "confusion": [[1]]}
    for at in (600, 60):
        (work_dir / "validations" / f"iter_{at}.json").write_text(
            json.dumps({"iteration": at, "occ3d": summary})
        )
    files.checkpoint.touch()
    write_tested(files, "val", "/data")
    write_tested(files, "far", "/far")
    audit = {"labelled_frames": 6, "read": ["t", "u"], "read_outside_budget": [], "alpha": 0.1}
    (work_dir / "label_audit.json").write_text(json.dumps(audit))
    files.note_step("train", 10.0, ended=False)
    files.note_step("train", 2.5, ended=True)
    files.write_figures()


def test_a_result_holds_curve_final_figures_and_where_they_come_from(tmp_path):
    files = files_of(tmp_path)
    assert not files.is_done()
    assert files.checkpoint.name == "epoch_3.pth"
    finish(files)
    assert files.is_done()
    content = json.loads(files.figures.read_text())
    assert [point["iteration"] for point in content["curve"]] == [60, 600]
    assert content["final"] == {"occ3d": {"protocol": "occ3d", "miou": 5.0}}
    assert content["splits"]["far"]["occ3d"]["miou"] == 5.0
    assert content["steps"]["train"]["seconds"] == 12.5
    assert "cores" in content["steps"]["train"]["machine"]
    assert content["labels_read"] == {
        "labelled_frames": 6,
        "read": 2,
        "read_outside_budget": 0,
        "alpha": 0.1,
    }
    assert (content["seed"], content["python"], content["knobs"]["unknown"]) == (0, "3", "free")
    assert "data_root" not in content["knobs"]
    assert content["options"] == {"max_epochs": 3, "lr": 0.1, "seed": 0}


def test_what_is_trained_or_tested_otherwise_is_done_again(tmp_path):
    files = files_of(tmp_path)
    finish(files)
    assert files.is_trained()
    assert list(files.tests()) == []
    write_tested(files, "far", "/elsewhere")
    assert list(files.tests()) == [("far", "/far")]
    os.utime(files.checkpoint, (2e9, 2e9))  # trained on since
    assert [split for split, _ in files.tests()] == ["val", "far"]
    files.note_step("train", 1.0, ended=False)  # killed in the last validation
    assert not files.is_trained()


def test_a_split_that_is_new_is_still_to_do(tmp_path):
    finish(files_of(tmp_path))
    more = dataclasses.replace(STUDY, splits={**STUDY.splits, "near": "/near"})
    files = files_of(tmp_path, study=more)
    assert not files.is_done()
    assert list(files.tests()) == [("near", "/near")]


def test_a_checkpoint_of_other_settings_gives_no_result(tmp_path):
    files = files_of(tmp_path)
    finish(files)
    differs = {"lr": {"checkpoint": 0.2, "recipe": 0.1}}
    write_tested(files, "val", "/data", recipe_differs=differs)
    with pytest.raises(UserError, match=r"was trained with other settings.*train it again"):
        files.write_figures()


def test_a_run_goes_on_with_the_code_that_it_began_with(tmp_path):
    files = files_of(tmp_path)
    files.work_dir.mkdir(parents=True)
    files.begin()
    later = dataclasses.replace(files, new_code=tmp_path / "code_y")
    later.begin()
    assert later.code == tmp_path / "code_x"


def test_what_has_begun_as_another_run_is_refused_before_there_is_a_result(tmp_path):
    files = files_of(tmp_path)
    files.work_dir.mkdir(parents=True)
    files.begin()
    other = Arm("a", "A", ARM.config, {"max_epochs": 3, "lr": 0.2}, (0,))
    with pytest.raises(UserError, match=r"run\.json is of a run with other options \(lr 0\.1, now"):
        files_of(tmp_path, other).is_done()


def test_a_result_of_another_run_under_this_name_is_refused(tmp_path):
    finish(files_of(tmp_path))
    other = Arm("a", "A", ARM.config, {"max_epochs": 3, "lr": 0.2}, (0,))
    with pytest.raises(UserError, match=r"other options \(lr 0\.1, now 0\.2\).*another name"):
        files_of(tmp_path, other).is_done()


def test_where_the_data_lies_makes_no_other_run(tmp_path):
    finish(files_of(tmp_path))
    other = Arm("a", "A", ARM.config, {**ARM.options, "cache_root": "/else"}, (0,))
    assert files_of(tmp_path, other).is_done()


def test_a_damaged_result_is_named(tmp_path):
    files = files_of(tmp_path)
    finish(files)
    files.figures.write_text("{")
    with pytest.raises(UserError, match=r"a_s0\.json cannot be read.*delete it"):
        files.is_done()


def taken_from(folder, tmp_path, **more):
    """A study's files elsewhere, and the one result that its study.json holds."""
    finish(files_of(folder))
    path = tmp_path / "study.json"
    path.write_text(json.dumps({"runs": [{**files_of(folder).result(), **more}]}))
    return path, *results_in(path)


def test_a_result_made_elsewhere_counts_as_it_is(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path, result = taken_from(tmp_path / "elsewhere", tmp_path)
    more = dataclasses.replace(STUDY, splits={**STUDY.splits, "near": "/near"})
    (tmp_path / "here").mkdir()
    files = files_of(tmp_path / "here", study=more)
    files.take(result, path)
    assert files.is_done()  # without the split "near", as there is no network to test
    assert files.result() == result


def test_a_result_that_is_here_stays(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path, result = taken_from(tmp_path / "elsewhere", tmp_path, machine="another")
    files = files_of(tmp_path)
    finish(files)
    files.take(result, path)
    assert files.result().get("machine") != "another"


def test_a_result_is_called_what_its_arm_is_called_now(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    files = files_of(tmp_path)
    path, result = taken_from(tmp_path / "elsewhere", tmp_path, label="what it was called")
    files.take(result, path)
    assert files.result()["label"] == "A"


def test_a_result_of_another_run_is_not_taken(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path, result = taken_from(tmp_path / "elsewhere", tmp_path)
    other = Arm("a", "A", ARM.config, {"max_epochs": 3, "lr": 0.2}, (0,))
    files = files_of(tmp_path, other)
    with pytest.raises(UserError, match=r"study\.json: its run a_s0 has other options \(lr 0\.1"):
        files.take(result, path)
    assert not files.is_done()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSONDecodeError"),
        ("[1]", "TypeError"),
        ("{}", "KeyError: 'runs'"),
        ('{"runs": 3}', "TypeError"),
        ('{"runs": [3]}', "TypeError"),
        ('{"runs": [{"arm": "a"}]}', "has no 'label'"),
    ],
)
def test_what_is_no_study_json_is_refused(tmp_path, text, said):
    path = tmp_path / "study.json"
    path.write_text(text)
    with pytest.raises(UserError, match=rf"study\.json is no study\.json: .*{said}"):
        results_in(path)
    with pytest.raises(UserError, match="No such file"):
        results_in(tmp_path / "none.json")
