import collections

import pytest

from minkocc.engine.warm_start import in_clip_window, ramp_at
from minkocc.engine.warm_start_sampler import WarmStartSampler
from minkocc.structures.errors import UserError
from minkocc.structures.phase import Phase, phase_at


class Frames:
    def __init__(self, size, labelled):
        self.size, self.labelled = size, labelled

    def __len__(self):
        return self.size

    def labelled_indices(self):
        return self.labelled


def make(size=20, labelled=(3, 4), alpha=0.1, batch_size=2, max_iters=100, world=1, rank=0, **kw):
    sampler = WarmStartSampler(Frames(size, list(labelled)), alpha, batch_size, **kw)
    sampler.max_iters = max_iters
    sampler.world_size, sampler.rank = world, rank
    return sampler


def run(sampler, max_iters, start=0):
    out, sampler.start_iter = [], start
    while sampler.start_iter < max_iters:
        epoch = list(sampler)
        out += epoch
        sampler.start_iter += len(epoch) // sampler.batch_size
    return out


def test_every_phase_is_phase_at_and_warm_draws_only_labelled():
    drawn = run(make(), 100)
    assert len(drawn) == 200
    for index, iteration, phase in drawn:
        assert phase is phase_at(iteration, 100, 0.1)
        assert phase is Phase.WEAK or index in (3, 4)


@pytest.mark.parametrize(("alpha", "phase"), [(0.0, Phase.WEAK), (1.0, Phase.STRONG)])
def test_a_run_without_a_switch_has_one_phase(alpha, phase):
    assert {draw.phase for draw in run(make(alpha=alpha, labelled=range(20)), 100)} == {phase}


def test_a_run_on_labels_alone_draws_nothing_else():
    drawn = run(make(warm_share=1.0), 100)
    assert {phase for _, _, phase in drawn} == {Phase.WARM}
    assert {index for index, _, _ in drawn} == {3, 4}


def test_every_frame_is_drawn_exactly_once_a_pass():
    weak = [draw.index for draw in run(make(), 100) if draw.phase is Phase.WEAK]
    for start in range(0, len(weak), 20):
        assert sorted(weak[start : start + 20]) == list(range(20))


def test_resuming_in_the_middle_of_an_epoch_goes_on():
    whole = run(make(), 100)
    for start in (5, 10, 13, 57):
        assert run(make(), 100, start) == whole[2 * start :]


def test_ranks_share_phases_and_partition_each_pass():
    ranks = [run(make(world=2, rank=r), 50) for r in (0, 1)]
    seen = collections.Counter()
    for a, b in zip(*ranks):
        assert (a.iteration, a.phase) == (b.iteration, b.phase)
        if a.phase is Phase.WEAK:
            seen.update((a.index, b.index))
    assert max(seen.values()) - min(seen.values()) <= 1


def test_replay_goes_back_to_labelled_frames_in_whole_batches():
    drawn = run(make(replay=0.25), 100)
    by_iteration = collections.defaultdict(set)
    for index, iteration, phase in drawn:
        by_iteration[iteration].add(phase)
        assert phase is Phase.WEAK or index in (3, 4)
    assert all(len(phases) == 1 for phases in by_iteration.values())
    after = [phases.pop() for i, phases in sorted(by_iteration.items()) if i >= 10]
    assert after.count(Phase.WARM) == 22  # floor(90 * 0.25)
    weak = [draw.index for draw in drawn if draw.phase is Phase.WEAK]
    assert sorted(weak[:20]) == list(range(20))


def test_small_pool_wraps_around():
    drawn = run(make(size=3, labelled=(1,), batch_size=2, max_iters=20), 20)
    assert len(drawn) == 40


def test_missing_labels_are_refused():
    with pytest.raises(ValueError, match="no frame is inside the label budget"):
        make(labelled=())
    make(labelled=(), alpha=0.0)


def test_without_the_hook_it_says_so():
    sampler = make(max_iters=None)
    with pytest.raises(UserError, match="WarmStartHook"):
        next(iter(sampler))


def test_ramp_and_clip_window_are_functions_of_progress():
    assert [ramp_at(i, 100, 0.1, 4) for i in (9, 10, 11, 13, 50)] == [0.0, 0.25, 0.5, 1.0, 1.0]
    assert ramp_at(0, 100, 0.0, 4) == ramp_at(0, 100, 1.0, 4) == 1.0
    assert [in_clip_window(i, 100, 0.1, 2) for i in (7, 8, 12, 13)] == [False, True, True, False]


def test_ramp_and_clip_window_count_samples():
    """Eight processes of four samples cross the switch as one process of one sample does."""
    at = (0.1, 640)
    alone = [(ramp_at(i, 3200, *at), in_clip_window(i, 3200, *at)) for i in range(3200)]
    many = [(ramp_at(i, 100, *at, 32), in_clip_window(i, 100, *at, 32)) for i in range(100)]
    assert [ramp for ramp, _ in many] == [ramp for ramp, _ in alone[31::32]]
    assert [clip for _, clip in many] == [clip for _, clip in alone[::32]]
