"""How large a network is: parameters and multiply-adds of a predicted frame, by module."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from mmengine.config import Config
from torch.utils.flop_counter import FlopCounterMode

from minkocc.apis.inference import init_model, predict, prediction_data
from minkocc.evaluation.report import aligned
from minkocc.files.infos import read_infos
from minkocc.models.minkocc import MinkOcc
from minkocc.structures.errors import UserError

COUNTED = (
    "multiply-adds are those of convolutions and matrix products, the sparse ones included, of one "
    "frame; gathering, scattering and rendering are not counted"
)


def measure_complexity(cfg: Config, checkpoint: str | None = None) -> dict[str, Any]:
    """Parameters of every part, and multiply-adds of the first frame of the test set.

    What a sparse network costs depends on the frame, and on how much its pruning keeps: without a
    checkpoint nearly everything is.

    Args:
        cfg: a resolved recipe; its sparse backend is plain torch here, whose products are seen.
        checkpoint: weights; None takes the network as it is initialised.

    Returns:
        ``frame``: the token; ``modules``: for each part of the network, and ``all``,
        ``parameters`` and ``gmacs``.

    Raises:
        UserError: the recipe, the checkpoint, the info file or a file of the frame cannot be used.
    """
    cfg = deepcopy(cfg)
    cfg.model.genunet.backend = "torch"
    model = init_model(cfg, checkpoint, device="cpu")
    dataset = prediction_data(cfg)
    root = dataset.data_root
    infos = read_infos(f"{root}/{dataset.ann_file}", cfg.get("paths_leave_root", False), None)
    if not infos["data_list"]:
        raise UserError(f"info file {root}/{dataset.ann_file} holds no frame to count on")
    frame = infos["data_list"][0]
    gmacs = _gmacs(model, frame, root)
    modules = {
        name: {"parameters": _parameters(part), "gmacs": gmacs.get(name, 0.0)}
        for name, part in model.named_children()
        if name != "data_preprocessor"
    }
    modules["all"] = {"parameters": _parameters(model), "gmacs": gmacs["all"]}
    return {"counted": COUNTED, "frame": frame["token"], "modules": modules}


def _gmacs(model: MinkOcc, frame: dict[str, Any], root: str) -> dict[str, float]:
    with FlopCounterMode(display=False) as counter:
        predict(model, frame, root)
    counts = counter.get_flop_counts()
    found = {
        place.partition(".")[2]: sum(of.values()) / 2e9
        for place, of in counts.items()
        if place.count(".") == 1
    }
    return {**found, "all": sum(counts["Global"].values()) / 2e9}


def _parameters(part: Any) -> int:
    return sum(weight.numel() for weight in part.parameters())


def complexity_table(figures: dict[str, Any]) -> str:
    """The figures in Markdown."""
    rows = [["part", "parameters", "G multiply-adds"]]
    for name, found in figures["modules"].items():
        rows.append([name, f"{found['parameters']:,}", f"{found['gmacs']:.2f}"])
    return "\n".join([*aligned(rows), "", f"({figures['counted']}; frame {figures['frame']})"])
