"""mmengine's side: what is reported, and that no way of sharing frames out changes a figure."""

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler

from minkocc.evaluation import metrics
from minkocc.evaluation.metrics import (
    DumpPredictions,
    FramesWithoutPoints,
    OccupancyMetric,
    PruningMetric,
    RenderedIoUMetric,
)
from minkocc.evaluation.protocols import add_counts
from minkocc.evaluation.pruning import count_pruning, summarise_pruning
from minkocc.evaluation.report import table
from minkocc.structures.pruning import LevelRecord
from minkocc.structures.voxel_grid import OCC3D_GRID
from tests.forked import run_group
from tests.unit.evaluation.prediction_folders import volume

FRAMES = 5
TRAINING = {"train_mask": "camera", "image_pretrained": None}


def sample(number, labelled=True):
    """A frame of random boxes, its prediction with holes; the same for the same number."""
    rng, label = np.random.default_rng(number), volume(number)
    pred = np.where(rng.random(label.shape) < 0.2, 17, label).astype(np.uint8)
    out = {
        "token": f"frame-{number}",
        "pred_semantics": torch.from_numpy(pred),
        "ray_origins": np.array([[0.9, 0.0, 1.8]]),
    }
    if labelled:
        out["voxel_semantics"] = torch.from_numpy(label)
        out["mask_camera"] = torch.from_numpy(rng.random(label.shape) < 0.5)
    return out


def metric():
    return OccupancyMetric(["occ3d", "rayiou", "raypq"], training=TRAINING)


@pytest.fixture
def printed(monkeypatch):
    """What the metric logs."""
    lines = []
    monkeypatch.setattr(metrics, "print_log", lambda text, **_: lines.append(text))
    return lines


def test_frames_without_points_are_counted_and_named(printed):
    found = FramesWithoutPoints()
    whole = [sample(number) for number in range(FRAMES)]
    found.process(None, [{**whole[3], "no_points": True}, whole[1]])
    found.process(None, [{**whole[0], "no_points": True}])
    assert found.evaluate(size=FRAMES) == {}
    assert found.tokens == ["frame-0", "frame-3"]
    (line,) = printed
    assert "2 of 5 frames have no LiDAR point in range" in line
    assert "frame-0, frame-3" in line
    found.process(None, whole)
    assert found.evaluate(size=FRAMES) == {}
    assert found.tokens == []
    assert len(printed) == 1


@pytest.fixture(scope="module")
def alone():
    """Figures and summaries of one process over all frames."""
    one = metric()
    one.process(None, [sample(number) for number in range(FRAMES)])
    return one.evaluate(size=FRAMES), one.summaries


def test_figures_are_those_of_the_protocols(alone):
    figures, summaries = alone
    assert {
        "occ3d/miou",
        "occ3d/geometric_iou",
        "rayiou/rayiou",
        "rayiou/rayiou@1",
    } < figures.keys()
    by_name = {summary["protocol"]: summary for summary in summaries}
    assert figures["occ3d/miou"] == by_name["occ3d"]["miou"] > 50.0
    assert figures["raypq/raypq@4"] == by_name["raypq"]["raypq@4"] > 0.0
    assert all(summary["num_frames"] == FRAMES for summary in summaries)
    assert "train_mask camera\nimage_pretrained none" in table(by_name["rayiou"])


def test_a_frame_counts_once(alone):
    again = metric()
    again.process(None, [sample(number) for number in [*range(FRAMES), 0, 3, 3]])
    assert again.evaluate(size=FRAMES) == alone[0]
    assert again.summaries == alone[1]


def test_the_first_of_two_predictions_counts():
    first, second = sample(0), sample(0)
    second["pred_semantics"] = second["voxel_semantics"]
    figures = []
    for frames in ([first], [first, second]):
        one = OccupancyMetric()
        one.process(None, frames)
        figures.append(one.evaluate(size=1))
    assert figures[0] == figures[1]


def test_the_next_evaluation_starts_anew(alone):
    again = metric()
    again.process(None, [sample(50)])
    again.evaluate(size=1)
    again.process(None, [sample(number) for number in range(FRAMES)])
    assert again.evaluate(size=FRAMES) == alone[0]


def test_unlabelled_frames_are_counted_apart(printed):
    one = metric()
    one.process(None, [sample(0), sample(1, labelled=False)])
    one.evaluate(size=2)
    assert {summary["num_frames"] for summary in one.summaries} == {1}
    assert "1 of 2 frames have no dense label" in "\n".join(printed)


def test_unlabelled_frames_are_not_unseen_ones(printed):
    one = metric()
    one.process(None, [sample(0), sample(1, labelled=False)])
    one.evaluate(size=2)
    assert "reached no process" not in "\n".join(printed)


