"""What one run of a study leaves behind, and whether it is there already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minkocc.config import load_config
from minkocc.engine.validation_figures import VALIDATIONS
from minkocc.provenance import provenance
from minkocc.structures.errors import UserError
from minkocc.structures.files import write_json
from minkocc.study.definition import Run

_LEFT_OUT = ("confusion", "rule", "notes")
"""Of a summary: large, or said once for all runs."""


SETTINGS = ("alpha", "voxel_size", "train_mask", "outside", "unknown", "unknown_weight")
"""What a result says of its training beside its options."""


@dataclass(frozen=True)
class RunFiles:
    """The files of one run under a study's folder.

    Args:
        run: the run.
        out: of the study.
        code: the copy that it runs from.
    """

    run: Run
    out: Path
    code: Path

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
    def config(self) -> Path:
        """Its recipe, in the frozen copy."""
        return self.code / self.run.arm.config

    @property
    def checkpoint(self) -> Path:
        """The last one, which is reported."""
        epochs = load_config(self.config, self.run.options).max_epochs
        return self.work_dir / f"epoch_{epochs}.pth"

    def tested(self, split: str | None) -> Path:
        """What ``tools/test.py`` writes of a split; None is the study's own data."""
        return self.work_dir / "tested" / f"{split or 'val'}.json"

    def is_done(self) -> bool:
        """Whether the result is there.

        Raises:
            UserError: it is of another run that had this name.
        """
        if not self.figures.is_file():
            return False
        known = _read(self.figures)
        wanted = {"config": self.run.arm.config, "options": told(self.run.options)}
        for key, value in wanted.items():
            if known.get(key) != value:
                change = _first_change(known, key, value)
                raise UserError(
                    f"{self.figures} is of a run with other {key} ({change}): give the arm "
                    f"{self.run.arm.name!r} another name, or delete the file and {self.work_dir}"
                )
        return True

    def steps(self) -> dict[str, Any]:
        """What each step has taken so far, over all tries, and where it ended."""
        path = self.work_dir / "steps.json"
        return _read(path) if path.is_file() else {}

    def add_seconds(self, step: str, seconds: float) -> None:
        """Keep how long a try of a step took."""
        known = self.steps()
        before = known.get(step, {"seconds": 0.0})["seconds"]
        known[step] = {"seconds": round(before + seconds, 1), "machine": provenance()["machine"]}
        write_json(self.work_dir / "steps.json", known)

    def write_figures(self, splits: Mapping[str, str]) -> None:
        """Gather a finished run's figures into its one file.

        Args:
            splits: of the study.
        """
        own = _read(self.tested(None))
        about = ("commit", "python", "torch", *SETTINGS)
        write_json(
            self.figures,
            {
                "arm": self.run.arm.name,
                "label": self.run.arm.label,
                "seed": self.run.seed,
                "config": self.run.arm.config,
                "options": told(self.run.options),
                "trained_on": self._trained_on(),
                **{name: own[name] for name in about},
                "steps": self.steps(),
                "curve": [_trimmed(_read(path)) for path in self._validations()],
                "final": _trimmed(own),
                "splits": {name: _trimmed(_read(self.tested(name))) for name in splits},
            },
        )

    def _validations(self) -> list[Path]:
        """In the order of training."""
        found = (self.work_dir / VALIDATIONS).glob("iter_*.json")
        return sorted(found, key=lambda path: int(path.stem.partition("_")[2]))

    def _trained_on(self) -> dict[str, Any]:
        """Labels read, from the audit of the training."""
        audit = _read(self.work_dir / "label_audit.json")
        return {name: value for name, value in audit.items() if isinstance(value, (int, float))}


def told(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a file and a command line have them; data roots lie anywhere."""
    plain = json.loads(json.dumps(dict(options)))
    return {name: value for name, value in plain.items() if name != "data_root"}


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}): delete it to make it again") from error


def _first_change(known: Mapping[str, Any], key: str, value: Any) -> str:
    before = known.get(key)
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
