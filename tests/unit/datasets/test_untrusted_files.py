"""What stands where a file of data should and is none, or unpacks to more than memory holds."""

import os
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minkocc.data_report.statistics import reference_clouds
from minkocc.datasets.lidarseg import read_categories
from minkocc.datasets.nuscenes_tables import open_root
from minkocc.datasets.transforms.loading import read_image, read_lidar
from minkocc.datasets.transforms.pseudo_labels import read_label_image
from minkocc.evaluation import prediction_folder
from minkocc.files import occupancy
from minkocc.files.fingerprint import fingerprint
from minkocc.files.infos import read_infos
from minkocc.files.occupancy import read_label
from minkocc.files.pseudo_label_meta import read_meta
from minkocc.structures.errors import UserError
from minkocc.structures.voxel_grid import OCC3D_GRID

READERS = {
    "prediction": occupancy.read_prediction,
    "measured label": occupancy.read_measured_label,
    "label": read_label,
    "LiDAR": read_lidar,
    "cloud": lambda path: reference_clouds([path]),
    "lidarseg": lambda path: read_categories(path, {}, 3),
    "image": lambda path: read_image(path, {"width": 4, "height": 3}),
    "pseudo-label": lambda path: read_label_image(path, "labels", (3, 4)),
    "infos": read_infos,
    "ray origins": prediction_folder.frames_of_origins,
}


@pytest.mark.parametrize("kind", READERS)
def test_a_pipe_is_not_waited_for(tmp_path, kind, soon):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(UserError, match=r"pipe\.npz"):
        READERS[kind](tmp_path / "pipe.npz")


def test_pipes_under_other_names_are_not_waited_for(tmp_path, soon):
    os.mkfifo(tmp_path / "meta.json")
    with pytest.raises(UserError, match=r"meta\.json cannot be read .*no regular file"):
        read_meta(tmp_path)
    assert fingerprint(tmp_path, ["meta.json"], by_content=True).startswith("meta.json 0 ")
    (tmp_path / "v1.0-x").mkdir()
    for name in ("scene.json", "log.json"):
        (tmp_path / "v1.0-x" / name).write_text("[]")
    os.mkfifo(tmp_path / "v1.0-x" / "sample.json")
    with pytest.raises(UserError, match=r"v1\.0-x cannot be read .*no regular file.*sample"):
        open_root(tmp_path, "v1.0-x")


@pytest.mark.parametrize("kind", READERS)
def test_a_folder_is_named(tmp_path, kind):
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UserError, match=r"folder\.npz"):
        READERS[kind](tmp_path / "folder.npz")


@pytest.mark.parametrize("kind", READERS)
def test_a_device_without_an_end_is_not_read(kind, soon):
    with pytest.raises(UserError, match="/dev/zero"):
        READERS[kind](Path("/dev/zero"))


def zeros(shape, descr="|u1", version=b"\x01\x00", header=None):
    """A member of so many zeros, behind a header that says what it likes of them."""
    text = header or f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117).encode() + b"\n"
    size = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + size + text


def bomb(path, key, start, size):
    """An archive whose member begins so and goes on in zeros."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{key}.npy", "w") as member,
    ):
        member.write(start)
        for _ in range(size >> 20):
            member.write(bytes(1 << 20))


GRID = OCC3D_GRID.shape
BOMBS = {
    "a large array": (zeros((32 << 20,)), 32 << 20, r"unpacks to 32\.0 MiB"),
    "large elements": (zeros(GRID, "<f16"), 32 << 20, r"unpacks to 9\.8 MiB"),
    "a header without an end": (zeros(GRID, version=b"\x02\x00"), 32 << 20, "in a version"),
    "more than the header says": (zeros(GRID), 32 << 20, "is longer than it says"),
    "negative lengths": (zeros((-1, -(10**12))), 1 << 20, "cannot be read"),
    "no shape": (zeros("'x'"), 1 << 20, "cannot be read"),
    "objects": (zeros(GRID, "|O"), 1 << 20, "holds Python objects"),
}


@pytest.mark.parametrize("case", BOMBS)
@pytest.mark.parametrize(
    ("kind", "key"),
    [("prediction", "pred"), ("measured label", "semantics"), ("label", "semantics")],
)
def test_what_a_header_claims_is_checked_before_it_is_read(tmp_path, kind, key, case):
    start, size, words = BOMBS[case]
    path = tmp_path / "bomb.npz"
    bomb(path, key, start, size)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"bomb\.npz cannot be read .*{words}|{words}"):
            READERS[kind](path)
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()


def test_what_is_beside_the_wanted_arrays_is_not_unpacked(tmp_path):
    path = tmp_path / "a.npz"
    bomb(path, "more", zeros((32 << 20,)), 32 << 20)
    with zipfile.ZipFile(path, "a") as archive, archive.open("pred.npy", "w") as member:
        np.save(member, np.full(GRID, 17, np.uint8))
    semantics, instances = occupancy.read_prediction(path)
    assert (semantics == 17).all()
    assert instances is None
