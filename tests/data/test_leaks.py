"""The check of a split sees each leak; that real splits have none is tested beside them."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from behavesim.data.leaks import LeakError, check_leaks
from behavesim.data.split import Split

KINDS = ("random", "unseen_time", "unseen_company")
# Three rows a part, right under every kind of split.
TRAIN, VALIDATION, TEST = [0, 1, 2], [3, 4, 5], [6, 7, 8]


def columns_of(**replaced):
    """Nine rows apart in everything; keywords are {position: value} of a column."""
    columns = {
        "text_key": list(range(100, 109)),
        "identity": list(range(200, 209)),
        "date": [datetime(2020, 1, 1) + timedelta(days=day) for day in range(9)],
        "company": ["ann", "ann", "bob", "cam", "cam", "cam", "dan", "eve", "eve"],
    }
    for name, values in replaced.items():
        for position, value in values.items():
            columns[name][position] = value
    return pl.DataFrame(columns)


def split_of(train=TRAIN, validation=VALIDATION, test=TEST):
    parts = {"train": train, "validation": validation, "test": test}
    rows = {name: np.array(positions, dtype=np.int64) for name, positions in parts.items()}
    return Split(rows, dropped=0, validation_from=None, test_from=None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_right_split_passes(kind):
    check_leaks(columns_of(), split_of(), kind)
    check_leaks(columns_of(), split_of(train=[0, 2]), kind)  # a dropped row
    check_leaks(columns_of(text_key={1: 100}, identity={1: 200}, company={1: "ann"}), split_of(), kind)  # in one part


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ({"train": [0, 1, 3]}, "stands in the split twice: 1 rows, the first at position 3"),
        ({"test": [4, 5, 6]}, "stands in the split twice: 2 rows, the first at position 4"),
        ({"train": [0, 2, 2, 2]}, "stands in the split twice: 1 rows, the first at position 2"),
    ],
)
def test_a_row_stands_once(kind, parts, found):
    with pytest.raises(LeakError, match=found):
        check_leaks(columns_of(), split_of(**parts), kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("column", "leak"),
    [("text_key", "near-identical texts train and are held out"), ("identity", "the same tweet trains and is held")],
)
@pytest.mark.parametrize(("held_out", "part"), [(4, "validation"), (8, "test")])
def test_what_trains_is_not_held_out(kind, column, leak, held_out, part):
    columns = columns_of(**{column: {1: 7, held_out: 7}})
    with pytest.raises(
        LeakError, match=rf"{leak}.*: 2 rows, the first at positions 1 \(train\) and {held_out} \({part}\)"
    ):
        check_leaks(columns, split_of(), kind)
    check_leaks(columns, split_of(train=[0, 2]), kind)


def test_a_text_has_one_part_of_random():
    columns = columns_of(text_key={3: 7, 5: 7, 8: 7})
    with pytest.raises(LeakError, match=r"two parts: 3 rows, the first at positions 3 \(validation\) and 8 \(test\)"):
        check_leaks(columns, split_of(), "random")
    check_leaks(columns, split_of(), "unseen_time")
    check_leaks(columns, split_of(), "unseen_company")


@pytest.mark.parametrize(
    ("row", "day", "found"),
    [
        (1, 4, r"train reaches into the time of validation: 1 rows, .* 1 \(train\) and 3 \(validation\)"),
        (1, 3, r"train reaches into the time of validation: 1 rows"),  # the same instant
        (3, 1, r"train reaches into the time of validation: 2 rows, .* 1 \(train\) and 3 \(validation\)"),
        (4, 6, r"validation reaches into the time of test: 1 rows, .* 4 \(validation\) and 6 \(test\)"),
        (8, 0, r"train reaches into the time of test: 3 rows, .* 0 \(train\) and 8 \(test\)"),
    ],
)
def test_unseen_time_goes_forward(row, day, found):
    columns = columns_of(date={row: datetime(2020, 1, 1) + timedelta(days=day)})
    with pytest.raises(LeakError, match=found):
        check_leaks(columns, split_of(), "unseen_time")
    check_leaks(columns, split_of(), "random")


@pytest.mark.parametrize(("row", "company"), [(3, "ann"), (7, "ann"), (8, "cam")])
def test_a_company_has_one_part_of_unseen_company(row, company):
    columns = columns_of(company={row: company})
    with pytest.raises(LeakError, match=r"one company is in two parts: \d rows, the first at positions "):
        check_leaks(columns, split_of(), "unseen_company")
    check_leaks(columns, split_of(), "random")
