"""Files of a linked world that a test may spoil."""

import shutil


def replace(path):
    """A private copy of a linked file."""
    target = path.resolve()
    path.unlink()
    shutil.copy(target, path)
    return path
