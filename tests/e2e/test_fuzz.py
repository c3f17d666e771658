"""Damaged data ends in one line or changes nothing: some 1,500 mutations, drawn from a seed."""

from __future__ import annotations

import contextlib
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from minkocc.structures.errors import UserError
from minkocc.structures.phase import Phase
from tests.e2e.fuzz_world import WarnedError, World
from tests.e2e.mutations.any_file import Mutation
from tests.e2e.mutations.arrays import LABEL, PREDICTION, WEAK_CACHE
from tests.e2e.mutations.checkpoints import CHECKPOINT
from tests.e2e.mutations.images import CONFIDENCE_MAP, IMAGE, LABEL_MAP
from tests.e2e.mutations.infos import INFOS
from tests.e2e.mutations.json_files import (
    AUDIT,
    CHAIN,
    CHAINED,
    COUNTS,
    META,
    ORIGINS,
    SPLITS,
    TABLE,
)
from tests.e2e.mutations.raw_files import LIDAR, LIDARSEG

SEED = 14
PATIENCE = 20.0
"""Seconds after which a reader counts as hanging."""
MOST_MEMORY = 1 << 20
"""KiB that a reader may add to what the process has had at most."""
LONGEST_LINE = 1500

Read = Callable[[World], Any]


_ROOT = ("--root", "./", "--version", "v1.0-synthetic")
_DESCRIBE = (*_ROOT, "--out", "./described", "--keyframes-on-sheet", 0)
_EVALUATE = ("--pred", "predictions/pred", "--gt", "predictions/gts", "--workers", 1)


def _tools(script: str, arguments: tuple[Any, ...]) -> list[Read]:
    return [lambda world: world.tool(script, *arguments)]


class Seat(NamedTuple):
    """A kind of file, and what reads it."""

    count: int
    pattern: str
    mutations: list[Mutation]
    reads: list[Read]


def _items(*phases: Phase | None) -> list[Read]:
    return [partial(World.items, phases=[phase], fresh=False) for phase in phases]


_FRESH: list[Read] = [
    partial(World.items, phases=[phase]) for phase in (Phase.WARM, Phase.STRONG, None, Phase.WEAK)
]
_COUNTED: list[Read] = [World.class_counts, *_items(Phase.WARM, Phase.STRONG)]
_MEASURED: list[Read] = [partial(World.figures, origins=origins) for origins in (True, False)]
SEATS = {
    "LiDAR, trained": Seat(90, "samples/LIDAR_TOP/*-0001__*", LIDAR, _items(*Phase)),
    "LiDAR, tested": Seat(40, "samples/LIDAR_TOP/*-0002__*", LIDAR, _items(None)),
    "sweep": Seat(40, "sweeps/LIDAR_TOP/*-0001__*", LIDAR, _items(Phase.WEAK)),
    "lidarseg": Seat(30, "lidarseg/*/*", LIDARSEG, [World.lidarseg]),
    "image, trained": Seat(70, "samples/CAM*/*-0001__*", IMAGE, _items(*Phase)),
    "image, tested": Seat(60, "samples/CAM*/*-0002__*", IMAGE, _items(None)),
    "pseudo-label": Seat(110, "pseudo_labels/labels/*/*-0001__*", LABEL_MAP, _items(*Phase)),
    "confidence": Seat(80, "pseudo_labels/confidence/*/*-0001__*", CONFIDENCE_MAP, _items(*Phase)),
    "pseudo-label, tested": Seat(
        40, "pseudo_labels/labels/CAM_BACK/*-0002__*", LABEL_MAP, _items(None)
    ),
    "pseudo-labels' meta": Seat(70, "pseudo_labels/meta.json", META, _FRESH),
    "label, trained": Seat(80, "gts/scene-0001/*/labels.npz", LABEL, _COUNTED),
    "label, tested": Seat(40, "gts/scene-0002/*/labels.npz", LABEL, _items(None)),
    "infos": Seat(350, "minkocc_infos_*.pkl", INFOS, [World.infos]),
    "class counts": Seat(70, "label_budget/*.json", COUNTS, [World.class_counts]),
    "weak occupancy": Seat(70, "weak_occupancy/*/*.npz", WEAK_CACHE, [World.weak]),
    "prediction": Seat(80, "predictions/pred/*.npz", PREDICTION, _MEASURED),
    "measured label": Seat(40, "predictions/gts/*/*/labels.npz", LABEL, _MEASURED),
    "ray origins": Seat(50, "predictions/origins.json", ORIGINS, _MEASURED[:1]),
    "table": Seat(60, "v1.0-synthetic/*.json", TABLE, [World.created]),
    "splits": Seat(30, "splits.json", SPLITS, [World.created]),
    "audit": Seat(30, "audit/label_audit.json", AUDIT, [World.audit]),
    "checkpoint": Seat(120, "epoch_1.pth", CHECKPOINT, [World.resumed]),
    "mounts": Seat(40, "v1.0-synthetic/calibrated_sensor.json", TABLE, [World.created]),
    "poses": Seat(30, "v1.0-synthetic/ego_pose.json", TABLE, [World.created]),
    **{
        f"table {name}": Seat(40, f"v1.0-synthetic/{name}.json", CHAIN, [World.created])
        for name in CHAINED
    },
    "tools/evaluate.py": Seat(
        10, "predictions/*/*.npz", PREDICTION, _tools("evaluate.py", _EVALUATE)
    ),
    "tools/create_data.py": Seat(
        15, "v1.0-synthetic/sample*.json", TABLE, _tools("create_data.py", _ROOT)
    ),
    "tools/describe_data.py": Seat(
        15, "samples/LIDAR_TOP/*", LIDAR[:-2], _tools("describe_data.py", _DESCRIBE)
    ),
}


