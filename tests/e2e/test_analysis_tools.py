"""The tools under ``tools/analysis``, each with what it is for and with what it refuses."""

import json

from PIL import Image

from minkocc.config import load_config
from tests.e2e.job import CONFIG, expect_error, options, tool


def test_the_printed_config_is_the_one_that_a_run_gets(tmp_path):
    done = tool("analysis/print_config.py", CONFIG, "--cfg-options", "alpha=0.3")
    assert done.returncode == 0, done.stderr[-3000:]
    (tmp_path / "printed.py").write_text(done.stdout)
    printed = load_config(tmp_path / "printed.py").to_dict()
    assert printed == load_config(CONFIG, {"alpha": 0.3}).to_dict()
    done = tool("analysis/print_config.py", CONFIG, "--knobs")
    assert "| `weight_2d` | `4.0` | factor on the 2D loss" in done.stdout
    expect_error(tool("analysis/print_config.py", "nothing.py"), "nothing.py is not a file")


def test_curves_of_a_run(run, tmp_path):
    done = tool("analysis/plot_curves.py", run[0], "--out", tmp_path / "c.png")
    assert done.returncode == 0, done.stderr[-3000:]
    with Image.open(tmp_path / "c.png") as image:
        assert image.size[0] > 1000
    expect_error(
        tool("analysis/plot_curves.py", tmp_path, "--out", tmp_path / "c.png"),
        f"{tmp_path} holds no <time>/vis_data",
    )


def test_training_frames_are_drawn_as_they_are_trained_on(linked_root, tmp_path):
    more = ("--max-frames", 1, "--phase", "weak", *options(linked_root, cache_root=tmp_path / "c"))
    done = tool("analysis/browse_dataset.py", CONFIG, "--out", tmp_path / "look", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "look").glob("*_weak.png"))) == 1
    done = tool("analysis/browse_dataset.py", CONFIG, "--out", tmp_path, *options("/nowhere"))
    expect_error(done, "/nowhere")


def test_parameters_and_products_are_counted(run, linked_root, tmp_path):
    more = ("--out", tmp_path / "c.json", *options(linked_root))
    done = tool("analysis/count_parameters.py", CONFIG, run[0] / "epoch_2.pth", *more)
    assert done.returncode == 0, done.stderr[-3000:]
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["modules"]["all"]["gmacs"] > 0
    assert {"commit", "machine", "command"} <= content.keys()
    wrong = options(linked_root, **{"model.semantic_head.channels": 5})
    expect_error(
        tool("analysis/count_parameters.py", CONFIG, *wrong), "semantic_head.channels is 5"
    )
    missing = tool("analysis/count_parameters.py", CONFIG, *options("/nowhere"))
    expect_error(missing, "/nowhere")
