import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numba
import pytest

from minkocc.runtime.worker_pool import WorkerPool, available_cores
from minkocc.structures.errors import UserError

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.processes


def square(number):
    return number * number


def fail_at_two(task):
    number, folder = task
    if number == 2:
        raise UserError("number two")
    time.sleep(0.05)
    (folder / str(number)).touch()


def process_id(_):
    time.sleep(0.01)
    return os.getpid()


def threads(_):
    return numba.get_num_threads()


def note_and_sleep(folder):
    Path(folder, f"{os.getpid()}.pid").touch()
    time.sleep(120)


def kill_oneself(number):
    os.kill(os.getpid(), signal.SIGKILL)


def work(function, items, workers, chunk=1):
    with WorkerPool(workers) as pool:
        return list(pool.run(function, items, chunk))


@pytest.mark.parametrize(("workers", "chunk"), [(1, 1), (3, 1), (3, 4)])
def test_results_keep_their_order(workers, chunk):
    assert work(square, range(10), workers, chunk) == [n * n for n in range(10)]


def test_the_same_processes_serve_all_lists():
    with WorkerPool(2) as pool:
        first, second = (set(pool.run(process_id, range(20))) for _ in range(2))
    assert os.getpid() not in first
    assert len(first | second) <= 2


def test_a_process_uses_one_thread():
    assert work(threads, range(4), 2) == [1] * 4


def test_nothing_to_do():
    assert work(square, [], 4) == []


def test_an_error_ends_the_work(tmp_path):
    with pytest.raises(UserError, match="number two"):
        work(fail_at_two, [(number, tmp_path) for number in range(200)], 2)
    assert len(list(tmp_path.iterdir())) < 100


def test_a_killed_process_is_named():
    with pytest.raises(UserError, match=r"worker processes was killed.*fewer --workers"):
        work(kill_oneself, range(4), 2)


def test_too_few_workers_are_refused_at_once():
    with pytest.raises(ValueError, match="workers 0 is too small"):
        WorkerPool(0)


def test_cores():
    assert 1 <= available_cores() <= os.cpu_count()


PARENT = """
from tests.unit.runtime.test_worker_pool import note_and_sleep, WorkerPool
if __name__ == "__main__":
    with WorkerPool(2) as pool:
        list(pool.run(note_and_sleep, [{folder!r}] * 2))
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_no_process_outlives_its_parent(tmp_path, end):
    script = tmp_path / "parent.py"
    script.write_text(PARENT.format(folder=str(tmp_path)))
    parent = subprocess.Popen(
        [sys.executable, str(script)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    assert wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2, 60)
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    if end == signal.SIGINT:
        os.killpg(parent.pid, end)  # as a terminal sends it: to all of them
    else:
        parent.send_signal(end)
    parent.wait(30)
    assert wait_until(lambda: not any(alive(pid) for pid in workers), 30)


def wait_until(condition, seconds):
    for _ in range(10 * seconds):
        if condition():
            return True
        time.sleep(0.1)
    return False


def alive(pid):
    """A zombie that nobody waits for has ended too."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
