"""What a study compares: arms, each a recipe with knobs, times seeds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config

from minkocc.config import load_config
from minkocc.config.classes import recipe_classes
from minkocc.config.options import parse_value
from minkocc.structures.errors import UserError
from minkocc.structures.settings import is_number

Series = tuple[str, tuple[str, ...]]
"""A knob, and names of the arms that differ in it."""

_KEYS = {"data_root", "splits", "options", "blocks", "reference", "bars", "series"}
_KINDS: tuple[tuple[str, type, str], ...] = (
    ("data_root", str, "a folder's name"),
    ("splits", dict, "names and folders"),
    ("options", dict, "those of --cfg-options"),
    ("blocks", list, "a list of blocks"),
    ("reference", str, "an arm's name"),
    ("bars", list, "a list of arms' names"),
    ("series", dict, "{title: (knob, [names of arms])}"),
)
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


def run_name(arm: str, seed: int) -> str:
    """How the files of an arm's run under a seed are called."""
    return f"{arm}_s{seed}"


@dataclass(frozen=True)
class Run:
    """An arm under one seed."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """As its files are called."""
        return run_name(self.arm.name, self.seed)

    @property
    def options(self) -> dict[str, Any]:
        """``--cfg-options`` of the run, but for the data root."""
        return self.arm.options_of(self.seed)


@dataclass(frozen=True)
class Study:
    """All arms, in the order of their runs.

    Args:
        name: of the file.
        data_root: what is trained and tested on.
        splits: further data roots whose validation scenes every run is tested on, by name.
        blocks: arms that are run together, one seed after the other, before the next block's: so a
            part of a study says something already.
        reference: name of the arm that the others are compared to, seed by seed.
        bars: names of the arms whose classes are drawn side by side.
        series: charts of mIoU over a knob: ``{title: (knob, names of arms)}``.
    """

    name: str
    data_root: str
    blocks: tuple[tuple[Arm, ...], ...]
    splits: Mapping[str, str] = field(default_factory=dict)
    reference: str | None = None
    bars: tuple[str, ...] = ()
    series: Mapping[str, Series] = field(default_factory=dict)

    @property
    def roots(self) -> dict[str, str]:
        """Every data root that a run is tested on, by name; ``val`` is the study's own."""
        return {"val": self.data_root, **self.splits}

    @property
    def arms(self) -> list[Arm]:
        """Of all blocks."""
        return [arm for block in self.blocks for arm in block]

    def runs(self) -> Iterator[Run]:
        """Every run, in order."""
        for block in self.blocks:
            for seed in block[0].seeds:  # which are those of all arms of a block
                yield from (Run(arm, seed) for arm in block)


def read_study(path: str | Path, root: Path) -> Study:
    """Read a study, and load the recipe of every arm, so that a mistake costs no night.

    The file is a config, which is Python: reading it runs it. It holds ``data_root``; ``blocks``, a
    list of ``dict(seeds=[...], arms=[dict(name=, label=, config=, options={})])``; and may hold
    ``splits``, ``reference``, ``bars``, ``series`` (see ``Study``), and ``options`` for all arms.

    Args:
        path: the file.
        root: of the repository, which configs are relative to.

    Raises:
        StudyError: the file is missing or no study.
        ConfigError: an arm's recipe and options are refused.
    """
    path = Path(path)
    where = f"study {path}"
    if not path.is_file():
        raise StudyError(f"{where} is not a file: see studies/")
    try:
        content = Config.fromfile(str(path)).to_dict()
    except Exception as error:  # a config is Python: it fails in every way that Python can
        raise StudyError(f"{where} cannot be read: {type(error).__name__}: {error}") from error
    # Building blocks of the file itself.
    content = {key: value for key, value in content.items() if not key.startswith("_")}
    _known(content, _KEYS, {"data_root", "blocks"}, where)
    for key, kind, words in _KINDS:
        if not isinstance(content.get(key, kind()), kind):
            raise StudyError(f"{where} has {key} {content[key]!r}, expected {words}")
    study = Study(
        path.stem,
        _absolute(content["data_root"]),
        tuple(_block(block, content.get("options", {}), where) for block in content["blocks"]),
        {name: _absolute(place) for name, place in content.get("splits", {}).items()},
        content.get("reference"),
        tuple(content.get("bars", ())),
        dict(_series(content.get("series", {}), where)),
    )
    _check_names(study, where)
    _check_recipes(study, root, where)
    return study


def _absolute(place: Any) -> str:
    return str(Path(str(place)).expanduser().absolute())