def test_what_is_undefined_is_no_zero():
    one = OccupancyMetric()
    frame = sample(0)
    frame["voxel_semantics"] = torch.full(OCC3D_GRID.shape, 11, dtype=torch.uint8)
    one.process(None, [frame])
    assert np.isnan(one.evaluate(size=1)["occ3d/miou_dynamic"])


def test_without_any_label_nothing_is_reported():
    one = metric()
    one.process(None, [sample(1, labelled=False)])
    assert one.evaluate(size=1) == {}
    assert one.summaries == []


def test_frames_that_no_process_saw_are_named(printed):
    one = OccupancyMetric()
    one.process(None, [sample(0)])
    one.evaluate(size=3)
    assert "1 of 3 frames were measured" in "\n".join(printed)


def test_prefix():
    one = OccupancyMetric(prefix="val")
    one.process(None, [sample(0)])
    assert "val/occ3d/miou" in one.evaluate(size=1)


@pytest.mark.parametrize(
    ("protocols", "words"), [("occ3d", "expected a list"), ([], "expected a list"),
                             (["occ4d"], "expected one of occ3d, rayiou")],
)  # fmt: skip
def test_wrong_protocols_are_refused(protocols, words):
    with pytest.raises(ValueError, match=words):
        OccupancyMetric(protocols)


def test_rendered_pixels_by_hand():
    # Two pixels of car (2D id 5): one right, one with nothing; a bus called car; sky; unlabelled.
    target = torch.tensor([[[5, 5, 4, 18, 0]]], dtype=torch.uint8)
    tied = torch.tensor([[[5, 18, 5, 5, 5]]], dtype=torch.uint8)  # sky is nothing, too
    one = RenderedIoUMetric()
    frame = {
        "token": "a",
        "rendered_tied": tied,
        "rendered_shader": target,
        "rendered_target": target,
    }
    one.process(None, [frame, {"token": "b"}])
    figures = one.evaluate(size=2)
    (summary,) = one.summaries
    assert summary["iou_tied"]["car"] == round(100 / 3, 4)  # 1 / (2 + 2 - 1)
    assert summary["iou_tied"]["bus"] == 0.0
    assert figures["rendered2d/miou_tied"] == round(100 / 6, 4)
    assert figures["rendered2d/miou_shader"] == 100.0
    assert (summary["num_pixels"], summary["num_frames"]) == (3, 1)
    assert np.diag(summary["confusion"]).sum() == 1  # of the tied path, the headline


