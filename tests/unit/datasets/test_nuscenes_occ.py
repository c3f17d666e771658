import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch.utils.data import DataLoader

from minkocc.datasets.label_audit import watch_truth
from minkocc.datasets.nuscenes_occ import Occ3DNuScenesDataset
from minkocc.files.occupancy import LabelBudgetError, LabelError
from minkocc.structures.phase import Phase, TrainIndex
from minkocc.structures.voxel_grid import OCC3D_GRID

RANGE = list(OCC3D_GRID.point_cloud_range)
PIPELINE = [
    {"type": "LoadPoints", "sweeps": 1},
    {"type": "LoadImages"},
    {"type": "LoadOccupancyLabel", "point_cloud_range": RANGE, "voxel_size": 0.4},
    {"type": "LoadPseudoLabels"},
    {"type": "LiftPseudoLabels", "lift_weight": 0.0},
    {"type": "SampleLattice", "render_stride": 4},
    {"type": "LoadWeakOccupancy", "point_cloud_range": RANGE, "voxel_size": 0.4},
    {"type": "AugmentScene", "point_cloud_range": RANGE, "voxel_size": 0.4},
    {
        "type": "AugmentImages",
        "image_size": [54, 96],
        "scale": [0.9, 1.1],
        "shift": 0.05,
        "rotate": 5.0,
        "colour": 0.2,
    },
    {"type": "DropVoxels", "ratio": 0.1},
    {"type": "PackOccInputs"},
]


def make(root, split="train", **settings):
    init_default_scope("minkocc")
    settings = {"pipeline": PIPELINE, "alpha": 0.4, "weak_frames": (1, 0), **settings}
    return Occ3DNuScenesDataset(str(root), f"minkocc_infos_{split}.pkl", **settings)


def fields(item):
    sample = item["data_samples"]
    return {**item["inputs"], **{key: sample.get(key) for key in sample.keys()}}  # noqa: SIM118


def same(first, second):
    first, second = fields(first), fields(second)
    assert first.keys() == second.keys()
    return all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def no_watch():
    yield
    watch_truth(None)


def outside(dataset):
    return next(i for i in range(len(dataset)) if i not in dataset.labelled_indices())


def test_budget_is_drawn_over_scenes(synthetic_root):
    dataset = make(synthetic_root)
    assert len(dataset) == 6
    assert len(dataset.label_budget.scenes) == 2  # ceil(0.4 * 3)
    assert len(dataset.labelled_indices()) == 4
    assert make(synthetic_root, alpha=None).labelled_indices() == []


@pytest.mark.parametrize(
    ("phase", "targets"),
    [
        (Phase.WARM, {"voxel_semantics", "mask_camera"}),
        (Phase.WEAK, {"weak_occupancy"}),
        (Phase.STRONG, {"voxel_semantics", "mask_camera"}),
    ],
)
def test_a_phase_loads_its_targets_and_no_others(synthetic_root, phase, targets):
    dataset = make(synthetic_root)
    item = dataset[TrainIndex(dataset.labelled_indices()[0], 3, phase)]
    sample = item["data_samples"]
    assert sample.phase is phase
    assert sample.iteration == 3
    cameras = {"ego2img", "ego2cam", "cam2img", "ego_aug", "img2raw"}
    cameras |= {"img_semantics", "img_confidence"}
    assert set(sample.keys()) == targets | cameras
    assert item["inputs"]["imgs"].shape == (6, 3, 54, 96)
    assert item["inputs"]["imgs"].dtype == torch.uint8
    assert item["inputs"]["points"].shape[1] == 5
    for key in targets:
        assert sample.get(key).shape == (200, 200, 16)
    for key in ("img_semantics", "img_confidence"):
        assert sample.get(key).shape == (6, 27, 48)  # 108 x 192 pixels, one in four by four
        assert sample.get(key).dtype == torch.uint8


def test_weak_phase_never_opens_a_label(linked_root):
    for path in (linked_root / "gts").rglob("labels.npz"):
        path.unlink()
        path.write_bytes(b"this is not an archive")
    dataset = make(linked_root)
    for index in range(len(dataset)):
        dataset[TrainIndex(index, 0, Phase.WEAK)]
    with pytest.raises(LabelError, match="cannot be read"):
        dataset[TrainIndex(dataset.labelled_indices()[0], 0, Phase.WARM)]
    shutil.rmtree(linked_root / "gts")
    dataset[TrainIndex(0, 0, Phase.WEAK)]


