import json

import pytest

from minkocc.structures.errors import UserError
from minkocc.study.definition import Arm, Run
from minkocc.study.run_files import RunFiles
from tests.forked import ROOT

ARM = Arm("a", "A", "configs/minkocc_semi_a10_mini.py", {"max_epochs": 3, "lr": 0.1}, (0,))


def files_of(folder, arm=ARM):
    return RunFiles(Run(arm, 0), folder, ROOT)


def finish(files):
    """Leave what a training and a test leave."""
    work_dir = files.work_dir
    (work_dir / "validations").mkdir(parents=True)
    (work_dir / "tested").mkdir()
    summary = {"protocol": "occ3d", "miou": 5.0, "confusion": [[1]]}
    for at in (600, 60):
        (work_dir / "validations" / f"iter_{at}.json").write_text(
            json.dumps({"iteration": at, "occ3d": summary})
        )
    about = dict.fromkeys(("commit", "python", "torch", "alpha", "voxel_size"), "x")
    about |= dict.fromkeys(("train_mask", "outside", "unknown", "unknown_weight"), "y")
    files.tested(None).write_text(json.dumps({**about, "occ3d": summary}))
    files.tested("far").write_text(json.dumps({"occ3d": summary}))
    audit = {"labelled_frames": 6, "read": ["t"], "alpha": 0.1}
    (work_dir / "label_audit.json").write_text(json.dumps(audit))
    files.add_seconds("train", 10.0)
    files.add_seconds("train", 2.5)
    files.write_figures({"far": "somewhere"})


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
    assert content["trained_on"] == {"labelled_frames": 6, "alpha": 0.1}
    assert (content["seed"], content["commit"], content["unknown"]) == (0, "x", "y")
    assert content["options"] == {"max_epochs": 3, "lr": 0.1, "seed": 0}


def test_a_result_of_another_run_under_this_name_is_refused(tmp_path):
    finish(files_of(tmp_path))
    other = Arm("a", "A", ARM.config, {"max_epochs": 3, "lr": 0.2}, (0,))
    with pytest.raises(UserError, match=r"other options \(lr 0\.1, now 0\.2\).*another name"):
        files_of(tmp_path, other).is_done()


def test_where_the_data_lies_makes_no_other_run(tmp_path):
    finish(files_of(tmp_path))
    other = Arm("a", "A", ARM.config, {**ARM.options, "data_root": "/else"}, (0,))
    assert files_of(tmp_path, other).is_done()


def test_a_damaged_result_is_named(tmp_path):
    files = files_of(tmp_path)
    finish(files)
    files.figures.write_text("{")
    with pytest.raises(UserError, match=r"a_s0\.json cannot be read.*delete it"):
        files.is_done()
