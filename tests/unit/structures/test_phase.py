import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minkocc.structures.phase import Phase, TrainIndex, check_replay, phase_at, switch_iteration


@pytest.mark.parametrize(
    ("max_iters", "alpha", "switch"), [(100, 0.1, 10), (101, 0.1, 11), (30, 0.1, 3), (7, 0.0, 0)]
)
def test_switch_is_the_ceiling(max_iters, alpha, switch):
    assert switch_iteration(max_iters, alpha) == switch


def test_warm_then_weak():
    phases = [phase_at(i, 20, 0.1) for i in range(20)]
    assert phases == [Phase.WARM] * 2 + [Phase.WEAK] * 18


def test_extremes():
    assert {phase_at(i, 10, 1.0) for i in range(10)} == {Phase.STRONG}
    assert {phase_at(i, 10, 0.0) for i in range(10)} == {Phase.WEAK}


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_there_is_one_switch_at_most(max_iters, alpha):
    switch = switch_iteration(max_iters, alpha)
    assert 0 <= switch <= max_iters
    if 0 < switch < max_iters and alpha < 1:
        assert phase_at(switch - 1, max_iters, alpha) is Phase.WARM
        assert phase_at(switch, max_iters, alpha) is Phase.WEAK


def test_alpha_is_a_share():
    with pytest.raises(ValueError, match=r"alpha 1\.7 is not a share"):
        phase_at(0, 10, 1.7)


def test_a_share_of_its_own_moves_the_switch_and_no_label():
    assert {phase_at(i, 10, 0.1, 1.0) for i in range(10)} == {Phase.WARM}
    assert [phase_at(i, 10, 0.1, 0.5) for i in (4, 5)] == [Phase.WARM, Phase.WEAK]
    assert phase_at(5, 10, 0.1, None) is Phase.WEAK
    assert {phase_at(i, 10, 1.0, 1.0) for i in range(10)} == {Phase.STRONG}
    assert {phase_at(i, 10, 0.0, 0.0) for i in range(10)} == {Phase.WEAK}


@pytest.mark.parametrize(
    ("alpha", "warm_share", "words"),
    [
        (0.1, 1.2, r"warm_share 1\.2 is no share"),
        (0.1, float("nan"), "warm_share nan is no share"),
        (0.0, 0.5, "without dense labels there is no warm start"),
        (1.0, 0.5, "with all of them there is no switch"),
        (0.1, 0.0, r"uses none of alpha 0\.1's labels"),
    ],
)
def test_shares_that_do_not_go_together_are_refused(alpha, warm_share, words):
    with pytest.raises(ValueError, match=words):
        phase_at(0, 10, alpha, warm_share)


@pytest.mark.parametrize(
    ("replay", "alpha", "warm_share", "words"),
    [
        (1.0, 0.1, None, r"replay 1\.0 is outside"),
        (float("nan"), 0.1, None, "replay nan is outside"),
        (0.5, 1.0, None, "replay 0.5 with alpha 1 and a warm start of 1"),
        (0.5, 0.0, None, "replay 0.5 with alpha 0"),
        (0.5, 0.1, 1.0, "replay 0.5 with alpha 0.1 and a warm start of 1"),
    ],
)
def test_replay_that_would_never_come_is_refused(replay, alpha, warm_share, words):
    with pytest.raises(ValueError, match=words):
        check_replay(replay, alpha, warm_share)


def test_train_index_survives_pickling():
    index = TrainIndex(3, 5, Phase.WEAK)
    back = pickle.loads(pickle.dumps(index))
    assert back == index
    assert back.phase is Phase.WEAK