@pytest.mark.parametrize("phase", [Phase.WARM, Phase.STRONG])
def test_dense_phase_outside_the_budget_is_refused(synthetic_root, phase):
    dataset = make(synthetic_root)
    index = outside(dataset)
    token = dataset.get_data_info(index)["token"]
    with pytest.raises(LabelBudgetError, match=f"the dense label of {token}.*alpha_0.4_seed_0"):
        dataset[TrainIndex(index, 0, phase)]


def test_only_dense_reads_are_audited(synthetic_root, tmp_path, no_watch):
    dataset = make(synthetic_root)
    dataset.audit = (tmp_path / "audit", 0)
    index = dataset.labelled_indices()[1]
    dataset[TrainIndex(0, 0, Phase.WEAK)]
    assert not (tmp_path / "audit").exists()
    dataset[TrainIndex(index, 0, Phase.WARM)]
    (log,) = (tmp_path / "audit").iterdir()
    assert log.read_text().split() == ["dense", dataset.get_data_info(index)["token"]]


def test_a_process_that_loads_frames_keeps_the_audit_too(synthetic_root, tmp_path, no_watch):
    dataset = make(synthetic_root)
    dataset.audit = (tmp_path / "audit", 3)
    index = TrainIndex(dataset.labelled_indices()[0], 0, Phase.WARM)
    loader = DataLoader(
        dataset, sampler=[index], num_workers=1, collate_fn=len, multiprocessing_context="fork"
    )
    assert list(loader) == [1]
    (log,) = (tmp_path / "audit").iterdir()
    assert log.name.startswith("3-")
    assert log.name != f"3-{os.getpid()}.txt"


def test_two_data_roots_share_no_cache(synthetic_root, linked_root, tmp_path):
    first, second = (make(root, cache_root=str(tmp_path)) for root in (synthetic_root, linked_root))
    assert first.cache_root != second.cache_root
    assert Path(first.cache_root).parent == Path(second.cache_root).parent == tmp_path
    assert make(synthetic_root).cache_root == str(synthetic_root)


def test_a_root_may_be_relative_to_where_one_is(synthetic_root, monkeypatch):
    foreign = [
        {
            "type": "mmdet3d.LoadPointsFromFile",
            "coord_type": "LIDAR",
            "load_dim": 5,
            "use_dim": 4,
        },
        {"type": "PointsToEgo"},
    ]
    monkeypatch.chdir(synthetic_root.parent)
    for first in ([PIPELINE[0]], foreign):
        index = TrainIndex(0, 0, Phase.WEAK)
        pipeline = [*first, *PIPELINE[1:]]
        whole, relative = (
            make(root, pipeline=pipeline)[index] for root in (synthetic_root, synthetic_root.name)
        )
        assert same(whole, relative)


def test_a_subset_knows_the_scene_of_every_frame(synthetic_root):
    assert len(make(synthetic_root, indices=1).scene_of) == 6


def test_whatever_opens_ground_truth_is_noted(synthetic_root, tmp_path, no_watch):
    frame = make(synthetic_root).get_data_info(0)
    (scan, *_) = sorted((synthetic_root / "lidarseg").rglob("*.bin"))
    watch_truth(tmp_path / "audit")
    with open(synthetic_root / frame["occ_path"], "rb"):
        pass
    np.fromfile(str(scan), np.uint8)
    scan.read_bytes()
    (synthetic_root / "v1.0-synthetic" / "sample_annotation.json").read_text()
    (synthetic_root / "v1.0-synthetic" / "ego_pose.json").read_text()
    np.fromfile(synthetic_root / frame["lidar_points"]["lidar_path"], np.float32)
    watch_truth(None)
    np.load(synthetic_root / make(synthetic_root).get_data_info(1)["occ_path"])
    (log,) = (tmp_path / "audit").iterdir()
    assert log.read_text().splitlines() == [
        f"dense {frame['token']}", f"lidarseg {scan.name}", "boxes sample_annotation.json",
    ]  # fmt: skip


OPENERS = {
    "open": lambda path: open(path, "rb"),  # noqa: SIM115
    "open as bytes": lambda path: open(os.fsencode(path), "rb"),  # noqa: SIM115
    "Path.read_bytes": Path.read_bytes,
    "np.load": np.load,
    "np.fromfile": lambda path: np.fromfile(path, np.uint8),
    "os.open": lambda path: os.open(path, os.O_RDONLY),
    "zipfile": zipfile.ZipFile,
}


