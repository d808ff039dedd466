"""What the terminal, the .csv and the picture show of a ranking."""

import logging
from datetime import UTC, datetime

import polars as pl
import pytest

from behavesim.leaderboard import chart, duration, end_cut, middle_cut, print_ranking, warnings, write_csv
from behavesim.tracking.ranking import FACTS, SCHEMA, Ranking

FACT = (61.0, 12.25, datetime(2026, 1, 31, 12, tzinfo=UTC), None, "id", None)
LONG = "/a/long/way/to/the/folder/" * 5 + "tweets.csv"


def ranking(rows, keys=(), metric="val/rmsle", split=None):
    """Rows are `rank, run, status, value, *keys` and perhaps the facts."""
    schema = {**SCHEMA, **dict.fromkeys(keys, pl.String), **FACTS}
    whole = [row if len(row) == len(schema) else (*row, *FACT) for row in rows]
    return Ranking(pl.DataFrame(whole, schema, orient="row"), metric, True, list(keys), split)


@pytest.fixture
def shown(capsys, caplog, monkeypatch):
    """What is printed, table and lines, for a terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")

    def lines(found, top=20):
        with caplog.at_level(logging.INFO, logger="behavesim"):
            caplog.clear()
            print_ranking(found, "title", top)
        return capsys.readouterr().out.splitlines(), [record.getMessage() for record in caplog.records]

    return lines


def test_a_row_shows_rank_name_score_settings_and_facts(shown):
    keys = ("optim.lr", "seed")
    table, lines = shown(ranking([(1, "a", "FINISHED", 0.5, "0.1", "0"), (2, "b", "FINISHED", 0.6, "0.2", "0")], keys))
    assert table[2].split() == ["#", "run", "val/rmsle", "lr", "duration", "samples/s", "started"]
    assert table[4].split()[:6] == ["1", "a", "0.5000", "0.1", "1:01", "12.2"]
    assert lines == []


def test_long_values_are_cut_in_their_middle_and_fit(shown):
    keys = [f"data.name_that_is_long_{letter}" for letter in "abcdefgh"]
    rows = [(place, f"run_{LONG}_{place}", "FINISHED", 1e12, *[f"{LONG}{place}"] * 8) for place in (1, 2)]
    table, lines = shown(ranking(rows, keys))
    assert max(map(len, table)) <= 100
    assert table[4].split()[1].startswith("run_/a/lon…")
    assert table[4].split()[1].endswith("weets.csv_1")
    assert [line.split()[3][-5:] for line in table[4:6]] == [".csv1", ".csv2"]
    assert "name_th…s_long_a" in table[2]
    [line] = lines
    assert line.startswith("These differ too, see compare.csv: data.name_that")


def test_settings_that_differ_only_below_the_table_are_no_columns(shown):
    rows = [(1, "a", "FINISHED", 0.5, "1"), (2, "b", "FINISHED", 0.6, "1"), (3, "c", "FINISHED", 0.7, "2")]
    table, lines = shown(ranking(rows, ["seed"]), top=2)
    assert "seed" not in table[2]
    assert lines == ["1 more ranked runs are in compare.csv"]


def test_what_has_no_rank_is_named(shown):
    rows = [
        (1, "a", "FINISHED", 0.5),
        (None, "b", "FINISHED", None),
        (None, "c", "FAILED", None, *FACT[:-1], "x" * 150),
        (None, "d", "RUNNING", None),
    ]
    _, lines = shown(ranking(rows))
    assert lines[0] == "Not ranked: 2 runs"
    assert lines[1].split()[:2] == ["c", "FAILED"]
    assert lines[1].endswith("x" * 150)
    assert lines[2].split()[:2] == ["d", "RUNNING"]
    assert lines[3] == "1 run without a rank: finished, but no number for val/rmsle"


def test_nothing_ranked_prints_no_table(shown):
    table, lines = shown(ranking([(None, "c", "FAILED", None)]))
    assert table == []
    assert lines[0] == "Not ranked: 1 run"


def test_of_many_unfinished_runs_the_latest_are_named(shown):
    _, lines = shown(ranking([(None, f"run{number}", "KILLED", None) for number in range(5)]), top=2)
    assert [line.split()[0] for line in lines] == ["Not", "run3", "run4", "and"]


@pytest.mark.parametrize(
    ("split", "words"),
    [({"data.split_seed": ["0", "1"]}, "(data.split_seed: 0, 1)"), ({}, "(the tables changed)")],
)
def test_different_tweets_are_warned_of(split, words):
    [line] = warnings(ranking([], split=split))
    assert line.endswith(words)


def test_choosing_on_the_test_split_is_warned_of():
    assert warnings(ranking([])) == []
    [line] = warnings(ranking([], metric="test/rmsle"))
    assert line.startswith("test/rmsle is of the test split")


def test_the_file_holds_every_run_uncut(tmp_path):
    rows = [(1, LONG, "FINISHED", 1 / 3, LONG), (None, "c", "FAILED", None, None, *FACT[:-1], 'said "no", twice')]
    frame = pl.read_csv(write_csv(ranking(rows, ["data.path"]), tmp_path))
    assert frame.columns == ["rank", "run", "status", "val/rmsle", "data.path", *FACTS]
    assert frame["val/rmsle"].to_list() == [1 / 3, None]
    assert frame["run"][0] == frame["data.path"][0] == LONG
    assert frame["error"][1] == 'said "no", twice'
    assert frame["started"][0] == "2026-01-31 12:00:00 UTC"


def test_the_picture_holds_forty_runs_and_whole_settings():
    rows = [(place, "run", "FINISHED", float(place), LONG, str(place)) for place in range(1, 60)]
    figure = chart(ranking(rows, ["data.path", "seed"]), "title")
    names, notes = figure.axes
    assert len(names.get_yticklabels()) == 40
    assert figure.get_suptitle() == "title, the best 40 of 59 runs"
    assert notes.get_yticklabels()[2].get_text() == "3.000   seed=3"


def test_cuts():
    assert middle_cut("abcdef", 6) == end_cut("abcdef", 6) == "abcdef"
    assert middle_cut("abcdefgh", 6) == "ab…fgh"
    assert end_cut("abc defgh", 5) == "abc…"


def test_durations():
    assert [duration(seconds) for seconds in (None, 0.4, 59.6, 3600, 90061)] == [
        "",
        "0:00",
        "1:00",
        "1:00:00",
        "25:01:01",
    ]
