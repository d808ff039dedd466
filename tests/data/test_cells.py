"""Casts of whole columns: good cells keep their value, faulty ones are pointed out."""

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.cells import parse_dates, parse_ids, parse_likes, parse_paths

WHEN = datetime(2018, 7, 17, 22, 4, 26)


@pytest.mark.parametrize(
    ("column", "values", "faulty"),
    [
        (["12", "12.0", " +3 ", "", None], [12, 12, 3, None, None], []),
        (["12", "x", "-1", "1.5", "9" * 30, "1,000", "nan"], [12] + [None] * 6, [1, 2, 3, 4, 5, 6]),
        ([12.0, -0.0, float("nan"), None], [12, 0, None, None], []),
        ([12.0, 0.5, -0.5, float("inf"), 1e30, -4.0], [12] + [None] * 5, [1, 2, 3, 4, 5]),
        ([12, 0, -1, None], [12, 0, None, None], [2]),
        ([True, False], [None, None], [0, 1]),
        ([None], [None], []),
        ([WHEN], [None], [0]),
        ([2**63 - 1], [2**63 - 1], []),
    ],
)
def test_likes(column, values, faulty):
    found, bad = parse_likes(pl.Series(column))
    assert found.to_list() == values and bad.arg_true().to_list() == faulty
    assert found.dtype == pl.Int64


@pytest.mark.parametrize("dtype", [pl.UInt64, pl.Int8, pl.Float32, pl.Decimal(10, 2), pl.Categorical, pl.String])
def test_likes_of_any_type(dtype):
    column = pl.Series(["12", None], dtype=pl.String).cast(dtype)
    found, bad = parse_likes(column)
    assert found.to_list() == [12, None] and not bad.any()


@given(st.lists(st.integers(0, 2**53)))
def test_likes_survive_floats_and_text(likes):
    for dtype in (pl.Int64, pl.Float64, pl.Decimal(20, 1)):
        assert parse_likes(pl.Series(likes, dtype=pl.Int64).cast(dtype))[0].to_list() == likes
    assert parse_likes(pl.Series([f"{value}.0" for value in likes], dtype=pl.String))[0].to_list() == likes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018-07-17 22:04:26", WHEN),
        (" 2018-07-17T22:04:26 ", WHEN),
        ("2018-07-17T22:04:26Z", WHEN),
        ("2018-07-17 22:04:26 +00:00", WHEN),
        ("2018-07-17T22:04", datetime(2018, 7, 17, 22, 4)),
        ("2018-07-18T00:34:26+02:30", WHEN),
        ("2018-07-17T17:04:26.5-0500", WHEN.replace(microsecond=500_000)),
        ("2018-07-17T17:04:26.123456789-05", WHEN.replace(microsecond=123_456)),
        ("2018-07-17", datetime(2018, 7, 17)),
        ("2020-02-29", datetime(2020, 2, 29)),
        ("9999-12-30T23:59", datetime(9999, 12, 30, 23, 59)),
    ],
)
def test_dates_in_text(text, expected):
    found, bad = parse_dates(pl.Series(["2018-02-30", text]))
    assert found.to_list() == [None, expected] and bad.to_list() == [True, False]
    assert found.dtype == pl.Datetime("us")


@pytest.mark.parametrize(
    "text",
    [
        *("?", "", " ", None, "2018-02-30", "2018-7-17", "17/07/2018", "0000-01-01", "0001-01-01T00:00+01:00", "2018"),
        *("2018-07-17 24:00", "2018-07-17 1:02", "2018-07-17 22:04:60", "2018-07-17T", "2018-07-17Z", "43000.5"),
        *("2018-07-17 22:04 +24:00", "2018-07-17 22:04 UTC", "x 2018-07-17"),
    ],
)
def test_bad_dates(text):
    found, bad = parse_dates(pl.Series(["2018-07-17", text]))
    assert found.to_list() == [datetime(2018, 7, 17), None] and bad.to_list() == [False, True]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_native_times(unit, zone):
    column = pl.Series([WHEN.replace(tzinfo=UTC), None]).dt.cast_time_unit(unit)
    column = column.dt.convert_time_zone(zone) if zone else column.dt.replace_time_zone(None)
    found, bad = parse_dates(column)
    assert found.to_list() == [WHEN, None] and bad.to_list() == [False, True]
    assert found.dtype == pl.Datetime("us")


@pytest.mark.parametrize(
    ("column", "good"), [([date(2018, 7, 17)], True), ([43000], False), ([1.5], False), ([None], False)]
)
def test_other_native_types(column, good):
    assert parse_dates(pl.Series(column))[1].to_list() == [not good]


times = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28))
offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(deadline=None)
@given(st.lists(st.tuples(times, offsets), min_size=1))
def test_iso_times_of_python_are_read(stamps):
    zoned = [time.replace(tzinfo=zone) for time, zone in stamps]
    found, bad = parse_dates(pl.Series([time.isoformat() for time in zoned]))
    assert found.to_list() == [time.astimezone(UTC).replace(tzinfo=None) for time in zoned] and not bad.any()


@pytest.mark.parametrize(
    ("ids", "whole"),
    [
        (["1", "-2", "0", None], True),
        (["1019341984543268866"], True),
        (["1", "007"], False),
        (["9" * 19], False),
        ([""], False),
    ],
)
def test_ids_become_numbers_only_without_loss(ids, whole):
    column = pl.Series(ids, dtype=pl.String)
    found = parse_ids(column)
    assert found.dtype == (pl.Int64 if whole else pl.String)
    assert found.cast(pl.String).to_list() == ids


@pytest.mark.parametrize(
    ("cell", "paths"),
    [
        ("a", ["a"]),
        (" a b ; c;;", ["a b", "c"]),
        ("", []),
        (" ; ", []),
        (None, []),
        (["b", " a", None, "", "b"], ["b", "a", "b"]),
    ],
)
def test_paths(cell, paths):
    dtype = pl.List(pl.String) if isinstance(cell, list) else pl.String
    found = parse_paths(pl.Series([cell, None], dtype=dtype))
    assert found.to_list() == [paths, []]
    assert found.dtype == pl.List(pl.String)
