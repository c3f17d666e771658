"""Where a GPU would make its host wait: counted on a CPU, each with its reason."""

import sys
import warnings
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from minkocc.engine.finite_steps import FiniteStepHook
from minkocc.ops import row_sums
from minkocc.structures.phase import Phase
from minkocc.structures.voxel_grid import VoxelGrid
from tests.unit.models.tiny_model import FULL_RANGE, build, make_batch

# Operators whose result's size, or whose value, the host has to know before it goes on.
WAITING = {
    "aten::_local_scalar_dense",
    "aten::bincount",
    "aten::equal",
    "aten::is_nonzero",
    "aten::_linalg_check_errors",
    "aten::masked_select",
    "aten::nonzero",
    "aten::repeat_interleave",  # the form without an output size
    "aten::_unique2",
    "aten::unique_consecutive",
    "aten::unique_dim",
}
# Calls that copy to the host, or from a list of the host.
COPYING = {torch.Tensor: ("tolist", "cpu", "new_tensor"), torch: ("tensor", "as_tensor")}
# So does a number assigned to one element, as a card showed; to a slice it does not.

PREDICTION = {
    "ops.voxelize._ranked": (1, "number of voxels"),
    "models.voxel_encoder.points_in_voxels": (2, "points in range, and those of each sample"),
    "models.point_fusion.sample_views": (1, "number of (view, point) pairs"),
    "ops.sparse.interface.checked_span": (1, "voxels outside the grid are refused"),
    "ops.sparse.voxel_set.unique": (13, "number of voxels: stem's check, 4 down, 4 up, 4 unions"),
    "ops.sparse.voxel_set._rows_by_remainder": (4, "rows of each remainder, of 4 levels"),
    "models.mink_genunet._keep": (4, "a level that keeps nothing, or more than the cap"),
    "ops.sparse.torch_backend.prune": (4, "number of survivors of 4 levels"),
}
RENDERING = {
    "ops.sphere_hits._chunks": (2, "spheres that some pixel may see, and their pixels"),
    "ops.sphere_hits.nearest_in_boxes": (2, "number of hits, and of the nearest of each pixel"),
    "ops.sphere_render._render": (1, "number of pixels that are not sky"),
}
# Gradients of strided convolutions gather by remainders too.
TRAINING = {**PREDICTION, **RENDERING, "ops.sparse.voxel_set._rows_by_remainder": (8, "both ways")}


class Counting(TorchDispatchMode):
    """Counts what waits, by the function of this package that asked for it."""

    def __init__(self):
        super().__init__()
        self.places = Counter()

    def note(self):
        frame = sys._getframe(2)
        while frame and "/minkocc/" not in frame.f_code.co_filename:
            frame = frame.f_back
        if frame:
            module = frame.f_globals["__name__"].removeprefix("minkocc.")
            self.places[f"{module}.{frame.f_code.co_name}"] += 1

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, kwargs = func._schema.name, kwargs or {}
        masks = name.startswith(("aten::index", "aten::_index_put")) and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], (list, tuple)) else [])
        )
        if masks or (name in WAITING and kwargs.get("output_size") is None):
            self.note()
        return func(*args, **kwargs)


@pytest.fixture
def counting(monkeypatch):
    """Copies are counted where they are called: modes do not reach into a backward pass."""
    mode = Counting()
    active = []

    def counted(call):
        @wraps(call)
        def wrapper(*args, **kwargs):
            if active:
                mode.note()
            return call(*args, **kwargs)

        return wrapper

    def assigned(tensor, key, value, assign=torch.Tensor.__setitem__):
        if active and isinstance(key, int) and not isinstance(value, torch.Tensor):
            mode.note()
        return assign(tensor, key, value)

    monkeypatch.setattr(torch.Tensor, "__setitem__", assigned)
    for owner, names in COPYING.items():
        for name in names:
            monkeypatch.setattr(owner, name, counted(getattr(owner, name)))

    @contextmanager
    def count():
        mode.places.clear()
        active.append(True)
        with mode:
            yield mode.places
        active.clear()

    return count


