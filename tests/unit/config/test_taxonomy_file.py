"""Recipes whose taxonomy is a file's, and what such a file may hold."""

import pytest

from minkocc.config import ConfigError, load_config
from minkocc.config.classes import read_taxonomy, recipe_classes
from tests.other_taxonomy import DRIVING8, DRIVING8_FILE
from tests.unit.config.test_load import MINI, write


def test_a_taxonomy_is_taken_from_its_file(tmp_path):
    cfg = load_config(write(tmp_path, f"taxonomy = {str(DRIVING8_FILE)!r}", base=MINI))
    assert cfg.taxonomy == DRIVING8
    assert cfg.model.semantic_head.taxonomy == DRIVING8
    assert recipe_classes(cfg).names == tuple(DRIVING8["classes"])
    assert load_config(MINI, {"taxonomy": str(DRIVING8_FILE)}).taxonomy == DRIVING8
    # A recipe's own folder comes first, and a recipe may be the file.
    (tmp_path / "own.py").write_text(
        "taxonomy = dict(classes=['road'], colours=dict(road='#010203'))"
    )
    child = write(tmp_path, "taxonomy = 'own.py'", base=MINI)
    assert load_config(child).taxonomy["classes"] == ["road"]
    assert read_taxonomy(child).classes == ("road",)
    assert read_taxonomy(MINI).classes == recipe_classes(load_config(MINI)).names


def test_ids_outlive_the_saving_of_a_config(tmp_path):
    """mmengine sorts the keys of what it saves."""
    saved = tmp_path / "saved.py"
    load_config(MINI, {"taxonomy": str(DRIVING8_FILE)}).dump(str(saved))
    again = load_config(saved)
    assert recipe_classes(again).taxonomy == read_taxonomy(DRIVING8_FILE)
    assert again.model.semantic_head.taxonomy == DRIVING8
    assert list(recipe_classes(again).names) == DRIVING8["classes"]


def test_occ3ds_own_is_said_shortly():
    assert load_config(MINI).taxonomy is None
    assert load_config(MINI).model.semantic_head.taxonomy is None
    assert "class_maps" not in load_config(MINI, {"taxonomy": str(DRIVING8_FILE)}).taxonomy


def test_a_colour_alone_is_changed_by_a_dict(tmp_path):
    cfg = load_config(write(tmp_path, "taxonomy = dict(colours=dict(car=[9, 9, 9]))", base=MINI))
    assert recipe_classes(cfg).plain
    assert recipe_classes(cfg).taxonomy.palette[4].tolist() == [9, 9, 9]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"none\.py is not a file: see configs/_base_/taxonomies"),
        ("tax = 3", "sets no taxonomy"),
        ("1 / 0", "cannot be read: ZeroDivisionError"),
        ("taxonomy = 'none.py'", "name one another"),
        (
            "taxonomy = dict(classes=['road'], colours=dict(road=3))",
            r"road is 3, expected a colour",
        ),
        ("taxonomy = 3", "taxonomy 3(: expected| is not a dict)"),
    ],
)
def test_a_file_that_says_no_taxonomy_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "none.py").write_text(content)
    child = write(tmp_path, "taxonomy = 'none.py'", base=MINI)
    with pytest.raises(ConfigError, match=words):
        load_config(child)
    with pytest.raises(ConfigError, match=words):
        read_taxonomy(tmp_path / "none.py")
