"""How tools end, Ctrl-C at the worst moment included."""

import os
import signal
import sys

import pytest

from minkocc.cli import raise_if_interrupted, run_tool
from minkocc.engine.train_loop import ResumableTrainLoop
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
