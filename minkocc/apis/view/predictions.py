"""Where the predictions on the screen come from: a network, or a folder of saved ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray

from minkocc.apis.frame_pictures import rendered_semantics
from minkocc.apis.inference import init_model, predict
from minkocc.files.occupancy import PredictionError, read_class_groups, read_prediction
from minkocc.models.group_index import classes_of
from minkocc.structures.class_groups import ClassGroups
from minkocc.structures.voxel_grid import OCC3D_GRID


@dataclass(frozen=True)
class Predicted:
    """What is predicted of a frame."""

    semantics: NDArray[np.uint8]
    """``(200, 200, 16)`` of Occ3D ids."""
    rendered: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    """2D ids ``(N, h, w)`` by the path that rendered them."""
    cells: NDArray[np.int64] | None = None
    """``(M,)`` places in the flat grid of which the probabilities are known, ascending."""
    probabilities: NDArray[np.float16] | None = None
    """``(M, K)`` of the network's classes."""

    def probabilities_at(self, index: tuple[int, int, int]) -> NDArray[np.float16] | None:
        """``(K,)`` of a voxel, or None where they are not known."""
        if self.cells is None or self.probabilities is None:
            return None
        cell = np.ravel_multi_index(index, OCC3D_GRID.shape)
        row = int(np.searchsorted(self.cells, cell))
        known = row < len(self.cells) and self.cells[row] == cell
        return self.probabilities[row] if known else None


class Predictor(Protocol):
    """Something that predicts frames."""

    name: str
    groups: ClassGroups
    paths: tuple[str, ...]
    """What renders 2D semantics, see ``Predicted.rendered``."""

    def predict(self, frame: Mapping[str, Any]) -> Predicted | None:
        """What is predicted of a frame of an info file; None: nothing."""


class NetworkPredictor:
    """A checkpoint that predicts a frame when it is asked for.

    Args:
        cfg: its resolved recipe.
        checkpoint: the weights.
        root: data root of the frames.
    """

    def __init__(self, cfg: Config, checkpoint: str, root: Path) -> None:
        self.name = Path(checkpoint).stem
        self._model = init_model(cfg, checkpoint, render=True)
        self._model.record_probabilities = True
        self._root = root
        self.groups = classes_of(self._model)
        self.paths: tuple[str, ...] = () if self._model.pulsar_head is None else ("shader", "tied")

    def predict(self, frame: Mapping[str, Any]) -> Predicted:
        """Prediction, rendered semantics and probabilities of a frame."""
        sample = predict(self._model, frame, self._root)
        semantics = sample.pred_semantics.cpu().numpy()
        rendered = rendered_semantics(sample)
        if "pred_cells" not in sample:
            return Predicted(semantics, rendered)
        cells = sample.pred_cells.cpu().numpy()
        order = np.argsort(cells)
        chances = sample.pred_probabilities.float().cpu().numpy().astype(np.float16)
        return Predicted(semantics, rendered, cells[order], chances[order])


class SavedPredictor:
    """A folder of ``<token>.npz``.

    Args:
        folder: as ``tools/test.py --dump`` writes it, or another code base.

    Raises:
        PredictionError: it is no folder, or holds no predictions.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise PredictionError(f"--pred {folder} is not a folder")
        files = sorted(folder.glob("*.npz"))
        if not files:
            raise PredictionError(
                f"--pred {folder} holds no .npz: write one <token>.npz a frame with "
                "tools/test.py --dump DIR"
            )
        self.name = folder.resolve().name
        self.tokens = frozenset(path.stem for path in files)
        self.groups = read_class_groups(files[0])
        self.paths: tuple[str, ...] = ()
        self.folder = folder

    def predict(self, frame: Mapping[str, Any]) -> Predicted | None:
        """What is saved of a frame."""
        if frame["token"] not in self.tokens:
            return None
        path = self.folder / f"{frame['token']}.npz"
        return Predicted(read_prediction(path, self.groups.taxonomy)[0])


def shared_groups(predictors: list[Predictor], otherwise: ClassGroups) -> ClassGroups:
    """The classes that all predictions tell apart.

    Args:
        predictors: what predicts.
        otherwise: the classes where nothing does; predictions are of the same taxonomy.

    Raises:
        PredictionError: they differ.
    """
    groups = predictors[0].groups if predictors else otherwise
    if groups.taxonomy.classes != otherwise.taxonomy.classes:
        raise PredictionError(
            f"{predictors[0].name} predicts {groups.described}, the recipe's taxonomy has "
            f"{', '.join(otherwise.taxonomy.classes)}: view it with a recipe of its own taxonomy"
        )
    for other in predictors[1:]:
        if not other.groups.same_ids(groups):
            raise PredictionError(
                f"{predictors[0].name} and {other.name} are of networks with other classes "
                "(class_groups), of which no legend says both: view those of the same"
            )
    return groups
