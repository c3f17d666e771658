"""Nothing but a config is run: no reader of data can run what a file holds."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("minkocc/**/*.py"), *ROOT.glob("tools/**/*.py")])

ALLOWED = {
    ("minkocc/apis/prepare_weak_occupancy.py", "pickle.loads"),  # its own process's bytes
    ("minkocc/ops/sparse/__init__.py", "import_module"),
}
RUNS_CODE = {
    "eval", "exec", "compile", "import_module", "runpy.run_path", "yaml.load", "pickle.load",
    "pickle.loads", "pickle.Unpickler", "joblib.load", "shelve.open", "marshal.loads",
    "torch.jit.load", "CheckpointLoader.load_checkpoint", "load_checkpoint",
}  # fmt: skip
NEEDS = {"torch.load": ("weights_only", True)}
"""What it runs code without; ``np.load`` does not unless it is told to."""


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield (
                ast.unparse(node.func),
                {word.arg: getattr(word.value, "value", None) for word in node.keywords},
            )


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=lambda p: p.name)
def test_no_reader_of_data_can_run_code(folder):
    found = []
    for path in folder.glob("*.py"):
        name = str(path.relative_to(ROOT))
        for called, words in calls(path):
            wanted = NEEDS.get(called)
            unsafe = words.get(wanted[0]) is not wanted[1] if wanted else called in RUNS_CODE
            if words.get("allow_pickle") or words.get("trust_remote_code"):
                unsafe = True
            if unsafe and (name, called) not in ALLOWED:
                found.append((name, called))
    assert found == []


def test_the_pages_say_so():
    for page in ("README.md", "docs/input_checks.md"):
        text = " ".join((ROOT / page).read_text().split())
        assert "is Python, and reading it runs it" in text or "are Python and run code" in text
