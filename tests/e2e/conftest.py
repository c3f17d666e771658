import multiprocessing

import pytest

from tests.e2e.job import tool_from_shell, train

# What the tools import as they go.
multiprocessing.set_forkserver_preload(
    ["minkocc.apis.test", "mmdet.models", "mmdet3d.models", "torch._dynamo"]
)


@pytest.fixture(scope="session")
def run(synthetic_root, made_once):
    """A finished training run: (work dir, what it printed)."""

    def make(folder):
        done = train(synthetic_root, folder / "work", run=tool_from_shell)
        assert done.returncode == 0, done.stderr[-3000:]
        (folder / "printed.txt").write_text(done.stdout + done.stderr)

    folder = made_once("run", make)
    return folder / "work", (folder / "printed.txt").read_text()
