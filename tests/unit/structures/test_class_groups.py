import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minkocc.structures.class_groups import OCC3D_CLASSES, ClassGroups, same_classes
from minkocc.structures.taxonomy import CLASSES, FREE

GROUPS = {"rider": ["motorcycle", "bicycle"], "vehicle": ["truck", "car", "bus"]}


def test_classes_that_are_in_no_group_stay_by_themselves():
    groups = ClassGroups.of(GROUPS)
    assert len(groups) == 14
    assert groups.names == (
        "others", "barrier", "rider", "vehicle", "construction_vehicle", "pedestrian",
        "traffic_cone", "trailer", "driveable_surface", "other_flat", "sidewalk", "terrain",
        "manmade", "vegetation",
    )  # fmt: skip
    assert groups.ids == (0, 1, 2, 3, 5, 7, 8, 9, 11, 12, 13, 14, 15, 16)
    assert groups.recipe() == {
        "rider": ["bicycle", "motorcycle"],
        "vehicle": ["bus", "car", "truck"],
    }


def test_a_group_goes_by_its_first_class():
    groups = ClassGroups.of(GROUPS)
    ids = np.array([2, 6, 3, 4, 10, 11, FREE, 253, 254, 255], np.uint8)
    assert groups.grouped(ids).tolist() == [2, 2, 3, 3, 3, 11, FREE, 253, 254, 255]
    assert groups.grouped(ids).dtype == np.uint8


def test_the_order_of_the_recipe_says_nothing():
    turned = {name: members[::-1] for name, members in reversed(GROUPS.items())}
    assert ClassGroups.of(turned) == ClassGroups.of(GROUPS)


def test_without_groups_nothing_changes():
    ids = np.arange(256, dtype=np.uint8)
    assert OCC3D_CLASSES.plain
    assert OCC3D_CLASSES.grouped(ids) is ids
    assert OCC3D_CLASSES.names == CLASSES
    assert OCC3D_CLASSES.ids == tuple(range(17))
    assert OCC3D_CLASSES.recipe() == {}
    assert OCC3D_CLASSES.table.tolist() == list(range(18))


def test_another_name_alone_is_a_change():
    renamed = ClassGroups.of({"vegetation and terrain": ["vegetation", "terrain"]})
    assert not renamed.plain
    assert not ClassGroups.of({"tree": ["vegetation"]}).plain


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"vehicle": ["car", "lorry"]}, "unknown class 'lorry'"),
        ({"a": ["car"], "b": ["bus", "car"]}, "'car' is in 'a' and in 'b'"),
        ({"a": ["car", "car"]}, "'car' is in 'a' and in 'a'"),
        ({"vehicle": []}, r"'vehicle' is \[\], expected a list"),
        ({"vehicle": "car"}, "'vehicle' is 'car', expected a list"),
        ({"car": ["bus", "truck"]}, "'car' is the name of a class that the group does not hold"),
        ({"a": 3}, "'a' is 3, expected a list"),
        ({1: ["car"]}, "1 is no name for a group"),
        ({"free": ["car"]}, "'free' is no name for a group: expected a word, none of free, mean"),
        ({"": ["car"]}, "'' is no name"),
        (["car"], r"class_groups \['car'\]: expected classes by the name"),
    ],
)
def test_groups_that_make_no_sense_are_refused(groups, words):
    with pytest.raises(ValueError, match=words):
        ClassGroups.of(groups)


@given(st.lists(st.integers(0, 5), min_size=17, max_size=17))
def test_the_table_says_it_all_but_the_names(colours):
    groups = ClassGroups.of(
        {
            f"group {colour}": [c for c, own in zip(CLASSES, colours) if own == colour]
            for colour in set(colours)
        }
    )
    assert ClassGroups.of_table(groups.table, np.array(groups.names)) == groups
    assert len(groups) == len(set(colours))
    assert ClassGroups.of(groups.recipe()) == groups
    for number, colour in enumerate(colours):
        assert groups.table[number] == colours.index(colour)


@pytest.mark.parametrize(
    "table",
    [
        np.arange(17, dtype=np.uint8),
        np.arange(18),
        np.array([1, 1, *range(2, 18)], np.uint8),
        np.array([0, 0, 1, *range(3, 18)], np.uint8),
        np.array([*range(17), 0], np.uint8),
        np.full(18, 200, np.uint8),
    ],
)
def test_what_is_no_table_is_refused(table):
    with pytest.raises(ValueError, match="expected"):
        ClassGroups.of_table(table, np.array(CLASSES))


def test_a_group_is_within_where_all_of_its_classes_are():
    groups = ClassGroups.of({"two wheels": ["bicycle", "motorcycle"], "site": ["barrier", "bus"]})
    assert groups.within((1, 2, 6, 4)) == (2, 4)
    assert groups.within(()) == ()
    assert OCC3D_CLASSES.within((3, 1)) == (1, 3)


def test_names_and_order_make_no_other_classes():
    first = {"rider": ["bicycle", "motorcycle"]}
    assert same_classes(first, {"two wheels": ["motorcycle", "bicycle"]})
    assert same_classes({}, {"tree": ["vegetation"]})
    assert not same_classes(first, {})
    assert not same_classes({"a": ["lorry"]}, {"a": ["lorry"]})
    assert not same_classes(None, {})


def test_a_table_needs_a_name_for_each_group():
    with pytest.raises(ValueError, match="17 groups named a, b: expected a name each"):
        ClassGroups.of_table(OCC3D_CLASSES.table, np.array(["a", "b"]))