@pytest.mark.parametrize("opener", OPENERS)
def test_whatever_opens_a_label_outside_the_budget_is_stopped(
    synthetic_root, tmp_path, no_watch, opener
):
    dataset = make(synthetic_root)
    inside, beyond = (
        dataset.get_data_info(i) for i in (dataset.labelled_indices()[0], outside(dataset))
    )
    (validated, *_) = make(synthetic_root, "val", test_mode=True).frames()
    assert len(dataset.closed_labels()) == 2
    watch_truth(tmp_path / "audit", 0, dataset.closed_labels())
    with pytest.raises(LabelBudgetError, match=f"label of {beyond['token']}, a training frame"):
        OPENERS[opener](synthetic_root / beyond["occ_path"])
    for frame in (inside, validated):
        with open(synthetic_root / frame["occ_path"], "rb"):
            pass
    (log,) = (tmp_path / "audit").iterdir()
    assert log.read_text().splitlines() == [
        f"dense {frame['token']}" for frame in (inside, validated)
    ]


def test_a_label_that_infos_call_anothers_is_stopped(synthetic_root, tmp_path, no_watch):
    """The reader goes by the frame's scene, the watch by the file that is opened."""
    dataset = make(synthetic_root)
    inside = dataset.get_data_info(dataset.labelled_indices()[0])
    inside["occ_path"] = dataset.get_data_info(outside(dataset))["occ_path"]
    watch_truth(tmp_path / "audit", 0, dataset.closed_labels())
    with pytest.raises(LabelBudgetError, match="a training frame outside the label budget"):
        dataset.label_reader.read(inside)


def test_evaluation_data_close_no_label(synthetic_root):
    assert make(synthetic_root, "val", test_mode=True).closed_labels() == frozenset()


@pytest.mark.parametrize("phase", [Phase.WARM, Phase.WEAK])
def test_augmentation_depends_on_seed_iteration_and_index_alone(synthetic_root, phase):
    first, second = make(synthetic_root), make(synthetic_root)
    a, b = first.labelled_indices()[:2]
    expected = first[TrainIndex(a, 5, phase)]
    second[TrainIndex(b, 1, Phase.WEAK)]
    np.random.seed(9)  # noqa: NPY002 the legacy generator must not matter
    torch.manual_seed(9)
    assert same(second[TrainIndex(a, 5, phase)], expected)
    lattice = second[TrainIndex(a, 5, phase)]["data_samples"].lattice
    assert lattice == expected["data_samples"].lattice
    again = second[TrainIndex(a, 6, phase)]
    assert not torch.equal(again["data_samples"].ego_aug, expected["data_samples"].ego_aug)
    other = second[TrainIndex(b, 5, phase)]
    assert not torch.equal(other["data_samples"].ego_aug, expected["data_samples"].ego_aug)
    reseeded = make(synthetic_root, seed=1, alpha=1.0)[TrainIndex(a, 5, phase)]
    assert not torch.equal(reseeded["data_samples"].ego_aug, expected["data_samples"].ego_aug)


def test_plain_index_in_training_is_refused(synthetic_root):
    with pytest.raises(TypeError, match=r"needs a TrainIndex.*WarmStartSampler"):
        make(synthetic_root)[0]


def test_a_copy_in_a_worker_gives_the_same(synthetic_root):
    dataset = make(synthetic_root)
    copy = pickle.loads(pickle.dumps(dataset))
    when = TrainIndex(2, 7, Phase.WEAK)
    assert same(copy[when], dataset[when])


def test_evaluation_needs_no_ground_truth(linked_root):
    pipeline = [step for step in PIPELINE if not step["type"].startswith(("Augment", "Drop"))]
    pipeline.insert(-1, {"type": "AugmentImages", "image_size": [54, 96]})
    dataset = make(linked_root, "val", pipeline=pipeline, test_mode=True)
    assert dataset[0]["data_samples"].voxel_semantics.shape == (200, 200, 16)
    infos = linked_root / "minkocc_infos_val.pkl"
    content = pickle.loads(infos.read_bytes())
    for frame in content["data_list"]:
        frame["occ_path"] = None
    infos.unlink()
    infos.write_bytes(pickle.dumps(content))
    for folder in ("gts", "pseudo_labels"):
        shutil.rmtree(linked_root / folder)
    bare = make(linked_root, "val", pipeline=pipeline, test_mode=True)[0]["data_samples"]
    assert bare.phase is None
    assert set(bare.keys()) == {"ego2img", "ego2cam", "cam2img", "ego_aug"}


