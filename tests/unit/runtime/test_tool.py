"""How tools end, Ctrl-C at the worst moment included."""

import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from minkocc.engine.train_loop import ResumableTrainLoop
from minkocc.runtime.tool import raise_if_interrupted, run_tool
from minkocc.structures.errors import UserError


class Interrupting:
    """Is interrupted while it is deleted, where Python prints the exception and goes on."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the signal is handled between two of these
            pass


@pytest.fixture
def swallowed(monkeypatch):
    """Exceptions that Python could not raise."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda event: found.append(event.exc_type))
    return found


def test_a_swallowed_interrupt_is_raised_at_the_next_chance(swallowed, capsys):
    reached = []

    def main():
        Interrupting()
        reached.append("after the deletion")
        raise_if_interrupted()
        reached.append("too far")

    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 130
    assert swallowed == [KeyboardInterrupt]
    assert reached == ["after the deletion"]
    assert capsys.readouterr().err.endswith("interrupted\n")


def test_handlers_are_put_back_and_nothing_is_remembered(swallowed):
    before = signal.getsignal(signal.SIGINT)
    run_tool(Interrupting)
    assert swallowed == [KeyboardInterrupt]
    assert signal.getsignal(signal.SIGINT) is before
    raise_if_interrupted()


def test_an_error_is_one_write(monkeypatch):
    """Two processes of one run end in the same error: unbuffered, its line must not be torn."""

    def main():
        raise UserError("no such\nthing")

    written = []
    monkeypatch.setattr(sys.stderr, "write", written.append)
    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 1
    assert written == ["error: no such thing\n"]


class Interrupted(io.BytesIO):
    """Ctrl-C comes while a file is written to it."""

    def write(self, data):
        os.kill(os.getpid(), signal.SIGINT)
        return super().write(data)


def save_interrupted():
    torch.save({"weights": torch.ones(1000)}, Interrupted())


def fail_interrupted():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
    except KeyboardInterrupt:
        raise RuntimeError("what was interrupted fails in its own way") from None


def wrong_interrupted():
    try:
        fail_interrupted()
    except RuntimeError as error:
        raise UserError("the file cannot be written") from error


@pytest.mark.parametrize("main", [save_interrupted, fail_interrupted, wrong_interrupted])
def test_what_fails_because_of_an_interrupt_is_an_interrupt(main, capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(main)
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "interrupted"
    raise_if_interrupted()


def test_an_error_has_a_line_of_its_own_below_a_progress_bar(capsys):
    kept = []

    def main():
        kept.append(tqdm(total=3, desc="logs"))
        raise UserError("it is empty")

    with pytest.raises(SystemExit):
        run_tool(main)
    assert capsys.readouterr().err.endswith("\nerror: it is empty\n")
    assert kept[0].disable  # and is not drawn again


def test_debug_shows_what_an_interrupt_broke(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool", "--debug"])
    with pytest.raises(RuntimeError, match="fails in its own way"):
        run_tool(fail_interrupted)


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda: 1 / 0)
    with pytest.raises(RuntimeError, match="of our own"):
        run_tool(lambda: (_ for _ in ()).throw(RuntimeError("of our own")))


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 71) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 71, 72) exited unexpectedly",
        "DataLoader worker (pid 71) exited unexpectedly with exit code 1. Details are lost",
    ],
)
def test_a_lost_worker_is_one_line(capsys, text):
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: (_ for _ in ()).throw(RuntimeError(text)))
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: DataLoader worker (pid")
    assert "memory ran out: use a smaller num_workers" in line


class Killing(Dataset):
    """Its worker is killed, as by the kernel when memory runs out."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.processes
def test_torch_says_of_a_killed_worker_what_we_look_for(capsys):
    with pytest.raises(SystemExit) as ended:
        run_tool(lambda: next(iter(DataLoader(Killing(), num_workers=1))))
    assert ended.value.code == 1
    assert "a process that loads data was killed" in capsys.readouterr().err


@pytest.mark.processes
@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("tools/train.py", 130, "interrupted"),  # while it imports what it needs
        ("elsewhere/train.py", -signal.SIGINT, "KeyboardInterrupt"),  # another's program
    ],
)
def test_ctrl_c_while_a_tool_starts(script, code, said):
    root = Path(__file__).parents[3]
    program = (
        "import os, signal, sys\n"
        # Which a test run in the background of a shell, deaf to Ctrl-C, hands on.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"sys.argv[0] = {str(root / script)!r}\n"
        "import minkocc\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "for _ in range(1000): pass\n"
        "print('it went on')\n"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.strip().endswith(said)
    assert ("Traceback" in done.stderr) == (code != 130)


class Runner:
    """As much of a runner as an epoch needs."""

    def __init__(self):
        self.model = self
        self.hooks = []

    def train(self):
        pass

    def call_hook(self, name):
        self.hooks.append(name)


class Batches:
    """Two batches; the second is fetched while an interrupt is swallowed."""

    def __len__(self):
        return 2

    def __iter__(self):
        yield "first"
        Interrupting()
        yield "second"


def test_the_train_loop_stops_at_a_swallowed_interrupt(swallowed):
    loop = ResumableTrainLoop.__new__(ResumableTrainLoop)
    loop._runner, loop.dataloader, loop._iter, loop._epoch = Runner(), Batches(), 0, 0
    seen = []
    loop.run_iter = lambda place, batch: seen.append(batch)
    with pytest.raises(SystemExit) as ended:
        run_tool(loop.run_epoch)
    assert ended.value.code == 130
    assert seen == ["first"]
    assert swallowed == [KeyboardInterrupt]
    assert loop.runner.hooks == ["before_train_epoch"]


@pytest.mark.processes
@pytest.mark.parametrize("buffered", [True, False])
def test_what_read_the_output_has_ended(buffered):
    """As in ``study.py --list | head``: what is still in the buffer is written at Python's end."""
    program = (
        "from minkocc.runtime.tool import run_tool\n"
        f"run_tool(lambda: [print('line', flush={not buffered}) for _ in range(99)])\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_another_broken_pipe_is_a_bug():
    with pytest.raises(BrokenPipeError):
        run_tool(lambda: (_ for _ in ()).throw(BrokenPipeError("of a worker")))
