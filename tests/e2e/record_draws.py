"""A user's own hook, loaded by ``custom_imports``: writes what was drawn and what came of it."""

import hashlib
import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from minkocc.registry import HOOKS


@HOOKS.register_module()
class RecordDraws(Hook):
    """Appends ``[iteration, phase, tokens]`` a line to ``<work dir>/draws_<rank>.jsonl``.

    At the end it writes a digest of every parameter and buffer to ``weights_<rank>.json``.
    """

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        samples = data_batch["data_samples"]
        (iteration,) = {sample.iteration for sample in samples}
        (phase,) = {sample.phase for sample in samples}
        assert iteration == runner.iter
        line = json.dumps([iteration, phase.value, [sample.token for sample in samples]])
        with open(Path(runner.work_dir) / f"draws_{get_rank()}.jsonl", "a") as log:
            log.write(line + "\n")

    def after_train(self, runner):
        state = runner.model.state_dict()
        digests = {
            name: hashlib.sha256(value.cpu().contiguous().numpy().tobytes()).hexdigest()
            for name, value in state.items()
        }
        (Path(runner.work_dir) / f"weights_{get_rank()}.json").write_text(json.dumps(digests))


def draws(work_dir, rank=0):
    lines = (Path(work_dir) / f"draws_{rank}.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]
