import pytest

from minkocc.config import ConfigError
from minkocc.study.definition import StudyError, read_study
from tests.forked import ROOT

LABEL = ", label='same'"
SEMI = "configs/minkocc_semi_a10_mini.py"


def write(folder, text):
    path = folder / "compare.py"
    path.write_text(text)
    return path


def block(arms, seeds="[0, 1]"):
    return f"data_root = 'data/here'\nblocks = [dict(seeds={seeds}, arms=[{arms}])]\n"


def arm(name="a", more=""):
    return f"dict(name={name!r}, config={SEMI!r}{more})"


def test_the_studies_of_the_repository_can_be_read():
    for path in sorted((ROOT / "studies").glob("*.py")):
        assert len(list(read_study(path, ROOT).runs())) > 5


def test_runs_go_seed_by_seed_and_block_by_block(tmp_path):
    arms = [arm(name, f", options=dict(lr={place}.0)") for place, name in enumerate("abc", 1)]
    text = block(f"{arms[0]}, {arms[1]}") + f"blocks += [dict(seeds=[5], arms=[{arms[2]}])]\n"
    study = read_study(write(tmp_path, text), ROOT)
    assert [run.name for run in study.runs()] == ["a_s0", "b_s0", "a_s1", "b_s1", "c_s5"]
    assert study.name == "compare"


def test_an_arm_has_the_options_of_all_and_its_own(tmp_path):
    text = "options = dict(lr=0.5, sweeps=2)\n" + block(arm(more=", options=dict(sweeps=1)"))
    study = read_study(write(tmp_path, text), ROOT)
    (first, *_) = study.runs()
    assert study.data_root.endswith("/data/here")
    assert first.options == {"lr": 0.5, "sweeps": 1, "seed": 0}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("blocks = []\n", "has no 'data_root'"),
        ("data_root = 'd'\n", "has no 'blocks'"),
        (block(arm()) + "sedes = 3\n", "unknown key 'sedes'"),
        (block(""), "no arms or no seeds"),
        (block(arm(), "[]"), "no arms or no seeds"),
        (block(arm("a/../b")), "'a/../b'.*small letters"),
        (block(f"{arm()}, {arm()}"), "two arms 'a'"),
        (block(f"{arm('a', LABEL)}, {arm('b', LABEL)}"), "two labels 'same'"),
        (block(f"{arm('a')}, {arm('b')}"), "arm 'b' is the same recipe as 'a'"),
        (
            block(arm(more=", options=dict(class_groups=dict(wheel=['bicycle', 'motorcycle']))")),
            "arm 'a' has class_groups or a taxonomy, whose figures",
        ),
        (block(arm(), "5"), "seeds 5, expected a list of different whole numbers"),
        (block(arm(), "[0, 0]"), r"seeds \[0, 0\], expected"),
        (block(arm()) + "splits = dict(val='x')\n", "a split 'val'"),
        (block(arm()) + "splits = {'a/b': 'x'}\n", "split 'a/b'"),
        (block(arm()) + "series = dict(x='alpha')\n", "series 'x' of .* expected"),
        (block(arm()) + "series = {'a/b': ('alpha', ['a'])}\n", "series 'a/b'"),
        (
            block(arm()) + "series = dict(x=('train_mask', ['a']))\n",
            "train_mask of arm 'a' is 'cam",
        ),
        (block(arm()) + "reference = 'b'\n", "names an arm 'b'"),
        (block(arm()) + "bars = 'a'\n", "has bars 'a', expected a list"),
        ("data_root = 3\nblocks = []\n", "has data_root 3, expected a folder's name"),
        (block(arm(more=", options=dict(data_root='x')")), "sets data_root"),
        (block(arm(more=", options=dict(cache_root='/x,y')")), r"would read as \['/x', 'y'\]"),
        (block(arm(more=", options=dict(seed=3)")), "sets seed"),
        (block(arm(more=", optoins={}")), "unknown key 'optoins'"),
        (block(arm()) + "bars = ['b']\n", "names an arm 'b'"),
        ("data_root = = 1\n", "cannot be read: "),
    ],
)
def test_mistakes_are_named(tmp_path, text, words):
    with pytest.raises(StudyError, match=words):
        read_study(write(tmp_path, text), ROOT)


def test_a_recipe_that_is_refused_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ConfigError, match="unknown top-level key 'alhpa'"):
        read_study(write(tmp_path, block(arm(more=", options=dict(alhpa=0.2)"))), ROOT)
    with pytest.raises(StudyError, match="is not a file"):
        read_study(tmp_path / "none.py", ROOT)
