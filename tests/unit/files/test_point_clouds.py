"""LiDAR files of every format, written by the library that reads them or by hand."""

import struct

import numpy as np
import pytest
from plyfile import PlyData, PlyElement
from pypcd4 import Encoding, PointCloud

from minkocc.files.point_clouds import PointCloudError, read_cloud, suffix_of

POINTS = np.array([[1.5, -2.0, 0.25, 10.0], [30.0, 4.0, -1.5, 200.0]], np.float32)


def write_pcd(path, encoding=Encoding.BINARY):
    PointCloud.from_xyzi_points(POINTS).save(path, encoding=encoding)


def write_ply(path, names=("x", "y", "z", "intensity"), text=False):
    rows = np.array([tuple(row) for row in POINTS], [(name, "f4") for name in names])
    PlyData([PlyElement.describe(rows, "vertex")], text=text).write(str(path))


WRITERS = {
    "a.pcd.bin": lambda p: np.pad(POINTS, ((0, 0), (0, 1))).tofile(p),
    "a.bin": lambda p: POINTS.tofile(p),
    "a.npy": lambda p: np.save(p, POINTS.astype(np.float64)),
    "a.npz": lambda p: np.savez(p, data=POINTS),
    "one.npz": lambda p: np.savez(p, whatever=POINTS),
    "a.pcd": write_pcd,
    "ascii.pcd": lambda p: write_pcd(p, Encoding.ASCII),
    "small.pcd": lambda p: write_pcd(p, Encoding.BINARY_COMPRESSED),
    "a.ply": write_ply,
    "text.ply": lambda p: write_ply(p, text=True),
    "reflected.ply": lambda p: write_ply(p, ("X", "Y", "Z", "Reflectance")),
    "UPPER.BIN": lambda p: POINTS.tofile(p),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_points(tmp_path, name):
    WRITERS[name](tmp_path / name)
    np.testing.assert_allclose(read_cloud(tmp_path / name), POINTS, rtol=1e-6)


def test_columns_are_named_where_the_file_does_not(tmp_path):
    path = tmp_path / "a.bin"
    POINTS[:, [3, 2, 1, 0]].tofile(path)
    np.testing.assert_array_equal(read_cloud(path, ["intensity", "z", "y", "x"]), POINTS)
    POINTS[:, :3].tofile(path)
    without = read_cloud(path, ["x", "y", "z"])
    np.testing.assert_array_equal(without[:, :3], POINTS[:, :3])
    assert not without[:, 3].any()


@pytest.mark.parametrize("name", ["a.pcd", "a.ply"])
def test_rays_that_met_nothing_are_left_out(tmp_path, name, monkeypatch):
    nothing = np.full((1, 4), np.nan, np.float32)
    monkeypatch.setitem(globals(), "POINTS", np.concatenate([nothing, POINTS]))
    WRITERS[name](tmp_path / name)
    assert len(read_cloud(tmp_path / name)) == 2


def header(points):
    return (
        f"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {points}\nHEIGHT 1\n"
        f"POINTS {points}\nDATA binary\n"
    ).encode()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.bin", b"123456789", "9 bytes are no rows of 4 float32"),
        ("a.pcd.bin", struct.pack("6f", *range(6)), "24 bytes are no rows of 5 float32"),
        ("a.bin", b"", "holds no point"),
        ("a.npy", b"no array", "cannot be read"),
        ("a.npz", b"PK no zip", "cannot be read"),
        ("a.pcd", b"no header", "cannot be read"),
        ("a.pcd", header(10) + b"1234", "cannot be read"),
        ("a.ply", b"ply\nformat binary_little_endian 1.0\n", "cannot be read"),
        ("a.las", b"", "expected a name that ends in"),
    ],
)
def test_what_is_no_cloud_is_told_in_a_line(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PointCloudError, match=words) as told:
        read_cloud(tmp_path / name)
    assert name in str(told.value)
    assert "\n" not in str(told.value)


def test_arrays_that_would_run_code_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"x": 1}], object), allow_pickle=True)
    with pytest.raises(PointCloudError, match="cannot be read"):
        read_cloud(tmp_path / "a.npy")


def test_wrong_shapes_and_columns_name_the_remedy(tmp_path):
    np.save(tmp_path / "a.npy", POINTS[:, :3])
    with pytest.raises(PointCloudError, match=r"\(2, 3\), expected \(P, 4\).*in the manifest"):
        read_cloud(tmp_path / "a.npy")
    np.savez(tmp_path / "a.npz", one=POINTS, two=POINTS)
    with pytest.raises(PointCloudError, match="holds one, two, expected one array"):
        read_cloud(tmp_path / "a.npz")
    write_ply(tmp_path / "a.ply", ("u", "v", "w", "intensity"))
    with pytest.raises(PointCloudError, match="and no x, y, z"):
        read_cloud(tmp_path / "a.ply")


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(PointCloudError, match="cannot be read: No such file"):
        read_cloud(tmp_path / "a.bin")
    (tmp_path / "b.bin").mkdir()
    with pytest.raises(PointCloudError, match=r"b\.bin cannot be read"):
        read_cloud(tmp_path / "b.bin")


def test_the_longest_suffix_counts():
    assert suffix_of("x/a.pcd.bin") == ".pcd.bin"
    assert suffix_of("a.bin") == ".bin"
