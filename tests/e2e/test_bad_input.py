"""What a user gets wrong ends in one line that names the thing and the remedy."""

import os
import pickle
import resource
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from minkocc.files.infos import read_infos
from tests.bomb import Bomb
from tests.e2e.job import CONFIG, expect_error, options, tool, train
from tests.forked import ToolProcess

OTHER_MODEL = {"model.genunet.channels": "[16,24,32,48,80]"}


def replace(path, content):
    """Put a file in the place of a link, so that the shared world stays whole."""
    path.unlink()
    path.write_bytes(content)


def every(root, pattern, change):
    paths = sorted(root.glob(pattern))
    assert paths
    for path in paths:
        replace(path, change(path.read_bytes()))


def remove_images(root):
    for path in (root / "samples" / "CAM_BACK").iterdir():
        path.unlink()


def truncate_images(root):
    every(root, "samples/CAM_FRONT_LEFT/*.jpg", lambda raw: raw[: len(raw) * 3 // 5])


def truncate_lidar(root):
    every(root, "samples/LIDAR_TOP/*.bin", lambda raw: raw[: len(raw) // 2 - 3])


def put_nan_into_lidar(root):
    def spoil(raw):
        points = np.frombuffer(raw, np.float32).reshape(-1, 5).copy()
        points[7, 1] = np.nan
        return points.tobytes()

    every(root, "samples/LIDAR_TOP/*.bin", spoil)


def empty_sweeps(root):
    every(root, "sweeps/LIDAR_TOP/*.bin", lambda raw: b"")


def change_labels(change):
    def spoil(root):
        for path in sorted(root.glob("gts/*/*/labels.npz")):
            with np.load(path) as archive:
                arrays = change({key: archive[key] for key in archive.files})
            path.unlink()
            np.savez_compressed(path, **arrays)

    return spoil


def first_class_18(arrays):
    arrays["semantics"][0, 0, 0] = 18
    return arrays


def shrink_pseudo_labels(root):
    from PIL import Image

    for path in sorted(root.glob("pseudo_labels/labels/CAM_FRONT/*.png")):
        with Image.open(path) as image:
            small = image.resize((image.width // 2, image.height))
        path.unlink()
        small.save(path)


def change_infos(change):
    def spoil(root):
        path = root / "minkocc_infos_train.pkl"
        content = read_infos(path)
        change(content, root)
        replace(path, pickle.dumps(content))

    return spoil


BAD_DATA = {
    "missing image": (remove_images, ["CAM_BACK", "does not exist", "check data_root"]),
    "truncated jpeg": (truncate_images, ["CAM_FRONT_LEFT", "cannot be read", "fetch it again"]),
    "truncated lidar": (truncate_lidar, [".pcd.bin", "is truncated", "fetch it again"]),
    "nan point": (put_nan_into_lidar, [".pcd.bin", "1 points with NaN", "fetch it again"]),
    "empty sweep": (empty_sweeps, ["sweeps/LIDAR_TOP", "is empty", "fetch it again"]),
    "label shape": (
        change_labels(lambda a: {**a, "semantics": a["semantics"][:100]}),
        [
            "labels.npz",
            "semantics is uint8 (100, 200, 16)",
            "expected uint8 (200, 200, 16)",
            "fetch it",
        ],
    ),
    "label dtype": (
        change_labels(lambda a: {**a, "semantics": a["semantics"].astype(np.float32)}),
        ["labels.npz", "semantics is float32", "expected uint8"],
    ),
    "label class": (
        change_labels(first_class_18),
        ["labels.npz", "class 18", "expected 0..17", "Occ3D"],
    ),
    "pseudo-label size": (
        shrink_pseudo_labels,
        ["pseudo_labels/labels/CAM_FRONT", "expected 192x108", "generate it again"],
    ),
    "infos of another version": (
        change_infos(lambda infos, root: infos["metainfo"].update(info_version="minkocc-0")),
        ["minkocc_infos_train.pkl", "'minkocc-0'", "tools/create_data.py"],
    ),
    "infos without a key": (
        change_infos(lambda infos, root: infos["data_list"][3].pop("ego2global")),
        ["minkocc_infos_train.pkl", "missing ego2global", "tools/create_data.py"],
    ),
    "infos with code": (
        change_infos(lambda infos, root: infos["metainfo"].update(note=Bomb(root / "ran"))),
        ["minkocc_infos_train.pkl", "could run code: refused", "tools/create_data.py"],
    ),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(linked_root, tmp_path, case):
    spoil, words = BAD_DATA[case]
    spoil(linked_root)
    work_dir = tmp_path / "work"
    expect_error(train(linked_root, work_dir), *words)
    assert_nothing_half_written(linked_root, work_dir)
    assert not (linked_root / "ran").exists()


def test_what_only_the_phase_after_the_switch_reads_is_missed_before_the_first_iteration(
    linked_root, tmp_path
):
    shutil.rmtree(linked_root / "pseudo_labels")
    off = {"weight_2d": 0, "lift_weight": 0, "vote_weight": 1.0}
    done = train(linked_root, tmp_path / "work", **off)
    expect_error(done, "pseudo_labels/meta.json does not exist", "tools/generate_pseudo_labels.py")
    assert "Epoch(train)" not in done.stdout


def assert_nothing_half_written(*folders):
    for folder in folders:
        assert not list(folder.rglob("*.part"))
        assert not list(folder.rglob("*.pth"))


BAD_RECIPES = {
    "misspelt top-level key": ({"alhpa": 0.2}, ["'alhpa'", "did you mean 'alpha'"]),
    "misspelt key in the model": (
        {"model.genunet.max_voxel": 9},
        ["model.genunet: MinkGenUNet takes no 'max_voxel'", "did you mean 'max_voxels'"],
    ),
    "unknown type in the model": (
        {"model.genunet.type": "MinkGenUnet"},
        ["model.genunet", "'MinkGenUnet'", "did you mean 'MinkGenUNet'"],
    ),
    "alpha": ({"alpha": 1.7}, ["alpha 1.7", "from 0 to 1"]),
    "voxel size": ({"voxel_size": 0.3}, ["voxel_size 0.3", "0.4, 0.2 or 0.1"]),
    "value that a component refuses": (
        {"model.genunet.backend": "mink"},
        ["the recipe cannot be built", "unknown sparse backend 'mink'", "minkowski, torch"],
    ),
    "heads that do not fit the trunk": (
        {"model.semantic_head.channels": 24},
        ["semantic_head.channels is 24", "channels[0], is 16"],
    ),
    "missing data root": (
        {"data_root": "nowhere"},
        ["nowhere/minkocc_infos_train.pkl does not exist", "tools/create_data.py"],
    ),
}


@pytest.mark.parametrize("case", BAD_RECIPES)
def test_bad_recipe(synthetic_root, tmp_path, case):
    knobs, words = BAD_RECIPES[case]
    expect_error(train(synthetic_root, tmp_path / "work", **knobs), *words)
    assert_nothing_half_written(tmp_path)


def with_code(path, target):
    content = torch.load(path, weights_only=True)
    content["meta"]["note"] = Bomb(target.parent / "ran")
    torch.save(content, target)


BAD_CHECKPOINTS = {
    "with code": (with_code, {}, ["bad.pth", "could run code: refused"]),
    "of another model": (
        shutil.copy,
        OTHER_MODEL,
        ["bad.pth is of another model", "differs in", "genunet", "the config it was trained with"],
    ),
    "truncated": (
        lambda path, target: target.write_bytes(path.read_bytes()[:-1000]),
        {},
        ["bad.pth cannot be read", "take the one before it"],
    ),
    "missing": (lambda path, target: None, {}, ["bad.pth does not exist", "check the path"]),
}


@pytest.mark.parametrize("script", ["train.py", "test.py"])
@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_bad_checkpoint(run, synthetic_root, tmp_path, case, script):
    spoil, knobs, words = BAD_CHECKPOINTS[case]
    spoil(run[0] / "epoch_1.pth", tmp_path / "bad.pth")
    resume = ["--resume"] if script == "train.py" else []
    more = ["--work-dir", tmp_path / "work", *options(synthetic_root, **knobs)]
    expect_error(tool(script, CONFIG, *resume, tmp_path / "bad.pth", *more), *words)
    assert not (tmp_path / "ran").exists()
    assert_nothing_half_written(tmp_path / "work")


def test_weights_of_something_else_to_begin_from(synthetic_root, tmp_path):
    torch.save({"state_dict": {"foo.bar": torch.ones(3)}}, tmp_path / "other.pth")
    done = train(synthetic_root, tmp_path / "work", load_from=tmp_path / "other.pth")
    expect_error(done, "other.pth holds none of this model's", "foo.bar")


def test_a_kept_recipe_does_not_train_into_its_own_run(run, synthetic_root):
    before = {path: path.stat().st_mtime_ns for path in run[0].rglob("*")}
    done = tool("train.py", run[0] / "recipe.py", *options(synthetic_root))
    expect_error(done, "recipe.py is what a former run kept", "--work-dir", "--resume")
    assert {path: path.stat().st_mtime_ns for path in run[0].rglob("*")} == before


def test_a_work_dir_that_is_a_file(synthetic_root, tmp_path):
    (tmp_path / "work").write_text("")
    done = train(synthetic_root, tmp_path / "work")
    expect_error(done, str(tmp_path / "work"), "name a folder")


def test_a_resumed_run_keeps_its_label_budget(run, synthetic_root, tmp_path):
    arguments = ("--resume", run[0] / "epoch_1.pth")
    done = train(synthetic_root, tmp_path, *arguments, alpha=0.6)
    expect_error(done, "epoch_1.pth was trained with alpha 0.4", "Resume with alpha=0.4")
    assert_nothing_half_written(tmp_path)


def test_a_resumed_run_that_is_longer_is_warned_of(run, synthetic_root, tmp_path):
    arguments = ("--resume", run[0] / "epoch_2.pth")
    done = train(synthetic_root, tmp_path, *arguments, max_epochs=3)
    assert done.returncode == 0, done.stderr[-3000:]
    output = done.stdout + done.stderr
    assert "resumed with max_epochs 3, the checkpoint was trained with 2" in output


def test_pretrained_image_weights_with_code(run, synthetic_root, tmp_path):
    with_code(run[0] / "epoch_1.pth", tmp_path / "bad.pth")
    done = train(synthetic_root, tmp_path / "work", image_pretrained=tmp_path / "bad.pth")
    expect_error(done, "image_pretrained", "bad.pth", "local checkpoint")
    assert not (tmp_path / "ran").exists()


def test_full_disk_while_a_checkpoint_is_written(run, synthetic_root, tmp_path):
    """The limit on a file's size stands for the disk: writing fails half-way just so."""
    shutil.copy(run[0] / "epoch_1.pth", tmp_path)
    size = (tmp_path / "epoch_1.pth").stat().st_size
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_1.pth"))
    arguments = [CONFIG, "--work-dir", tmp_path, "--resume"]
    # One checkpoint is kept, so mmengine alone would have removed it by now.
    arguments += options(synthetic_root, **{"default_hooks.checkpoint.max_keep_ckpts": 1})
    done = tool(
        "train.py",
        *arguments,
        prepare=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size // 2, size // 2)),
    )
    expect_error(done, "epoch_2.pth", "could not be written", "make room", "--resume")
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_1.pth"]
    assert not list(tmp_path.glob(".*.part"))
    assert (tmp_path / "last_checkpoint").read_text().endswith("epoch_1.pth")
    # With room again, the run goes on from the checkpoint that survived.
    done = tool("train.py", *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [path.name for path in tmp_path.glob("*.pth")] == ["epoch_2.pth"]


def test_debug_shows_the_traceback(synthetic_root, tmp_path):
    done = train(synthetic_root, tmp_path, "--debug", alpha=1.7)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ConfigError: alpha 1.7" in done.stderr


def test_unknown_exceptions_keep_their_traceback(synthetic_root, tmp_path):
    hook = tmp_path / "broken_hook.py"
    hook.write_text(
        "from mmengine.hooks import Hook\n"
        "from minkocc.registry import HOOKS\n"
        "@HOOKS.register_module()\n"
        "class Broken(Hook):\n"
        "    def before_train(self, runner):\n"
        "        raise RuntimeError('a bug of our own')\n"
    )
    config = tmp_path / "broken.py"
    config.write_text(
        f"_base_ = [{str(CONFIG)!r}]\n"
        "custom_imports = dict(imports=['broken_hook'])\n"
        "custom_hooks = [dict(type='Broken')]\n"
    )
    arguments = [config, "--work-dir", tmp_path, *options(synthetic_root)]
    done = tool("train.py", *arguments, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: a bug of our own" in done.stderr


def test_ctrl_c(synthetic_root, tmp_path):
    knobs = {"max_epochs": 50, "default_hooks.logger.interval": 1}
    process = ToolProcess(
        "train.py", CONFIG, "--work-dir", tmp_path, *options(synthetic_root, **knobs)
    )
    process.wait_for((tmp_path / "epoch_1.pth").is_file)
    process.kill(signal.SIGINT)  # as a terminal does: to the data workers too
    done = process.wait(100)
    assert done.returncode == 130
    assert done.stderr.strip().splitlines()[-1] == "interrupted"
    assert "Traceback" not in done.stderr
    assert not list(Path(tmp_path).glob(".*.part"))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("alpha", "expected KEY=VALUE"),
        ("weak_frames=[8,0", "--cfg-options weak_frames=[8,0"),
        ("model.genunet.max_voxels.x=1", "does not fit"),
    ],
)
def test_bad_option(tmp_path, option, words):
    done = tool("train.py", CONFIG, "--work-dir", tmp_path, "--cfg-options", option)
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    assert words in done.stderr.strip().splitlines()[-1]
