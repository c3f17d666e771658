from minkocc.apis.baselines import measure_height_baseline
from minkocc.config import load_config
from tests.e2e.job import CONFIG


def test_height_baseline_under_the_recipes_protocols(synthetic_root):
    cfg = load_config(CONFIG, {"data_root": str(synthetic_root), "alpha": 0.4})
    occ3d, rayiou = measure_height_baseline(cfg)
    assert (occ3d["protocol"], rayiou["protocol"]) == ("occ3d", "rayiou")
    assert occ3d["num_frames"] == rayiou["num_frames"] == 2
    # The ground lies at one height, and returns mark what is occupied: better than nothing.
    assert occ3d["iou"]["driveable_surface"] > 10.0
    assert 5.0 < occ3d["geometric_iou"] < 90.0
    assert 0.0 < rayiou["rayiou"] < 50.0
