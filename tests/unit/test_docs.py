"""Commands and files that the pages show are ones that the tools take."""

import importlib.util
import json
import re
import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest

from minkocc.config import load_config, recipe_of
from minkocc.config.knob_page import knob_table
from minkocc.files.infos import read_infos, write_infos
from minkocc.pseudo_labels.prompts import check_label, parse_prompts
from minkocc.structures.taxonomy import CAMERAS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pseudo_labels.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)


def test_the_files_are_ones_that_the_tool_reads():
    class_map, prompts = (json.loads(text) for kind, text in BLOCKS if kind == "json")
    for name in filter(None, class_map.values()):
        check_label(name, "the page")
    assert len(parse_prompts(prompts, "the page")) == 2


PAGES = sorted([ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").glob("*.md")])


_STARTERS = re.compile(r"tools/(?:dist_train\.sh|slurm_train\.sh \S+ \S+) (\S+) \d+([^#`|]*)")


def tool_lines(page):
    """The lines of a page's blocks that call a tool, as they are after the tool's name."""
    text = page.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        found = re.search(r"(?:python|torchrun)\b.*tools/([\w/]+\.py)([^#`|]*)", line)
        if found:
            yield found[1], found[2].strip().removesuffix("-->").strip('" ')
        elif found := _STARTERS.search(line):
            yield "train.py", f"{found[1]}{found[2]}"


def understood(name, words, monkeypatch):
    """What a tool makes of a command line, without what it does then."""
    spec = importlib.util.spec_from_file_location("shown_tool", ROOT / "tools" / name)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)

    found = []

    def stopping(parse):
        def stopped(parser, *args, **kwargs):
            found.append(parse(parser, *args, **kwargs))
            raise SystemExit

        return stopped

    with monkeypatch.context() as patch:
        for parse in ("parse_args", "parse_intermixed_args"):
            patch.setattr(ArgumentParser, parse, stopping(getattr(ArgumentParser, parse)))
        patch.setattr(sys, "argv", [name, *words])
        with pytest.raises(SystemExit):
            tool.main()
    assert found, (name, words)
    return found[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_tools_take_every_command_that_a_page_shows(page, monkeypatch):
    for name, rest in tool_lines(page):
        options = understood(name, shlex.split(rest), monkeypatch)
        for config in np.atleast_1d(getattr(options, "config", None)):
            if config and (ROOT / config).is_file():
                load_config(ROOT / config, getattr(options, "cfg_options", None))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_recipe_that_a_page_shows_is_one(page, tmp_path):
    if page.stem == "components":
        return  # those are trained: test_components_page.py
    for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        if "_base_" in text:
            recipe = tmp_path / "shown.py"
            recipe.write_text(text.replace('_base_ = ["', f'_base_ = ["{ROOT}/configs/'))
            load_config(recipe)


def test_the_frame_that_the_page_of_data_shows_can_be_written_and_read(tmp_path):
    text = (ROOT / "docs" / "data.md").read_text()
    (block,) = re.findall(r"```python\n(frame = .*?)```", text, re.DOTALL)
    block = block.replace("[frame, ...]", "[frame]").replace("my/data", str(tmp_path))
    there = {name: np.eye(4) for name in ("ego2global", "lidar2ego", "sweep2ego", "ego2cam")}
    cam2img = np.array([[1200.0, 0, 800], [0, 1200, 450], [0, 0, 1]])
    given = {**there, "cam2img": cam2img, "ray_origins": np.zeros((1, 3))}
    block = block.replace("write_infos(", "finish(frame)\nwrite_infos(")

    def finish(frame):
        front = frame["images"]["CAM_FRONT"]
        for camera in CAMERAS:
            frame["images"][camera] = {**front, "img_path": f"{camera}/f0001.jpg"}
        frame["next"] = ""  # it stands alone here

    space = {**given, "Path": Path, "write_infos": write_infos, "finish": finish}
    exec(compile(block, "docs/data.md", "exec"), space)
    (frame,) = read_infos(tmp_path / "minkocc_infos_train.pkl")["data_list"]
    assert frame["token"] == "f0001"
    assert np.array_equal(frame["images"]["CAM_BACK"]["cam2img"], cam2img)


def test_every_target_of_make_that_a_page_names_is_there():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        shown = set(re.findall(r"(?:`|^)make ([a-z]+)\b", page.read_text(), re.MULTILINE))
        assert shown <= targets, page.name


def anchor(heading):
    """As the forges make it of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("http"):
            continue
        name, _, part = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if part:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert part in map(anchor, headings), target


def test_every_page_is_linked_from_the_readme():
    linked = set(re.findall(r"\(docs/(\w+\.md)\)", (ROOT / "README.md").read_text()))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")}


def test_every_file_that_a_page_names_is_there():
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        named = re.findall(
            r"`((?:minkocc|configs|tools|results|tests|docs)/[\w/.-]+\.\w+)`", page.read_text()
        )
        for name in named:
            assert (ROOT / name).exists(), (page.name, name)


def test_the_page_of_recipes_shows_the_knobs_as_they_are():
    page = (ROOT / "docs" / "recipes.md").read_text()
    shown = page.partition("--knobs -->\n")[2].partition("<!-- /knobs -->")[0]
    assert shown == knob_table(recipe_of(ROOT / "configs" / "minkocc_semi_a10.py"))


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_pages_show_tools():
    assert sum(len(list(tool_lines(page))) for page in PAGES) > 30