def recorded(number, labelled=True):
    """A frame with random records of four levels; the same for the same number."""
    frame, rng = sample(number, labelled), np.random.default_rng(number)
    levels = []
    for stride in (8, 4, 2, 1):
        coords = np.unique(rng.integers(-1, np.array(OCC3D_GRID.shape) // stride, (500, 3)), axis=0)
        logits = rng.normal(size=len(coords)).astype(np.float32)
        record = LevelRecord(
            stride,
            torch.from_numpy(coords * stride).int(),
            torch.from_numpy(logits),
            torch.from_numpy(logits > 0.5),
            number,
            0.62,
        )
        levels.append(record)
    return {**frame, "decoder_levels": levels}


def expected_pruning(numbers):
    """The summary straight from the pure functions."""
    counts = [
        count_pruning(
            frame["decoder_levels"],
            frame["voxel_semantics"].numpy(),
            frame["mask_camera"].numpy(),
            OCC3D_GRID,
        )
        for frame in map(recorded, numbers)
    ]
    return summarise_pruning(add_counts(counts), len(counts), 0.4)


def test_pruning_is_that_of_the_pure_functions(printed):
    one = PruningMetric(OCC3D_GRID)
    one.process(None, [recorded(0), recorded(1), recorded(1), recorded(2, labelled=False)])
    one.process(None, [sample(3)])  # of a model that records nothing
    assert one.evaluate(size=4) == {}  # its figures are a table, not single numbers
    (summary,) = one.summaries
    assert summary == expected_pruning([0, 1])
    assert [level["stride"] for level in summary["levels"]] == [8, 4, 2, 1]
    assert {level["threshold"] for level in summary["levels"]} == {0.62}
    text = "\n".join(printed)
    assert "2 of 4 frames have no dense label" in text
    assert "| visible kept, percent" in text


def test_pruning_of_nothing():
    one = PruningMetric(OCC3D_GRID)
    one.process(None, [sample(0)])
    assert (one.evaluate(size=1), one.summaries) == ({}, [])


def test_the_sweep_stands_in_the_summary_where_it_is_asked_for():
    one = PruningMetric(OCC3D_GRID, sweep=True)
    one.process(None, [recorded(0)])
    one.evaluate(size=1)
    sweep = one.summaries[0].pop("sweep")
    assert one.summaries == [expected_pruning([0])]
    for level, swept in zip(one.summaries[0]["levels"], sweep):
        assert swept["threshold_in_use"] == 0.62
        assert swept["recall"][0] == level["visible_reached"]


def pruning_in_one(rank, folder):
    own = PruningMetric(OCC3D_GRID)
    own.process(None, [[recorded(0), recorded(1)], [recorded(1), recorded(2)], []][rank])
    own.evaluate(size=3)
    torch.save(own.summaries, f"{folder}/{rank}.pth")


@pytest.mark.processes
def test_pruning_is_gathered_and_counts_a_frame_once(tmp_path):
    run_group(pruning_in_one, 3, tmp_path)
    expected = [expected_pruning([0, 1, 2])]
    assert [torch.load(tmp_path / f"{rank}.pth") for rank in range(3)] == [expected] * 3


def test_dump_writes_one_file_a_frame(tmp_path):
    dump = DumpPredictions(tmp_path)
    frame = sample(3)
    dump.process(None, [frame, frame])
    assert dump.evaluate(size=1) == {}
    (path,) = tmp_path.glob("*.npz")
    assert path.name == "frame-3.npz"
    assert np.array_equal(np.load(path)["pred"], frame["pred_semantics"].numpy())


def padded(rank, processes):
    """What mmengine's sampler gives a process: the last round goes on with frame 0."""
    return list(DefaultSampler(list(range(FRAMES)), shuffle=False))


def uneven(rank, processes):
    """Shards of different lengths, one of them empty with three processes."""
    cuts = {1: [FRAMES], 2: [3, 2], 3: [3, 0, 2]}[processes]
    start = sum(cuts[:rank])
    return list(range(start, start + cuts[rank]))


def overlapping(rank, processes):
    """Every process sees every frame, each in another order."""
    return np.random.default_rng(rank).permutation(FRAMES).tolist()


SHARDS = {"padded": padded, "uneven": uneven, "overlapping": overlapping}


def measure_shards(rank, folder):
    """All ways of sharing out, one after the other; what this process drew and found in each."""
    processes = torch.distributed.get_world_size()
    found = {}
    for name, shard in SHARDS.items():
        draws = [int(number) for number in shard(rank, processes)]
        own = metric()
        own.process(None, [sample(number) for number in draws])
        found[name] = {"draws": draws, "result": (own.evaluate(size=FRAMES), own.summaries)}
    torch.save(found, f"{folder}/{rank}.pth")


@pytest.mark.processes
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_processes_give_exactly_the_figures_of_one(processes, alone, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_group(measure_shards, processes, tmp_path)
    ranks = [torch.load(tmp_path / f"{r}.pth", weights_only=True) for r in range(processes)]
    for name in SHARDS:
        assert [rank[name]["result"] for rank in ranks] == [alone] * processes, name
    rounds = -(-FRAMES // processes)
    expected = {"padded": rounds * processes, "uneven": FRAMES, "overlapping": FRAMES * processes}
    for name, count in expected.items():
        draws = [number for rank in ranks for number in rank[name]["draws"]]
        assert (len(draws), set(draws)) == (count, set(range(FRAMES))), name
    assert not (tmp_path / ".dist_test").exists()


def label_in_one(rank, folder):
    own = OccupancyMetric()
    own.process(None, [sample(rank, labelled=rank == 1)])
    torch.save(own.evaluate(size=2), f"{folder}/{rank}.pth")


@pytest.mark.processes
def test_a_process_without_any_label(tmp_path):
    run_group(label_in_one, 2, tmp_path)
    one = OccupancyMetric()
    one.process(None, [sample(1)])
    expected = one.evaluate(size=1)
    assert [torch.load(tmp_path / f"{rank}.pth") for rank in range(2)] == [expected] * 2


def fail_in_one(rank, folder):
    """One process has a frame without ray origins: paper-repo's counts do not add up there."""
    own = OccupancyMetric(["paper-repo"])
    frames = [sample(2 * rank), sample(2 * rank + 1)]
    if rank == 1:
        frames[0]["ray_origins"] = None
    own.process(None, frames)
    try:
        own.evaluate(size=4)
    except ValueError as error:
        torch.save(str(error), f"{folder}/{rank}.pth")


@pytest.mark.processes
def test_an_error_in_one_process_is_told_in_all(tmp_path):
    run_group(fail_in_one, 2, tmp_path)
    for rank in range(2):
        assert "give ray origins for all frames or for none" in torch.load(tmp_path / f"{rank}.pth")


@pytest.mark.gpu
def test_predictions_on_a_gpu_give_the_same_figures(alone):
    one = metric()
    frames = [sample(number) for number in range(FRAMES)]
    for frame in frames:
        frame["pred_semantics"] = frame["pred_semantics"].cuda()
    one.process(None, frames)
    assert one.evaluate(size=FRAMES) == alone[0]
