"""What a study compares: arms, each a recipe with knobs, times seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from minkocc.config import load_config
from minkocc.structures.errors import UserError

_KEYS = {"data_root", "splits", "options", "blocks", "bars", "series"}
_BLOCK_KEYS = {"seeds", "arms"}
_ARM_KEYS = {"name", "label", "config", "options"}
_NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


class StudyError(UserError, ValueError):
    """A mistake in the file of a study."""


@dataclass(frozen=True)
class Arm:
    """A recipe and the knobs that make it this arm."""

    name: str
    label: str
    config: str
    options: Mapping[str, Any]
    seeds: tuple[int, ...]

    def options_of(self, seed: int) -> dict[str, Any]:
        """``--cfg-options`` of one run."""
        return {**self.options, "seed": seed}


@dataclass(frozen=True)
class Run:
    """An arm under one seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """As its files are called."""
        return f"{self.arm.name}_s{self.seed}"

    @property
    def options(self) -> dict[str, Any]:
        """``--cfg-options`` of the run."""
        return self.arm.options_of(self.seed)


@dataclass(frozen=True)
class Study:
    """All arms, in the order of their runs.

    Args:
        name: of the file.
        data_root: what is trained and tested on.
        splits: further data roots whose validation scenes every run is tested on, by name.
        blocks: arms that are run together: every seed of a block begins with its first arm, and a
            block begins when the former one has ended, so that a part of a study says something.
        bars: names of the arms whose classes are drawn side by side.
        series: charts of mIoU over a knob: ``{title: (knob, names of arms)}``.
    """

    name: str
    data_root: str
    blocks: tuple[tuple[Arm, ...], ...]
    splits: Mapping[str, str] = field(default_factory=dict)
    bars: tuple[str, ...] = ()
    series: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    @property
    def arms(self) -> list[Arm]:
        """Of all blocks."""
        return [arm for block in self.blocks for arm in block]

    def runs(self) -> Iterator[Run]:
        """Every run, in order."""
        for block in self.blocks:
            most = max(len(arm.seeds) for arm in block)
            for place in range(most):
                yield from (Run(arm, arm.seeds[place]) for arm in block if place < len(arm.seeds))


def read_study(path: str | Path, root: Path) -> Study:
    """Read a study, and load the recipe of every arm, so that a mistake costs no night.

    The file is a config, which is Python: reading it runs it. It holds ``data_root``; ``blocks``, a
    list of ``dict(seeds=[...], arms=[dict(name=, label=, config=, options={})])``; and may hold
    ``splits``, ``bars``, ``series`` (see ``Study``), and ``options`` for all arms.

    Args:
        path: the file.
        root: of the repository, which configs are relative to.

    Raises:
        StudyError: the file is missing or no study.
        ConfigError: an arm's recipe and options are refused.
    """
    path = Path(path)
    if not path.is_file():
        raise StudyError(f"study {path} is not a file: see studies/")
    try:
        content = Config.fromfile(str(path)).to_dict()
    except Exception as error:  # a config is Python: it fails in every way that Python can
        raise StudyError(f"study {path} cannot be read: {type(error).__name__}: {error}") from error
    # Building blocks of the file itself.
    content = {key: value for key, value in content.items() if not key.startswith("_")}
    _known(content, _KEYS, {"data_root", "blocks"}, f"study {path}")
    common = {"data_root": _absolute(content["data_root"]), **content.get("options", {})}
    blocks = tuple(_block(block, common, f"study {path}") for block in content["blocks"])
    study = Study(
        path.stem,
        common["data_root"],
        blocks,
        {name: _absolute(place) for name, place in content.get("splits", {}).items()},
        tuple(content.get("bars", ())),
        {title: (knob, tuple(arms)) for title, (knob, arms) in content.get("series", {}).items()},
    )
    _check_names(study, path)
    for arm in study.arms:
        for seed in arm.seeds:
            load_config(root / arm.config, arm.options_of(seed))
    return study


def _absolute(place: str) -> str:
    """Runs have another working directory."""
    return str(Path(place).absolute())


def _known(content: Any, keys: set[str], needed: set[str], where: str) -> None:
    if not isinstance(content, Mapping):
        raise StudyError(f"{where} is a {type(content).__name__}, expected a dict")
    for key in sorted(needed - content.keys()):
        raise StudyError(f"{where} has no {key!r}")
    for key in sorted(content.keys() - keys):
        raise StudyError(f"{where} has an unknown key {key!r}: known are {', '.join(sorted(keys))}")


def _block(block: Any, common: Mapping[str, Any], where: str) -> tuple[Arm, ...]:
    _known(block, _BLOCK_KEYS, _BLOCK_KEYS, f"a block of {where}")
    if not block["arms"] or not block["seeds"]:
        raise StudyError(f"a block of {where} has no arms or no seeds")
    return tuple(_arm(arm, block["seeds"], common, where) for arm in block["arms"])


def _arm(arm: Any, seeds: Sequence[int], common: Mapping[str, Any], where: str) -> Arm:
    _known(arm, _ARM_KEYS, {"name", "config"}, f"an arm of {where}")
    name = arm["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StudyError(
            f"arm {name!r} of {where}: files are called after it; use small letters, digits and _"
        )
    options = {**common, **arm.get("options", {})}
    if "seed" in options:
        raise StudyError(f"arm {name!r} of {where} sets seed: seeds belong to its block")
    return Arm(name, arm.get("label", name), arm["config"], options, tuple(seeds))


def _check_names(study: Study, path: Path) -> None:
    names = [arm.name for arm in study.arms]
    for name in names:
        if names.count(name) > 1:
            raise StudyError(f"study {path} has two arms {name!r}")
    for name in [*study.bars, *(name for _, arms in study.series.values() for name in arms)]:
        if name not in names:
            raise StudyError(f"study {path} draws an arm {name!r} that it does not have")
