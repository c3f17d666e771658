"""Commands and files that the pages show are ones that the tools take."""

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from minkocc.config import recipe_of
from minkocc.config.knob_page import knob_table
from minkocc.pseudo_labels.prompts import check_label, parse_prompts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "pseudo_labels.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [
    line
    for _, block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if "generate_pseudo_labels.py" in line
]


@pytest.mark.parametrize("number", range(len(COMMANDS)))
def test_the_tool_takes_the_command(number, monkeypatch):
    path = ROOT / "tools" / "generate_pseudo_labels.py"
    spec = importlib.util.spec_from_file_location("generate_pseudo_labels", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    words = shlex.split(COMMANDS[number])
    start = words.index("tools/generate_pseudo_labels.py")
    monkeypatch.setattr(sys, "argv", words[start:])
    options = tool._parse()
    assert options.version == "v1.0-trainval"
    assert options.semantic or options.segmenter


def test_the_files_are_ones_that_the_tool_reads():
    class_map, prompts = (json.loads(text) for kind, text in BLOCKS if kind == "json")
    for name in filter(None, class_map.values()):
        check_label(name, "the page")
    assert len(parse_prompts(prompts, "the page")) == 2


def test_there_are_commands():
    assert len(COMMANDS) == 4


PAGES = sorted([ROOT / "README.md", ROOT / "data" / "README.md", *(ROOT / "docs").glob("*.md")])
SHARED = [ROOT / "minkocc" / name for name in ("config/options.py", "runtime/tool.py")]


def tool_lines(page):
    """The lines of a page's blocks that call a tool, as they are after the tool's name."""
    text = page.read_text().replace("\\\n", " ")
    for line in text.splitlines():
        found = re.search(r"tools/([\w/]+\.py)(.*)", line)
        if found and re.search(r"(python|torchrun)\b.*tools/", line):
            yield found[1], found[2].partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_tool_and_option_that_a_page_shows_is_there(page):
    for name, rest in tool_lines(page):
        tool = ROOT / "tools" / name
        assert tool.is_file(), name
        source = "".join(path.read_text() for path in (tool, *SHARED))
        # As a whole, as what is put behind the dashes, or in parts: --reference-{name}.
        words = {word.replace("_", "-").strip("-") for word in re.findall(r'"([\w-]+)"', source)}
        starts = re.findall(r'f"--(\w+-)\{', source)
        words |= {start + word for start in starts for word in words}
        shown = set(re.findall(r"(?<![\w-])--([a-z][\w-]*)", rest))
        assert shown <= words, (name, shown - words)


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
