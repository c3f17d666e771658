import json
from types import SimpleNamespace

from minkocc.engine.validation_figures import VALIDATIONS, ValidationFiguresHook


def runner_at(work_dir, iteration, summaries):
    metrics = [SimpleNamespace(summaries=summaries), SimpleNamespace()]
    return SimpleNamespace(
        work_dir=str(work_dir),
        iter=iteration,
        epoch=1,
        val_evaluator=SimpleNamespace(metrics=metrics),
    )


def test_every_validation_is_kept_with_its_classes(tmp_path):
    hook, summary = ValidationFiguresHook(), {"protocol": "occ3d", "iou": {"car": 3.0}}
    for iteration in (5, 10):
        hook.after_val_epoch(runner_at(tmp_path, iteration, [summary]))
    content = json.loads((tmp_path / VALIDATIONS / "iter_10.json").read_text())
    assert content == {"iteration": 10, "epoch": 1, "occ3d": summary}
    hook.before_train(runner_at(tmp_path, 10, []))  # resumed: they are this run's
    assert len(list((tmp_path / VALIDATIONS).iterdir())) == 2
    hook.before_train(runner_at(tmp_path, 0, []))
    assert not list((tmp_path / VALIDATIONS).iterdir())


def test_without_a_label_nothing_is_written(tmp_path):
    ValidationFiguresHook().after_val_epoch(runner_at(tmp_path, 5, []))
    assert not list(tmp_path.iterdir())