def _known(content: Any, keys: set[str], needed: set[str], where: str) -> None:
    if not isinstance(content, Mapping):
        raise StudyError(f"{where} is {content!r}, expected a dict")
    for key in sorted(needed - content.keys()):
        raise StudyError(f"{where} has no {key!r}")
    for key in sorted(content.keys() - keys):
        raise StudyError(f"{where} has an unknown key {key!r}: known are {', '.join(sorted(keys))}")


def _block(block: Any, common: Mapping[str, Any], where: str) -> tuple[Arm, ...]:
    _known(block, _BLOCK_KEYS, _BLOCK_KEYS, f"a block of {where}")
    seeds, arms = block["seeds"], block["arms"]
    whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not whole or len(set(seeds)) < len(seeds):
        raise StudyError(
            f"a block of {where} has seeds {seeds!r}, expected a list of different whole numbers"
        )
    if not isinstance(arms, list) or not arms or not seeds:
        raise StudyError(f"a block of {where} has no arms or no seeds")
    return tuple(_arm(arm, tuple(seeds), common, where) for arm in arms)


def _arm(arm: Any, seeds: tuple[int, ...], common: Mapping[str, Any], where: str) -> Arm:
    _known(arm, _ARM_KEYS, {"name", "config"}, f"an arm of {where}")
    name = arm["name"]
    _check_name(name, "arm", where)
    options = {**common, **arm.get("options", {})}
    for key, whose in (("seed", "its block"), ("data_root", "the study")):
        if key in options:
            raise StudyError(f"arm {name!r} of {where} sets {key}, which belongs to {whose}")
    for key, value in options.items():
        if _as_typed(value) != value:
            raise StudyError(
                f"arm {name!r} of {where} sets {key}={value!r}, which --cfg-options would read as "
                f"{_as_typed(value)!r}: put it into a config of its own"
            )
    return Arm(name, str(arm.get("label", name)), arm["config"], options, seeds)


def _as_typed(value: Any) -> Any:
    """What a tool makes of an option."""
    try:
        return parse_value(str(value))
    except ValueError as error:
        return error


def _series(series: Mapping[str, Any], where: str) -> Iterator[tuple[str, Series]]:
    for title, entry in series.items():
        _check_name(title, "series", where)
        if not isinstance(entry, (list, tuple)) or len(entry) != 2 or isinstance(entry[1], str):
            raise StudyError(
                f"series {title!r} of {where} is {entry!r}, expected (knob, [names of arms])"
            )
        yield title, (entry[0], tuple(entry[1]))


def _check_name(name: Any, what: str, where: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StudyError(
            f"{what} {name!r} of {where}: files are called after it; use small letters, digits "
            "and _"
        )


def _check_names(study: Study, where: str) -> None:
    names = [arm.name for arm in study.arms]
    for what, given in (("arms", names), ("labels", [arm.label for arm in study.arms])):
        for name in given:
            if given.count(name) > 1:
                raise StudyError(f"{where} has two {what} {name!r}")
    reference = [study.reference] if study.reference is not None else []
    drawn = [name for _, arms in study.series.values() for name in arms]
    for name in [*study.bars, *reference, *drawn]:
        if name not in names:
            raise StudyError(f"{where} names an arm {name!r} that it does not have")
    for name in study.splits:
        _check_name(name, "split", where)
        if name == "val":
            raise StudyError(f"{where} has a split 'val', which is that of its own data")


def _check_recipes(study: Study, root: Path, where: str) -> None:
    """Load every recipe: none may be refused, be another arm's twin, or lack a series' knob."""
    seen: dict[str, str] = {}
    for arm in study.arms:
        recipes = [load_config(root / arm.config, arm.options_of(seed)) for seed in arm.seeds]
        cfg = load_config(root / arm.config, arm.options)
        if not recipe_classes(cfg).plain:
            raise StudyError(
                f"{where}: arm {arm.name!r} has class_groups or a taxonomy, whose figures stand in "
                "no table with those of Occ3D's classes: train and test it by itself"
            )
        twin = seen.setdefault(repr(cfg.to_dict()), arm.name)
        if twin != arm.name:
            raise StudyError(f"{where}: arm {arm.name!r} is the same recipe as {twin!r}")
        for title, (knob, arms) in study.series.items():
            if arm.name in arms and not is_number(recipes[0].get(knob)):
                raise StudyError(
                    f"series {title!r} of {where}: {knob} of arm {arm.name!r} is "
                    f"{recipes[0].get(knob)!r}, expected a knob that is a number"
                )
