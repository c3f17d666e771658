"""The example notebook runs from its first cell to its last, where ``make demo`` would leave it."""

import json
import shutil

import numpy as np
from PIL import Image

from tests.e2e import job


def test_the_notebook_runs(synthetic_root, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    shutil.copytree(synthetic_root, tmp_path / "data" / "synthetic", symlinks=True)
    for name in ("configs", "results"):
        (tmp_path / name).symlink_to(job.ROOT / name)
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((job.ROOT / "docs" / "prediction.ipynb").read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    names, shown = {}, []
    for cell in cells:
        *before, last = "".join(cell["source"]).rsplit("\n", 1)
        try:
            value = compile(last, "cell", "eval")
        except SyntaxError:  # a cell that shows nothing
            exec("".join(cell["source"]), names)
        else:
            exec("".join(before), names)
            shown.append(eval(value, names))
    assert names["voxels"].shape == names["mine_voxels"].shape == (200, 200, 16)
    assert [type(each) for each in shown] == [dict, Image.Image, Image.Image, Image.Image, str]
    assert all(np.asarray(each).std() > 10 for each in shown if isinstance(each, Image.Image))
    assert "of the occupied voxels found" in shown[-1]
