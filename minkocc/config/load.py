"""``load_config``: the only reader of recipes.

A recipe is an mmengine Python config. Its few *knobs* are top-level values; every other place
names them by reference (``'${alpha}'``), so that a child config or ``--cfg-options alpha=0.2``
reaches sampler, hook, dataset and grid alike.
"""

from __future__ import annotations

import copy
import difflib
import math
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from minkocc.config.components import component_problems
from minkocc.config.knobs import (
    KNOBS,
    ConfigError,
    check_knobs,
    from_home,
    is_whole,
    same_value,
)
from minkocc.config.taxonomy_file import config_of_file, taxonomy_of_file
from minkocc.structures.taxonomy import OCC3D, Taxonomy

_RUNNER_KEYS: frozenset[str] = frozenset(
    "model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg "
    "auto_scale_lr optim_wrapper param_scheduler val_evaluator test_evaluator default_hooks "
    "custom_hooks data_preprocessor load_from resume launcher env_cfg log_processor log_level "
    "visualizer default_scope randomness experiment_name model_wrapper_cfg "
    "custom_imports".split()
)
# Evaluation may use a batch size and worker count of its own.
_OWN_VALUE: frozenset[tuple[str, str]] = frozenset(
    (loader, knob)
    for loader in ("val_dataloader", "test_dataloader")
    for knob in ("batch_size", "num_workers")
)
_REFERENCE = re.compile(r"\$\{(\w+)\}")


