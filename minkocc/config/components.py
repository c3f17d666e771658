"""Whether every ``type`` of a recipe exists and takes the keywords it is given."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from mmengine import registry as mm
from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.registry import Registry
from torch.utils.data import DataLoader

from minkocc import registry as ours

# The sections of a recipe and what builds them.
_SECTIONS: dict[str, Registry | None] = {
    "model": ours.MODELS,
    "train_dataloader": None,
    "val_dataloader": None,
    "test_dataloader": None,
    "val_evaluator": ours.METRICS,
    "test_evaluator": ours.METRICS,
    "default_hooks": ours.HOOKS,
    "custom_hooks": ours.HOOKS,
    "log_processor": ours.LOG_PROCESSORS,
    "train_cfg": ours.LOOPS,
    "val_cfg": ours.LOOPS,
    "test_cfg": ours.LOOPS,
    "optim_wrapper": ours.OPTIM_WRAPPERS,
    "param_scheduler": mm.PARAM_SCHEDULERS,
    "visualizer": mm.VISUALIZERS,
}
# Inside a section, these keys change the registry.
_PARTS: dict[str, Registry] = {
    "dataset": ours.DATASETS,
    "sampler": ours.DATA_SAMPLERS,
    "batch_sampler": ours.DATA_SAMPLERS,
    "pipeline": ours.TRANSFORMS,
    "optimizer": mm.OPTIMIZERS,
    "vis_backends": ours.VISBACKENDS,
    "metrics": ours.METRICS,
}
# Keywords that a builder takes out before it calls the type.
_BUILDER_KEYWORDS = {
    ours.HOOKS: frozenset({"priority"}),
    mm.PARAM_SCHEDULERS: frozenset({"convert_to_iter_based"}),
    ours.OPTIM_WRAPPERS: frozenset({"optimizer", "paramwise_cfg"}),
}

# With these a node's keywords are not its type's: an optimiser constructor reads them as it likes,
# and what holds metrics is an evaluator.
_READ_BY_OTHERS = frozenset({"constructor", "metrics"})


def component_problems(recipe: Mapping[str, Any]) -> Iterator[str]:
    """What would stop a recipe's components from being built, a line each, with the remedy.

    Looks at every dict with a ``type``; values under ``*_cfg`` belong to whoever reads them
    (``norm_cfg``, ``init_cfg``) and are left alone.

    Args:
        recipe: a resolved recipe.
    """
    for key, registry in _SECTIONS.items():
        node = recipe.get(key)
        if key.endswith("_dataloader") and isinstance(node, Mapping):
            yield from _unknown_keywords(node, DataLoader, {"num_batch_per_epoch"}, key)
        yield from _problems(node, registry, key)


def _problems(node: Any, registry: Registry | None, place: str) -> Iterator[str]:
    if isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from _problems(item, registry, f"{place}.{number}")
    if not isinstance(node, Mapping):
        return
    if "type" in node and registry is not None:
        yield from _component_problem(node, registry, place)
    for key, value in node.items():
        if not str(key).endswith("_cfg"):
            yield from _problems(value, _PARTS.get(key, registry), f"{place}.{key}")


def _component_problem(node: Mapping[str, Any], registry: Registry, place: str) -> Iterator[str]:
    if node.keys() & _READ_BY_OTHERS:
        return
    kind = node["type"]
    found = _find(kind, registry) if isinstance(kind, str) else kind
    if found is None:
        near = _nearest(str(kind), _names(registry))
        yield f"{place}: there is no {registry.name} {kind!r}{near}"
        return
    allowed = {"type", "_scope_"} | _BUILDER_KEYWORDS.get(registry, frozenset())
    yield from _unknown_keywords(node, found, allowed, f"{place}: {kind}")


def _find(kind: str, registry: Registry) -> Any:
    """The type of a name; a component's parts may live in another registry than it does."""
    for each in (registry, mm.TASK_UTILS, ours.MODELS, ours.TRANSFORMS):
        found = each.get(kind)
        if found is not None:
            return found
    return None


def _unknown_keywords(
    node: Mapping[str, Any], called: Any, allowed: Set[str], what: str
) -> Iterator[str]:
    taken = _keywords(called)
    if taken is None:
        return
    for key in node:
        if key not in taken | allowed:
            yield f"{what} takes no {key!r}{_nearest(key, taken)}"


def _keywords(called: Any) -> set[str] | None:
    """What may be passed by name; None when that cannot be told.

    Schedulers and optimiser wrappers hand ``**kwargs`` on to their base classes; what others do
    with theirs is their own affair.
    """
    makers = [called]
    if inspect.isclass(called) and issubclass(called, (_ParamScheduler, OptimWrapper)):
        makers = [
            base for base in called.__mro__ if "__init__" in vars(base) and base is not object
        ]
    elif _open_ended(called):
        return None
    return {
        parameter.name
        for maker in makers
        for parameter in inspect.signature(maker).parameters.values()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }


def _open_ended(called: Any) -> bool:
    parameters = inspect.signature(called).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _names(registry: Registry) -> list[str]:
    """Names in this registry, its parents, and, with their scope, in its parents' children."""
    names: list[str] = []
    level: Registry | None = registry
    while level is not None:
        names += level.module_dict
        for scope, child in level.children.items():
            names += [f"{scope}.{name}" for name in child.module_dict]
        level = level.parent
    return names


def _nearest(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f": did you mean {near[0]!r}?" if near else f"; known: {', '.join(sorted(known)[:20])}"
