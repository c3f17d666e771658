"""minkocc: label-efficient camera + LiDAR 3D semantic occupancy prediction."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType

__version__ = "0.2.0"

# OpenMP reads this when torch is imported: how often a thread looks for work before it sleeps. For
# ever, and it takes the core from the data loader's process; never, and a network of thousands of
# small steps waits for sleepers (11,000 of them an iteration, which then took 1.02 instead of
# 0.79 s on two cores).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")


class _SpareTransformers(MetaPathFinder):
    """Hides ``transformers`` from mmengine and mmdet, which do without where it is not installed.

    They import it for an optimiser and for language models that no recipe of ours uses, and every
    tool would start 2.5 seconds later.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse the one name to the two; all else is for others to find."""
        if name == "transformers" and _importer().split(".")[0] in ("mmengine", "mmdet"):
            raise ModuleNotFoundError(f"{name} is not for mmengine and mmdet", name=name)
        return None


def _importer() -> str:
    """The module whose import statement is being carried out."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        frame = frame.f_back
        name = str(frame.f_globals.get("__name__", ""))
        if not name.startswith("importlib") and name != __name__:
            return name
    return ""


def _end_while_starting(number: int, frame: FrameType | None) -> None:
    """Ctrl-C while a tool imports, some seconds in which nothing is written: no traceback."""
    os.write(2, b"\ninterrupted\n")
    os._exit(130)


# In our own tools, and where it is asked for, as our tests do: who imports this package otherwise
# may use mmdet's language models.
_in_tools = Path(__file__).resolve().parents[1] / "tools" in Path(sys.argv[0]).resolve().parents
if _in_tools or os.environ.get("MINKOCC_SPARE_TRANSFORMERS"):
    sys.meta_path.insert(0, _SpareTransformers())
if _in_tools and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end_while_starting)  # until ``run_tool`` takes over
