import subprocess
import sys

import pytest


@pytest.mark.parametrize("others", ["mmdet.models, mmengine.optim", "mmengine.runner"])
def test_mmdet_and_mmengine_leave_transformers_alone_and_others_get_it(others):
    code = (
        f"import minkocc, {others}, sys\n"
        "assert 'transformers' not in sys.modules\n"
        "import transformers\n"
        "assert transformers.__version__\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
