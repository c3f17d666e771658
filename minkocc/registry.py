"""The registries of minkocc: children of mmengine's, filled on first use from their home package.

Third-party types carry their scope (``mmdet.ResNet``, ``mmdet3d.LoadPointsFromFile``); ours
resolve without a prefix under ``default_scope = 'minkocc'``.
"""

from mmengine import registry as _mm

DATASETS = _mm.Registry(
    "dataset", parent=_mm.DATASETS, scope="minkocc", locations=["minkocc.datasets"]
)
DATA_SAMPLERS = _mm.Registry(
    "data sampler", parent=_mm.DATA_SAMPLERS, scope="minkocc", locations=["minkocc.engine"]
)
TRANSFORMS = _mm.Registry(
    "transform", parent=_mm.TRANSFORMS, scope="minkocc", locations=["minkocc.datasets.transforms"]
)
MODELS = _mm.Registry("model", parent=_mm.MODELS, scope="minkocc", locations=["minkocc.models"])
METRICS = _mm.Registry(
    "metric", parent=_mm.METRICS, scope="minkocc", locations=["minkocc.evaluation.metrics"]
)
HOOKS = _mm.Registry("hook", parent=_mm.HOOKS, scope="minkocc", locations=["minkocc.engine"])
LOG_PROCESSORS = _mm.Registry(
    "log processor", parent=_mm.LOG_PROCESSORS, scope="minkocc", locations=["minkocc.engine"]
)
LOOPS = _mm.Registry("loop", parent=_mm.LOOPS, scope="minkocc", locations=["minkocc.engine"])
OPTIM_WRAPPERS = _mm.Registry(
    "optim_wrapper", parent=_mm.OPTIM_WRAPPERS, scope="minkocc", locations=["minkocc.engine"]
)
VISBACKENDS = _mm.Registry(
    "vis backend", parent=_mm.VISBACKENDS, scope="minkocc", locations=["minkocc.engine"]
)

# Nothing of ours is in these. But under our scope mmengine looks for a child of whatever it builds
# from, and warned of each that it did not find, in every run. TASK_UTILS is not among them: mmdet
# builds its own parts from its own child of it, which a child of ours would stand before.
_EMPTY = tuple(
    _mm.Registry(root.name, parent=root, scope="minkocc")
    for root in (
        _mm.EVALUATOR,
        _mm.FUNCTIONS,
        _mm.INFERENCERS,
        _mm.MODEL_WRAPPERS,
        _mm.OPTIMIZERS,
        _mm.OPTIM_WRAPPER_CONSTRUCTORS,
        _mm.PARAM_SCHEDULERS,
        _mm.RUNNERS,
        _mm.RUNNER_CONSTRUCTORS,
        _mm.STRATEGIES,
        _mm.VISUALIZERS,
        _mm.WEIGHT_INITIALIZERS,
    )
)
