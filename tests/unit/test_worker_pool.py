import os
import signal
import time

import pytest

from minkocc.structures.errors import UserError
from minkocc.worker_pool import available_cores, run_in_workers


def square(number):
    return number * number


def fail_at_two(task):
    number, folder = task
    if number == 2:
        raise UserError("number two")
    time.sleep(0.05)
    (folder / str(number)).touch()


def kill_oneself(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("chunk", [1, 4])
def test_results_keep_their_order(workers, chunk):
    assert list(run_in_workers(square, range(10), workers, chunk)) == [n * n for n in range(10)]


def test_nothing_to_do():
    assert list(run_in_workers(square, [], 4)) == []


def test_an_error_ends_the_work(tmp_path):
    with pytest.raises(UserError, match="number two"):
        list(run_in_workers(fail_at_two, [(number, tmp_path) for number in range(200)], 2))
    assert len(list(tmp_path.iterdir())) < 100


def test_a_killed_process_is_named():
    with pytest.raises(UserError, match=r"worker processes was killed.*fewer --workers"):
        list(run_in_workers(kill_oneself, range(4), 2))


def test_too_few_workers_are_refused_at_once():
    with pytest.raises(ValueError, match="workers 0 is too small"):
        run_in_workers(square, [1], 0)


def test_cores():
    assert 1 <= available_cores() <= os.cpu_count()