class Hangs(BaseException):
    """No ``Exception``: what catches those must not take it for a damaged file."""


def _hangs(number: int, frame: Any) -> None:
    raise Hangs


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Ends what hangs, and refuses memory before the machine is out of it."""
    former = signal.signal(signal.SIGALRM, _hangs)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (4 << 30), limits[1]))
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.signal(signal.SIGALRM, former)


class Verdict(NamedTuple):
    """How a reader ended."""

    name: str
    right: bool
    words: str = ""


def judged(world: World, read: Read, path: Path, right: Any, loose: bool) -> Verdict:
    """What became of a read of a damaged file."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with limited():
            found = read(world)
    except UserError as error:
        line = " ".join(str(error).split())
        named = path.stem in line or str(world.root) in line
        if not named or len(line) > LONGEST_LINE:
            return Verdict("poor line", False, line[:300])
        verdict = Verdict("refused", True, line)
    except WarnedError as words:
        verdict = Verdict("told", True, str(words))
    except Hangs:
        return Verdict("hung", False, traceback.format_exc()[-900:])
    except Exception as error:
        return Verdict("traceback", False, f"{error!r:.200}\n{traceback.format_exc()[-900:]}")
    else:
        if found == right:
            verdict = Verdict("equal", True)
        else:
            verdict = Verdict("other, untold" if loose else "wrong", loose)
    if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MOST_MEMORY:
        return Verdict("memory", False, verdict.words)
    return verdict


Verdicts = Counter[tuple[str, str]]


def fuzz(
    world: World, seats: dict[str, Seat], most: int | None = None
) -> tuple[Verdicts, list[str]]:
    """Damage files of each kind, one at a time.

    Args:
        world: its root is whole before and after.
        seats: the kinds.
        most: mutations of each kind; None makes all that its seat asks for.

    Returns:
        How often each (kind, verdict) came, and what was found.
    """
    verdicts: Verdicts = Counter()
    findings = []
    for kind, seat in seats.items():
        rights = [read(world) for read in seat.reads]
        rng = np.random.default_rng([SEED, *kind.encode()])
        files = world.matching(seat.pattern)
        # Every mutation as often as the others, each with the readers in turn.
        count = seat.count if most is None else most
        order = rng.permutation(len(seat.mutations))
        for number in range(count):
            mutation = seat.mutations[order[number % len(order)]]
            at = int(rng.integers(len(seat.reads)))
            state = rng.bit_generator.state["state"]["state"]
            with world.damaged(files[rng.integers(len(files))]) as path:
                mutation.change(path, rng)
                verdict = judged(world, seat.reads[at], path, rights[at], mutation.loose)
            verdicts[kind, verdict.name] += 1
            if not verdict.right:
                where = f"{kind}, {mutation.name}, {path.name}, {state}"
                findings.append(f"{where}: {verdict.name} {verdict.words}")
    return verdicts, findings


def table(verdicts: Verdicts) -> str:
    """The counts by kind and verdict."""
    names = sorted({name for _, name in verdicts})
    kinds = list(dict.fromkeys(kind for kind, _ in verdicts))
    rows = [["kind", *names, "all"]]
    for kind in kinds:
        counts = [verdicts[kind, name] for name in names]
        rows.append([kind, *map(str, counts), str(sum(counts))])
    sums = [sum(verdicts[kind, name] for kind in kinds) for name in names]
    rows.append(["all", *map(str, sums), str(sum(sums))])
    return "\n".join("  ".join(f"{cell:>14}" for cell in row) for row in rows)


@pytest.fixture(scope="module")
def world(tiny_root, tmp_path_factory):
    return World(tiny_root, tmp_path_factory.mktemp("fuzz"))


def test_a_few_of_each_kind(world):
    """What the slow test does, so that it does not lie broken until someone runs it."""
    kinds = ("image, tested", "confidence", "infos", "weak occupancy", "prediction", "checkpoint")
    verdicts, findings = fuzz(world, {kind: SEATS[kind] for kind in kinds}, most=4)
    assert sum(verdicts.values()) == 24
    assert not findings, "\n".join(findings)


@pytest.mark.slow
def test_damaged_data_is_refused_or_changes_nothing(world, capsys):
    began = time.monotonic()
    verdicts, findings = fuzz(world, SEATS)
    with capsys.disabled():
        print(f"\n{table(verdicts)}\n{time.monotonic() - began:.0f} s, seed {SEED}")
    assert not findings, "\n".join(findings)
