"""Two folders of Occ3D labels of the same keyframes, held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minkocc.evaluation.label_agreement import agreement_figures, count_agreement
from minkocc.evaluation.prediction_folder import find_labels
from minkocc.evaluation.protocols import Counts, add_counts
from minkocc.files.occupancy import PredictionError, read_label
from minkocc.runtime.worker_pool import WorkerPool


def compare_labels(made: Path, exact: Path, workers: int = 1) -> dict[str, Any]:
    """Figures of ``evaluation.label_agreement`` over the keyframes that both folders label.

    Args:
        made: ``<scene>/<token>/labels.npz`` that are measured.
        exact: what they are measured against.
        workers: processes; changes no figure.

    Raises:
        PredictionError: a folder holds no label, or they have no keyframe in common.
        LabelError: a label is damaged.
    """
    mine, theirs = find_labels(made), find_labels(exact)
    tokens = sorted(mine.keys() & theirs.keys())
    if not tokens:
        raise PredictionError(
            f"{made} and {exact} label no keyframe in common: compare labels of one root"
        )
    counts = _total(mine, theirs, tokens, workers)
    return agreement_figures(counts, len(tokens))


def _total(
    mine: dict[str, Path], theirs: dict[str, Path], tokens: Sequence[str], workers: int
) -> Counts:
    pairs = [(mine[token], theirs[token]) for token in tokens]
    with WorkerPool(workers) as pool:
        counted = pool.run(_count, pairs)
        return add_counts(tqdm(counted, total=len(pairs), desc="comparing", unit="keyframe"))


def _count(pair: tuple[Path, Path]) -> Counts:
    made, exact = map(read_label, pair)
    return count_agreement(made, exact)
