"""A user's own hook, loaded by ``custom_imports``: writes what every iteration drew."""

import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from minkocc.registry import HOOKS


@HOOKS.register_module()
class RecordDraws(Hook):
    """Appends ``[iteration, phase, tokens]`` a line to ``<work dir>/draws_<rank>.jsonl``."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        samples = data_batch["data_samples"]
        (iteration,) = {sample.iteration for sample in samples}
        (phase,) = {sample.phase for sample in samples}
        assert iteration == runner.iter
        line = json.dumps([iteration, phase.value, [sample.token for sample in samples]])
        with open(Path(runner.work_dir) / f"draws_{get_rank()}.jsonl", "a") as log:
            log.write(line + "\n")


def draws(work_dir, rank=0):
    lines = (Path(work_dir) / f"draws_{rank}.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]