@pytest.fixture
def network(monkeypatch):
    """A model on the operations that a GPU runs: torch's own, without numba."""
    monkeypatch.setattr(row_sums, "_numba_can", lambda _: False)
    model = build(FULL_RANGE, backend="torch")
    head = model.pulsar_head
    head.renderer.settings = replace(head.renderer.settings, finder="torch")
    model.genunet.set_thresholds([0.04] * 4)  # an untrained network keeps some voxels
    model.genunet.train_thresholds.fill_(0.04)
    model.genunet.max_voxels = 400_000
    return model


def batch(model, phase):
    return model.data_preprocessor(make_batch(phase, grid=VoxelGrid(FULL_RANGE, 0.4)))


def check(places, expected, budget):
    assert dict(places) == {place: count for place, (count, _) in expected.items()}
    assert sum(places.values()) <= budget


def test_a_predicted_frame_waits_no_more_than_it_has_to(network, counting):
    network.eval()(**batch(network, None), mode="predict")  # what is cached is made
    data = batch(network, None)
    with counting() as places:
        network(**data, mode="predict")
    check(places, PREDICTION, budget=40)


@pytest.mark.parametrize("phase", [Phase.WEAK, Phase.STRONG])
def test_a_training_iteration_waits_no_more_than_it_has_to(network, counting, phase):
    for _ in range(2):
        data = batch(network.train(), phase)
        with counting() as places:
            terms = network(**data, mode="loss")
            sum(term for name, term in terms.items() if name.startswith("loss")).backward()
    check(places, TRAINING, budget=60)


@contextmanager
def waits_of_the_card():
    """The source lines at which CUDA made the host wait, as torch reports them."""
    lines = []
    with warnings.catch_warnings(record=True) as reports:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield lines
        finally:
            torch.cuda.set_sync_debug_mode("default")
    lines += [
        f"{report.filename}:{report.lineno}"
        for report in reports
        if "synchronizing CUDA operation" in str(report.message)
    ]


@pytest.mark.gpu
@pytest.mark.parametrize("phase", [None, Phase.WEAK, Phase.STRONG])
def test_a_card_waits_no_more_often_than_was_counted(network, phase):
    """The count by operators beside what a card reports itself."""
    network = network.cuda().train(phase is not None)
    for _ in range(2):
        data = batch(network, phase)
        with waits_of_the_card() as lines:
            if phase is None:
                with torch.no_grad():
                    network(**data, mode="predict")
            else:
                terms = network(**data, mode="loss")
                sum(term for name, term in terms.items() if name.startswith("loss")).backward()
    print(f"{phase}: {len(lines)} waits", *sorted(Counter(lines).items()), sep="\n")
    expected = PREDICTION if phase is None else TRAINING
    assert 0 < len(lines) <= sum(count for count, _ in expected.values())


def test_a_checked_step_waits_once_for_loss_and_gradients_and_once_for_the_log(network, counting):
    """mmengine alone waits once for each of the ten terms of its log."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-9)
    hook = FiniteStepHook()
    wrapper = SimpleNamespace(optimizer=optimizer, clip_grad_kwargs=None)
    runner = SimpleNamespace(model=network, optim_wrapper=wrapper, iter=0, message_hub=None)
    hook.before_train(runner)
    data = batch(network.train(), Phase.STRONG)
    hook.before_train_iter(runner, 0, data)
    terms = network(**data, mode="loss")
    sum(term for name, term in terms.items() if name.startswith("loss")).backward()
    with counting() as places:
        optimizer.step()
        hook.after_train_iter(runner, 0, data, {"loss": torch.ones(())})
    assert dict(places) == {"engine.finite_steps._on_host": 1}


def test_the_count_sees_what_waits(counting):
    import minkocc.models.targets as anywhere  # its file is what the count goes by

    code = compile(
        "def probe(x):\n"
        "    x[x > 0], x.nonzero(), bool(x.any()), int(x.sum()), x.tolist(), x.new_tensor([1.0])\n"
        "    x[1] = 0.0\n"
        "    x.repeat_interleave(torch.tensor([1, 2]))\n"
        "    x.repeat_interleave(torch.ones(2, dtype=torch.long), output_size=2)\n",
        anywhere.__file__,
        "exec",
    )
    scope = {"torch": torch, "__name__": "minkocc.probed"}
    exec(code, scope)
    with counting() as places:
        scope["probe"](torch.tensor([1.0, -1.0]))
    assert places == {"probed.probe": 9}
