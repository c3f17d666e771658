"""What one run of a study leaves behind, and whether it is there already."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkocc.config import KNOBS, load_config, recipe_of
from minkocc.engine.validation_figures import VALIDATIONS
from minkocc.files.writing import write_json
from minkocc.runtime.provenance import commit_of, machine
from minkocc.structures.errors import UserError
from minkocc.study.definition import Run, Study

_LEFT_OUT = ("confusion", "rule", "notes")
"""Of a summary: large, or said once for all runs."""

_PLACES = frozenset({"data_root", "cache_root"})
"""Knobs that say where things lie, which makes no other run."""


_OF_A_RESULT = (
    *("arm", "label", "seed", "config", "options", "knobs"),
    *("steps", "curve", "final", "splits"),
)
"""What table and charts read of a result, and what makes it that of a run."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run under a study's folder.

    Args:
        run: the run.
        study: that it is of.
        out: folder of the study.
        new_code: the copy of the code that a run uses which has not begun yet.
    """

    run: Run
    study: Study
    out: Path
    new_code: Path

    @property
    def work_dir(self) -> Path:
        """Of its training."""
        return self.out / "runs" / self.run.name

    @property
    def figures(self) -> Path:
        """Its result: what a study is made of, and all that it needs."""
        return self.out / "figures" / f"{self.run.name}.json"

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.work_dir / "study.log"

    @property
    def code(self) -> Path:
        """The copy of the code that it began with."""
        path = self._identity
        return self.out / _read(path)["code"] if path.is_file() else self.new_code

    @property
    def config(self) -> Path:
        """Its recipe, in that copy."""
        return self.code / self.run.arm.config

    @property
    def checkpoint(self) -> Path:
        """The last one, which is reported."""
        return self.work_dir / f"epoch_{recipe_of(self.config, self.run.options).max_epochs}.pth"

    @property
    def _identity(self) -> Path:
        return self.work_dir / "run.json"

    def begin(self) -> None:
        """Note what the run is, before anything is made of it."""
        if not self._identity.is_file():
            write_json(self._identity, {**self._wanted(), "code": self.new_code.name})

    def check(self) -> None:
        """Refuse to go on with what another run has begun under this name.

        Raises:
            UserError: options or recipe have changed since.
        """
        for path in (self._identity, self.figures):
            if path.is_file() and (difference := self._difference(_read(path))):
                raise UserError(
                    f"{path} is of a run with {difference}: give the arm {self.run.arm.name!r} "
                    f"another name, or delete {self.work_dir} and {self.figures}"
                )

    def take(self, result: Mapping[str, Any], where: Path) -> None:
        """Keep the result of this run that a study has made elsewhere; one that is here stays.

        Args:
            result: what ``write_figures`` wrote there.
            where: the file that it comes from, for messages.

        Raises:
            UserError: it is of another run that had this name.
        """
        if difference := self._difference(result):
            raise UserError(
                f"{where}: its run {self.run.name} has {difference}: give the arm "
                f"{self.run.arm.name!r} another name"
            )
        if not self.figures.is_file():
            write_json(self.figures, dict(result))

    def is_done(self) -> bool:
        """Whether the result is there, with every split that its network can be tested on.

        A result that was made elsewhere has no checkpoint here, so that it stays as it is.

        Raises:
            UserError: it is of another run that had this name.
        """
        self.check()
        return self.figures.is_file() and (
            set(self.study.splits) <= _read(self.figures)["splits"].keys()
            or not self.checkpoint.is_file()
        )

    def result(self) -> dict[str, Any]:
        """What ``write_figures`` wrote, under the label that the arm has now."""
        return {**_read(self.figures), "label": self.run.arm.label}

    def is_trained(self) -> bool:
        """Whether training has ended, the last validation included."""
        return bool(self.steps().get("train", {}).get("ended")) and self.checkpoint.is_file()

    def tests(self) -> Iterator[tuple[str, str]]:
        """Splits that a trained run's last checkpoint is not tested on yet: name and data root."""
        trained = self.checkpoint.stat().st_mtime
        for split, root in self.study.roots.items():
            out = self.tested(split)
            tested = out.is_file() and out.stat().st_mtime >= trained
            if not tested or f"data_root={root}" not in _read(out).get("command", "").split():
                yield split, root

    def tested(self, split: str) -> Path:
        """What ``tools/test.py`` writes of a split; ``val`` is that of the study's own data."""
        return self.work_dir / "tested" / f"{split}.json"

    @property
    def predictions(self) -> Path:
        """Those of the study's own validation frames."""
        return self.work_dir / "predictions"

    def steps(self) -> dict[str, Any]:
        """What each step has taken so far, over all tries, where, and with which code."""
        path = self.work_dir / "steps.json"
        return _read(path) if path.is_file() else {}

    def note_step(self, step: str, seconds: float, ended: bool) -> None:
        """Keep how long a try of a step took, and whether it ended well."""
        known = self.steps()
        before = known.get(step, {"seconds": 0.0})["seconds"]
        known[step] = {
            "seconds": round(before + seconds, 1),
            "machine": machine(),
            "commit": commit_of(self.code / "minkocc"),
            "code": self.code.name,
            "ended": ended,
        }
        write_json(self.work_dir / "steps.json", known)

    def write_figures(self) -> None:
        """Gather a finished run's figures into its one file.

        Raises:
            UserError: the checkpoint says that it was trained under other settings.
        """
        own, steps = _read(self.tested("val")), self.steps()
        if own.get("recipe_differs"):
            raise UserError(
                f"{self.checkpoint} was trained with other settings than its run's: "
                f"{own['recipe_differs']}; delete {self.work_dir} to train it again"
            )
        cfg = load_config(self.config, self.run.options)
        write_json(
            self.figures,
            {
                "arm": self.run.arm.name,
                "label": self.run.arm.label,
                "seed": self.run.seed,
                **self._wanted(),
                "knobs": {k: cfg[k] for k in KNOBS if k in cfg and k not in _PLACES},
                "labels_read": self._labels_read(),
                "commit": steps["train"].get("commit", own["commit"]),
                "python": own["python"],
                "torch": own["torch"],
                "steps": steps,
                "curve": [_trimmed(_read(path)) for path in self._validations()],
                "final": _trimmed(own),
                "splits": {name: _trimmed(_read(self.tested(name))) for name in self.study.splits},
            },
        )

    def _wanted(self) -> dict[str, Any]:
        """What makes the run this one."""
        plain = json.loads(json.dumps(dict(self.run.options)))
        options = {name: value for name, value in plain.items() if name not in _PLACES}
        return {"config": self.run.arm.config, "options": options}

    def _difference(self, known: Mapping[str, Any]) -> str | None:
        """What tells the run that ``known`` is of from this one; None for the same run."""
        for key, value in self._wanted().items():
            if known.get(key) != value:
                return f"other {key} ({_first_change(known.get(key), value)})"
        return None

    def _validations(self) -> list[Path]:
        """In the order of training."""
        found = (self.work_dir / VALIDATIONS).glob("iter_*.json")
        return sorted(found, key=lambda path: int(path.stem.partition("_")[2]))

    def _labels_read(self) -> dict[str, Any]:
        """The audit of the training, in numbers."""
        audit = _read(self.work_dir / "label_audit.json")
        return {
            name: len(value) if isinstance(value, list) else value
            for name, value in audit.items()
            if isinstance(value, (int, float, list))
        }


def results_in(path: Path) -> list[dict[str, Any]]:
    """The results that a ``study.json`` holds.

    Raises:
        UserError: the file cannot be read or is none.
    """
    try:
        runs = dict(json.loads(path.read_text(encoding="utf-8")))["runs"]
        missing = [key for run in runs for key in _OF_A_RESULT if key not in run]
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise UserError(f"{path} is no study.json: {type(error).__name__}: {error}") from error
    if missing:
        raise UserError(f"{path} is no study.json: one of its runs has no {missing[0]!r}")
    return list(runs)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): delete it to make it again") from error


def _first_change(before: Any, value: Any) -> str:
    if not isinstance(before, dict) or not isinstance(value, dict):
        return f"{before!r}, now {value!r}"
    names = sorted(n for n in {*before, *value} if before.get(n) != value.get(n))
    return f"{names[0]} {before.get(names[0])!r}, now {value.get(names[0])!r}"


def _trimmed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Iteration and the summaries, without what is large."""
    return {
        name: {key: each for key, each in value.items() if key not in _LEFT_OUT}
        if isinstance(value, dict)
        else value
        for name, value in content.items()
        if name == "iteration" or (isinstance(value, dict) and "protocol" in value)
    }
