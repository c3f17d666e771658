"""Every renderer is timed in every case, and Pulsar's images are compared where it is installed."""

import pytest

from minkocc.apis.benchmark.rendering_times import measure_agreement, measure_times, times_table
from minkocc.files.infos import read_infos


def test_times_are_of_every_renderer_and_case(synthetic_root):
    frame = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"][0]
    rows = measure_times(frame, synthetic_root, (50, 10**9), (2,), (96,), 2)
    names = [row["renderer"] for row in rows]
    assert {"spheres", "voxels"} <= set(names)
    assert len(rows) == 2 * len(set(names))
    assert {row["voxels"] for row in rows} > {50}
    for row in rows:
        assert row["size"][1] == 96
        for key in ("forward_s", "backward_s", "both_s"):
            assert 0 < row[key]["min"] <= row[key]["median"] <= row[key]["max"]
    table = times_table(rows).splitlines()
    assert len(table) == 2 + 2
    assert "spheres" in table[0]
    assert "6 x 96x54" in table[2]


def test_pulsars_images_beside_ours(synthetic_root):
    pytest.importorskip("pytorch3d")
    frame = read_infos(synthetic_root / "minkocc_infos_val.pkl")["data_list"][0]
    found = measure_agreement(frame, synthetic_root, 96)
    assert found["views"] == [6, 54, 96]
    assert found["pixels"] > 1000
    assert found["within_5_percent"] > 98
    assert found["median_percent"] < 1
