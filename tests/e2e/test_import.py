import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("place", ["tools", "elsewhere"])
def test_only_in_our_tools_mmdet_and_mmengine_do_without_transformers(place):
    code = (
        f"import sys; sys.argv[0] = {str(ROOT / place / 'train.py')!r}\n"
        "import minkocc, mmengine.optim, mmdet.models\n"
        "print('transformers' in sys.modules)\n"
        "import transformers\n"
        "assert transformers.__version__\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", code]
    env = {k: v for k, v in os.environ.items() if k != "MINKOCC_SPARE_TRANSFORMERS"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(place == "elsewhere")]
