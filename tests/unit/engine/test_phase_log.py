from types import SimpleNamespace

import pytest
from mmengine.logging import MessageHub

from minkocc.engine.phase_log import PhaseLogProcessor


@pytest.mark.parametrize("name", ["loss_2d_ce_tied", "grad_norm", "cut_s2"])
def test_a_term_is_logged_while_it_comes(name):
    hub = MessageHub.get_instance(f"terms-{name}")
    processor = PhaseLogProcessor(window_size=1)
    runner = SimpleNamespace(message_hub=hub)

    def logged(terms):
        for term, value in terms.items():
            hub.update_scalar(f"train/{term}", value)
        hub.update_info("logged_terms", sorted(terms))
        return processor._collect_scalars([], runner, "train")

    assert logged({"loss": 1.0, name: 2.0, "kept": 3.0}) == {"loss": 1.0, name: 2.0, "kept": 3.0}
    assert logged({"loss": 4.0, "kept": 3.0}) == {"loss": 4.0, "kept": 3.0}
