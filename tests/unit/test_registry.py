"""Under our scope mmengine finds what it builds from, and has nothing to warn of."""

import mmengine.runner  # noqa: F401 it fills the registries
import pytest
from mmengine import registry as mm
from mmengine.registry import Registry, init_default_scope

import minkocc.registry  # noqa: F401 it is what is looked for

ROOTS = {
    name: root
    for name, root in vars(mm).items()
    if isinstance(root, Registry) and name != "TASK_UTILS"  # see minkocc/registry.py
}


@pytest.mark.parametrize("name", sorted(ROOTS))
def test_every_kind_has_a_child_of_our_scope(name, monkeypatch):
    told = []
    monkeypatch.setattr("mmengine.logging.print_log", lambda text, **_: told.append(text))
    init_default_scope("minkocc")
    with ROOTS[name].switch_scope_and_registry(None) as found:
        assert found.scope == "minkocc"
    assert told == []


def test_an_empty_child_knows_what_its_parent_knows():
    init_default_scope("minkocc")
    assert mm.VISUALIZERS.build({"type": "Visualizer", "name": "of this test"}) is not None
    assert mm.OPTIMIZERS.get("Adam") is not None
