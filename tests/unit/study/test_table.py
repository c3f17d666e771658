from minkocc.study.table import by_arm, commits_of, study_table
from tests.unit.study.results import result


def rows_of(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_a_row_has_mean_and_spread_over_the_seeds():
    results = [
        result("a", 1, 14.0, curve=[(10, 9.0), (20, 15.0), (30, 13.0)]),
        result("a", 0, 10.0, curve=[(10, 9.0), (20, 11.0), (30, 10.0)]),
        result("b", 0, 3.0),
    ]
    head, _, first, second = rows_of(study_table(by_arm(results), ["far"]))
    row = dict(zip(head, first))
    assert row["arm"] == "A"
    assert row["seeds"] == "2"
    assert row["iterations"] == "30"
    assert row["mIoU"] == "12.0 ± 2.8"  # of 10 and 14: sample standard deviation 2.83
    assert row["geometric IoU"] == "24.0 ± 5.7"
    assert row["RayIoU"] == "6.0 ± 1.4"
    assert row["mIoU on the way"] == "13.0 ± 2.8"  # the best of each: 15 and 11
    assert row["mIoU, far"] == "11.0 ± 2.8"
    assert row["hours, all seeds"] == "3.00"
    other = dict(zip(head, second))
    assert (other["mIoU"], other["mIoU on the way"], other["iterations"]) == ("3.0", "-", "-")


def test_results_of_two_states_of_the_code_are_told():
    results = [result("a", 0, 1.0), result("b", 0, 1.0, code="code_2")]
    assert commits_of(results) == ["c0ffee (code_1)", "c0ffee (code_2)"]


def test_arms_are_compared_seed_by_seed():
    """A single seed is compared to that seed, not to the mean of all."""
    results = [result("a", 0, 10.0), result("a", 1, 20.0), result("b", 1, 21.0)]
    head, _, own, other = rows_of(study_table(by_arm(results), [], reference="a"))
    assert dict(zip(head, own))["mIoU less that of A"] == "0.0 ± 0.0"
    assert dict(zip(head, other))["mIoU less that of A"] == "1.0"


def test_a_split_that_a_result_from_elsewhere_lacks_is_left_out():
    results = [result("a", 0, 10.0), {**result("a", 1, 20.0), "splits": {}}]
    head, _, row = rows_of(study_table(by_arm(results), ["far"]))
    assert dict(zip(head, row))["mIoU, far"] == "9.0"