def test_a_plain_sample_stands_still_and_reads_no_2d_labels(linked_root):
    left_out = ("Augment", "Drop", "LoadPseudo", "Lift", "SampleLattice")
    steps = [step for step in PIPELINE if not step["type"].startswith(left_out)]
    steps.insert(-1, {"type": "AugmentImages", "image_size": [54, 96]})
    shutil.rmtree(linked_root / "pseudo_labels")
    dataset = make(linked_root)
    index = dataset.labelled_indices()[0]
    for phase in (Phase.WARM, Phase.WEAK):
        plain = dataset.plain_sample(TrainIndex(index, 3, phase))
        assert same(plain, make(linked_root, pipeline=steps)[TrainIndex(index, 0, phase)])
        assert same(plain, dataset.plain_sample(TrainIndex(index, 4, phase)))
    beyond = next(i for i in range(len(dataset)) if i not in dataset.labelled_indices())
    with pytest.raises(LabelBudgetError):
        dataset.plain_sample(TrainIndex(beyond, 0, Phase.WARM))


def test_a_bare_sample_needs_no_label_of_any_kind(linked_root):
    labelled = make(linked_root)[TrainIndex(make(linked_root).labelled_indices()[0], 0, Phase.WARM)]
    for folder in ("gts", "pseudo_labels"):
        shutil.rmtree(linked_root / folder)
    dataset = make(linked_root)
    for number in range(len(dataset)):  # inside the budget and outside it
        bare = dataset.bare_sample(number)
        assert set(bare["data_samples"].keys()) < set(labelled["data_samples"].keys())
        assert set(bare["data_samples"].keys()) == {"ego2img", "ego2cam", "cam2img", "ego_aug"}
        assert len(bare["inputs"]["points"])
    assert same(dataset.bare_sample(0), dataset.bare_sample(0))


def test_augmented_points_project_to_the_same_place_of_the_image(synthetic_root):
    # A plain frame says which raw pixel a point has; both augmentations together must keep it.
    plain_steps = [step for step in PIPELINE if not step["type"].startswith(("Augment", "Drop"))]
    plain_steps.insert(-1, {"type": "AugmentImages", "image_size": [108, 192]})
    shaken = [dict(step) for step in PIPELINE]
    shaken[8] = {"type": "AugmentImages", "image_size": [108, 192]}
    when = TrainIndex(1, 4, Phase.WEAK)
    plain = make(synthetic_root, pipeline=plain_steps)[when]
    moved = make(synthetic_root, pipeline=shaken)[when]
    pixels = []
    for item in (plain, moved):
        points = item["inputs"]["points"][::50, :3].double()
        matrix = item["data_samples"].ego2img[0].double()
        image = points @ matrix[:3, :3].T + matrix[:3, 3]
        pixels.append((image[:, :2] / image[:, 2:])[image[:, 2] > 1])
    assert len(pixels[0]) > 50
    assert not torch.allclose(plain["inputs"]["points"], moved["inputs"]["points"])
    torch.testing.assert_close(pixels[0], pixels[1], rtol=0, atol=0.01)


def weak_sources(root, frames, index):
    dataset = make(root, weak_frames=frames)
    sources = dataset.start(index)["weak_sources"]()
    ego2global = dataset.get_data_info(index)["ego2global"]
    return {source["lidar_path"]: ego2global @ source["lidar2ego"] for source in sources}


def test_weak_sources_follow_the_links_and_know_their_place(synthetic_root):
    dataset = make(synthetic_root)
    first, second = dataset.get_data_info(0), dataset.get_data_info(1)
    assert second["prev"] == first["token"]
    keys = [frame["lidar_points"]["lidar_path"] for frame in (first, second)]
    alone = weak_sources(synthetic_root, (8, 0), 0)
    assert list(alone) == keys[:1]  # nothing comes before the first keyframe
    # Two keyframes and the nine sweeps between them, seen from either end.
    later, earlier = (
        weak_sources(synthetic_root, (8, 0), 1),
        weak_sources(synthetic_root, (0, 1), 0),
    )
    assert later.keys() == earlier.keys() >= set(keys)
    assert len(later) == 11
    for path, lidar2global in later.items():
        np.testing.assert_allclose(lidar2global, earlier[path], atol=1e-6)
    for frame, key in zip((first, second), keys):
        expected = frame["ego2global"] @ frame["lidar_points"]["lidar2ego"]
        np.testing.assert_allclose(later[key], expected, atol=1e-6)
