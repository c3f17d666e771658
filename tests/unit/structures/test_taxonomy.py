import numpy as np
import pytest
from mmengine.config import Config

from minkocc.structures import occ3d_nuscenes
from minkocc.structures import taxonomy as t
from tests.e2e.job import ROOT

FILES = sorted((ROOT / "configs" / "_base_" / "taxonomies").glob("*.py"))
TWO = {"classes": ["road", "person"], "colours": {"road": [1, 2, 3], "person": "#040506"}}
GREY = "#808080"


def of(*names, **more):
    return {"classes": list(names), "colours": dict.fromkeys(names, GREY), **more}


def test_names_palette_and_2d_ids_line_up():
    assert len(t.CLASSES) == 17
    assert t.PALETTE.shape == (18, 3)
    assert t.PALETTE_2D.shape == (t.NUM_IDS_2D, 3)
    assert len({tuple(colour) for colour in t.PALETTE}) == 18
    assert np.array_equal(t.PALETTE_2D[1:18], t.PALETTE[:17])


def test_2d_map():
    assert t.to_2d(np.array([0, 16, 17])).tolist() == [1, 17, 0]


def test_categories_are_the_32_of_lidarseg():
    assert len(t.CATEGORY_TO_ID) == 32
    assert set(t.CATEGORY_TO_ID.values()) == set(range(17))


def test_unknown_class_is_named():
    with pytest.raises(ValueError, match="unknown class 'tree'"):
        t.class_id("tree")


def test_the_file_of_occ3ds_classes_is_what_the_code_has():
    said = Config.fromfile(str(FILES[0].with_name("occ3d_nuscenes.py"))).taxonomy.to_dict()
    assert said == occ3d_nuscenes.taxonomy


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_taxonomies_of_the_repository_can_be_read(path):
    said = Config.fromfile(str(path)).taxonomy.to_dict()
    made = t.Taxonomy.of(said)
    assert {**made.meaning(), "prompts": list(made.prompts), "class_maps": made.class_maps} == said
    assert len({tuple(colour) for colour in made.palette[: len(made.classes)]}) == len(made.classes)
    assert set(made.ground) <= set(made.stuff)
    assert not set(made.stuff) & set(made.things)


def test_unused_ids_stand_for_nothing():
    made = t.Taxonomy.of({**TWO, "moving": ["person"], "rest": "road"})
    assert made.ids("moving") == (1,)
    assert made.ids("things") == ()
    assert made.names_2d == {0: "unlabelled", 1: "road", 2: "person", 18: "sky"}
    assert (made.id_of("person"), made.id_2d("person"), made.id_2d("sky")) == (1, 2, 18)
    assert made.palette.shape == (18, 3)
    assert made.palette[:2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert made.palette[17].tolist() == [255, 255, 255]
    assert made.palette_2d[1:3].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert made.palette_2d[18].tolist() == t.PALETTE_2D[18].tolist()


def test_colours_and_prompts_make_no_other_classes():
    painted = of("road", "person", prompts=[{"road": ["road"]}])
    assert t.Taxonomy.of(TWO) == t.Taxonomy.of(painted)
    assert t.Taxonomy.of(TWO) != t.Taxonomy.of({**TWO, "moving": ["person"]})
    assert t.Taxonomy.of(TWO) != t.Taxonomy.of({**TWO, "classes": ["person", "road"]})
    assert t.Taxonomy.of(None) is t.OCC3D


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (3, r"taxonomy 3: expected dict\(classes="),
        ({}, "taxonomy.classes is None, expected a list"),
        ({"classes": {"road": GREY}}, "expected a list of names, by their ids"),
        (of(), "has 0, expected 1 to 17"),
        (of(*(f"c{i}" for i in range(18))), "has 18, expected 1 to 17"),
        (of("road", "road"), "'road' is there twice"),
        (of("free"), "'free' is no name for a class"),
        (of(" "), "' ' is no name for a class"),
        (of(3), "3 is no name for a class"),
        ({"classes": ["road"]}, "taxonomy.colours is None, expected dict"),
        ({**TWO, "colours": {"road": GREY}}, "taxonomy.colours has none for person"),
        ({**TWO, "colours": {"rod": GREY}}, r"colours: unknown class 'rod' \(did you mean 'road'"),
        (of("road", colours={"road": [0, 0]}), r"colours\.road is \[0, 0\], expected a colour"),
        (of("road", colours={"road": [0, 0, 256]}), "expected a colour"),
        (of("road", colours={"road": [0, 0, True]}), "expected a colour"),
        (of("road", colours={"road": "red"}), "expected a colour, such as '#eb46eb'"),
        (of("road", colours={"road": "#12345"}), "expected a colour"),
        ({**TWO, "movings": []}, "taxonomy.movings is unknown: did you mean 'moving'"),
        ({**TWO, "moving": "person"}, "taxonomy.moving is 'person', expected a list"),
        ({**TWO, "moving": ["persn"]}, r"moving: unknown class 'persn' \(did you mean 'person'"),
        ({**TWO, "stuff": ["person"], "moving": ["person"]}, "'person' is in stuff, .* in moving"),
        ({**TWO, "rest": "others"}, "taxonomy.rest: unknown class 'others'"),
        ({**TWO, "prompts": {"road": ["road"]}}, "taxonomy.prompts is"),
        ({**TWO, "prompts": [{"tree": ["tree"]}]}, "prompts: unknown class 'tree'"),
        ({**TWO, "class_maps": [1]}, "taxonomy.class_maps is"),
        ({**TWO, "class_maps": {"m": {"a": "tree"}}}, r"class_maps\.m: unknown class 'tree'"),
    ],
)
def test_what_makes_no_sense_is_refused(said, words):
    with pytest.raises(ValueError, match=words):
        t.Taxonomy.of(said)
