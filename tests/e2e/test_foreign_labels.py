"""Labels of another benchmark through the tool: what was cut to its voxels comes back."""

import numpy as np

from minkocc.datasets.foreign_labels import FORMATS
from minkocc.files.infos import read_infos
from minkocc.files.occupancy import read_label
from minkocc.structures.taxonomy import FREE
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.e2e import job

FORM = FORMATS["surroundocc"]


def as_surroundocc(frame, semantics):
    """The rows that SurroundOcc would have of an Occ3D label: each of its voxels by its centre."""
    index = np.stack(np.meshgrid(*map(np.arange, FORM.grid.shape), indexing="ij"), -1)
    mount = frame["lidar_points"]["lidar2ego"]
    ego = FORM.grid.to_centre(index) @ mount[:3, :3].T + mount[:3, 3]
    source = OCC3D_GRID.to_index(ego)
    inside = OCC3D_GRID.contains(source)
    classes = np.full(FORM.grid.shape, FREE)
    classes[inside] = semantics[tuple(source[inside].T)]
    place = np.argwhere(classes != FREE)
    return np.column_stack([place, classes[classes != FREE]])


def test_labels_are_brought_to_occ3ds_grid(synthetic_root, tmp_path):
    infos = synthetic_root / "minkocc_infos_val.pkl"
    frames = read_infos(infos)["data_list"]
    exact = {}
    for frame in frames[:1]:
        label = read_label(synthetic_root / frame["occ_path"])["voxel_semantics"]
        exact[frame["token"]] = label
        name = frame["lidar_points"]["lidar_path"].rsplit("/", 1)[-1]
        np.save(tmp_path / f"{name}.npy", as_surroundocc(frame, label))
    arguments = (
        "converters/occupancy_labels.py", "--root", tmp_path / "root", "--infos", infos,
        "--labels", tmp_path, "--format", "surroundocc",
    )  # fmt: skip
    done = job.tool(*arguments)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"1 labels written, {len(frames) - 1} frames have none" in done.stdout
    frame = frames[0]
    path = tmp_path / "root" / "gts" / frame["scene_name"] / frame["token"] / "labels.npz"
    found = read_label(path)
    want, got = exact[frame["token"]], found["voxel_semantics"]
    both = (want != FREE) & (got != FREE)
    either = ((want != FREE) | (got != FREE)) & found["mask_camera"]
    assert both.sum() / either.sum() > 0.4  # layers of 0.5 m do not meet those of 0.4
    # Noise is class 0 there, as Occ3D's 'others' would be: it is masked, never called free.
    assert (want[both] == got[both]).mean() > 0.9
    again = job.tool(*arguments)
    assert again.returncode != 0
    assert "exists: take another --root, or allow it with --overwrite" in again.stderr
