"""What ``--cfg-options`` makes of what is typed."""

import argparse

import pytest
from mmengine.config import DictAction

from minkocc.config import load_config
from minkocc.config.options import add_cfg_options, parse_value
from tests.e2e.job import CONFIG

SPACES = {
    "data_root=/my data/nu scenes": "/my data/nu scenes",
    "data_root='/my data/x'": "/my data/x",
    "x=a b": "a b",
    "x= a b ": "a b",
    "x=[a b, c d]": ["a b", "c d"],
    "x=a b,c d": ["a b", "c d"],
    "x=['a, b', 'c']": ["a, b", "c"],
    "x=(a b, [c d, 1])": ("a b", ["c d", 1]),
}
DICTS = {
    "x={'type': 'SGD', 'lr': 0.1}": {"type": "SGD", "lr": 0.1},
    'x={"type": "SGD", "nesterov": true, "dampening": null}': {
        "type": "SGD",
        "nesterov": True,
        "dampening": None,
    },
    "x={'a': {'b': [1, (2, 'c d')]}}": {"a": {"b": [1, (2, "c d")]}},
    "x=[{'type': 'EMAHook'}, {'type': 'Other'}]": [{"type": "EMAHook"}, {"type": "Other"}],
    "x={}": {},
    "x={'a=b': 'c=d'}": {"a=b": "c=d"},
}
AS_MMENGINE = [
    *("x=1", "x=0.5", "x=1e-3", "x=-2", "x=True", "x=false", "x=None", "x=word", "x=a=b"),
    *("x=1,2,3", "x=[1,2,3]", "x=(1,2)", "x=[(1,2),(3,4)]", "x=[a,b]", "x=[(1,2,3),[a,b],c]"),
    *("x=[]", "x=()", "x=[8,0]", "x=[1,]", 'x="[1,2]"', "x='0.5'", "x=inf", "x=1,a", "x=[true,1]"),
    *("x=(1,)", "x=1,", "x=[[1],[2]]", "x=s3://bucket/a-b_c.d", "x=torchvision://resnet50"),
]


def parsed(pair):
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = parser.parse_args(["--cfg-options", pair])
    assert options.cfg_pairs == [pair]
    (value,) = options.cfg_options.values()
    return value


@pytest.mark.parametrize("pair", SPACES)
def test_spaces_are_kept(pair):
    assert parsed(pair) == SPACES[pair]


@pytest.mark.parametrize("pair", DICTS)
def test_dicts_are_read(pair):
    assert parsed(pair) == DICTS[pair]


@pytest.mark.parametrize("pair", AS_MMENGINE)
def test_all_else_is_as_mmengine_reads_it(pair):
    expected = DictAction._parse_iterable(pair.partition("=")[2])
    assert parsed(pair) == expected
    assert type(parsed(pair)) is type(expected)


@pytest.mark.parametrize("text", ["[8,0", "8,0]", "(1", "{'a': 1", "{a: 1}", "{'a'}x", "[1,(2]"])
def test_what_cannot_be_read_is_said(text, capsys):
    with pytest.raises(ValueError, match=r"brackets that do not close|is no dict, expected one"):
        parse_value(text)
    with pytest.raises(SystemExit):
        parsed(f"x={text}")
    assert f"--cfg-options x={text}: " in capsys.readouterr().err


def test_a_dict_changes_a_recipe():
    changes = parsed("optim_wrapper.optimizer={'type': 'SGD', 'momentum': 0.9, '_delete_': True}")
    changes["lr"] = "${lr}"
    cfg = load_config(CONFIG, {"optim_wrapper.optimizer": changes})
    assert cfg.optim_wrapper.optimizer.type == "SGD"
    assert cfg.optim_wrapper.optimizer.momentum == 0.9
