import pytest

from tests.e2e.job import train


@pytest.fixture(scope="session")
def run(synthetic_root, tmp_path_factory):
    """A finished training run: (work dir, what it printed)."""
    work_dir = tmp_path_factory.mktemp("run")
    done = train(synthetic_root, work_dir)
    assert done.returncode == 0, done.stderr[-3000:]
    return work_dir, done.stdout + done.stderr