def load_config(path: str | Path, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """Read a recipe, merge options, resolve its references and refuse contradictions.

    Args:
        path: a Python config file.
        cfg_options: dotted keys and values, as ``--cfg-options`` gives them.

    Returns:
        The resolved config. ``recipe_of(path, cfg_options)`` gives the one with references.

    Raises:
        ConfigError: the file is missing, a key, ``type`` or keyword is unknown, a knob's value is
            impossible, a value is NaN, a reference has no knob, or a value contradicts a knob.
    """
    return resolved(recipe_of(path, cfg_options))


def resolved(recipe: Config) -> Config:
    """A recipe with its references resolved.

    Args:
        recipe: what ``recipe_of`` gave; it stays as it is.

    Raises:
        ConfigError: as ``load_config``.
    """
    _refuse_unknown_keys(recipe)
    knobs = from_home({name: recipe[name] for name in KNOBS if name in recipe})
    if isinstance(knobs.get("taxonomy"), str):
        folder = Path(str(recipe.filename)).parent
        knobs["taxonomy"] = taxonomy_of_file(Path(knobs["taxonomy"]), folder)
    check_knobs(knobs)
    knobs = _with_short_taxonomy(knobs)
    content = {**_substitute(recipe.to_dict(), knobs), **knobs}
    _refuse_nan(content)
    _check_validation(content)
    _check_parts(content)
    _refuse_contradictions(content, knobs)
    for problem in component_problems(content):
        raise ConfigError(problem)
    return Config(content, filename=str(recipe.filename))


def _with_short_taxonomy(knobs: Mapping[str, Any]) -> dict[str, Any]:
    """A taxonomy without what only tools read, which take it from its file; None: Occ3D's.

    Every part that knows classes gets it, and each run prints and saves them all.
    """
    taxonomy = Taxonomy.of(knobs.get("taxonomy"))
    short = None if taxonomy.meaning() == OCC3D.meaning() else taxonomy.meaning()
    return {**knobs, "taxonomy": short} if "taxonomy" in knobs else dict(knobs)


def recipe_of(path: str | Path, cfg_options: Mapping[str, Any] | None = None) -> Config:
    """The recipe with options merged and references unresolved.

    Raises:
        ConfigError: the file is missing or cannot be read as a config.
    """
    if not Path(path).is_file():
        raise ConfigError(f"config {path} is not a file: see configs/ for the recipes")
    cfg = config_of_file(path, "config")
    for key, value in (cfg_options or {}).items():
        if key in KNOBS:  # a knob's value is one, also where it is a dict
            cfg[key] = copy.deepcopy(value)
            continue
        try:
            cfg.merge_from_dict({key: copy.deepcopy(value)})
        except (KeyError, TypeError, IndexError) as error:
            reason = textwrap.shorten(str(error), 160)
            raise ConfigError(
                f"option {key}={value!r} does not fit the config: {reason}"
            ) from error
    return cfg


def _refuse_unknown_keys(cfg: Config) -> None:
    known = _RUNNER_KEYS | set(KNOBS)
    for key in cfg:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known knobs: {', '.join(KNOBS)}"
            if isinstance(cfg[key], (dict, list)):
                hint += f"; a building block of the file itself ends with `del {key}`"
            raise ConfigError(f"unknown top-level key {key!r} in the config: {hint}")


def _substitute(node: Any, knobs: Mapping[str, Any]) -> Any:
    if isinstance(node, Mapping):
        return {key: _substitute(value, knobs) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_substitute(value, knobs) for value in node)
    if isinstance(node, str):
        return _substitute_text(node, knobs)
    return node


def references(text: str) -> list[str]:
    """The knobs that a value of a recipe refers to.

    Args:
        text: the value, such as ``'runs/a_${alpha}'``.
    """
    return _REFERENCE.findall(text)


def _substitute_text(text: str, knobs: Mapping[str, Any]) -> Any:
    def value_of(name: str) -> Any:
        if name not in knobs:
            raise ConfigError(
                f"reference '${{{name}}}' names no knob: set {name!r} at the top level, "
                f"one of {', '.join(KNOBS)}"
            )
        return copy.deepcopy(knobs[name])

    whole = _REFERENCE.fullmatch(text)
    if whole:
        return value_of(whole[1])
    return _REFERENCE.sub(lambda found: str(value_of(found[1])), text)


def _check_validation(resolved: Mapping[str, Any]) -> None:
    """Found by mmengine at the end of the first epoch."""
    loop = resolved.get("train_cfg") or {}
    intervals = {"val_interval": loop.get("val_interval", 1)}
    for number, entry in enumerate(loop.get("dynamic_intervals") or []):
        interval = entry[1] if isinstance(entry, (list, tuple)) and len(entry) == 2 else entry
        intervals[f"dynamic_intervals.{number}"] = interval
    for name, value in intervals.items():
        if not is_whole(value, 1):
            raise ConfigError(
                f"train_cfg.{name} {value!r} is not a whole number of epochs from 1: validation "
                "is left out with val_cfg=None"
            )


def _check_parts(resolved: Mapping[str, Any]) -> None:
    """Knobs that ask for a part which the network does without, or leave one without its input."""
    model = resolved.get("model") or {}
    if model.get("image_encoder", 1) is None and resolved.get("image_pretrained") is not None:
        raise ConfigError(
            f"image_pretrained {resolved['image_pretrained']!r}, and model.image_encoder is None: "
            "set image_pretrained=None, which is what every figure then says"
        )
    for name in ("weight_2d", "depth_weight"):
        if model.get("pulsar_head", 1) is None and resolved.get(name):
            raise ConfigError(
                f"{name} {resolved[name]}, and model.pulsar_head is None: nothing is rendered, so "
                f"set {name}=0"
            )
    if not resolved.get("read_images", True) and model.get("image_encoder"):
        raise ConfigError(
            "read_images=False, and model.image_encoder would see black images: set "
            "model.image_encoder and model.voxel_encoder.fusion to None too"
        )


def _refuse_nan(resolved: Mapping[str, Any]) -> None:
    """Infinity may be meant (a clipping that only measures); NaN never is."""
    for place, value in _leaves(resolved, ""):
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{place} = nan is no number: set a value, or leave the key out")


def _leaves(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, (Mapping, list, tuple)):
        parts = node.items() if isinstance(node, Mapping) else enumerate(node)
        for key, value in parts:
            yield from _leaves(value, f"{place}.{key}" if place else str(key))
    else:
        yield place, node


def _refuse_contradictions(resolved: Mapping[str, Any], knobs: Mapping[str, Any]) -> None:
    taxonomy = Taxonomy.of(knobs.get("taxonomy"))
    for trail, key, value in _walk(resolved, ()):
        if not trail or key not in knobs or (trail[0], key) in _OWN_VALUE:
            continue
        if not same_value(key, value, knobs[key], taxonomy):
            place = ".".join((*trail, key))
            raise ConfigError(
                f"{place} = {value!r} contradicts the knob {key} = {knobs[key]!r}: "
                f"set the top-level {key} instead"
            )


def _walk(node: Any, trail: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """Every (place, key, value) of a recipe, but for the keywords of third-party components.

    Those carry their scope, and words of their own: ``alpha`` of ``mmdet.FocalLoss`` is no knob.
    """
    if isinstance(node, (Mapping, ConfigDict)):
        own = "." not in str(node.get("type", ""))
        for key, value in node.items():
            if own:
                yield trail, str(key), value
            yield from _walk(value, (*trail, str(key)))
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from _walk(value, (*trail, str(number)))
