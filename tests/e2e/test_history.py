"""What predictions look back on: training rows, a table of newer posts, the scored table itself, or nothing."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from behavesim.data.output import write_table
from behavesim.errors import UserError

NEW = {"username": "newcomer", "inferred company": "new company"}
KNOWN_ON = ("2021-03-01 10:00:00", "2021-03-05 10:00:00", "2021-03-09 10:00:00")
ASKED_ON = ("2021-02-01 10:00:00", "2021-03-01 10:00:00", "2021-03-05 10:00:00", "2021-03-20 10:00:00")
CLOSE = {"rel_tol": 1e-4, "abs_tol": 0.002}


def posts(tweets, dates, content="asked", likes=None, **who):
    """Tweets of one account at these dates, without pictures."""
    frame = tweets.head(len(dates)).drop("local_path")
    texts = [f"{content} {number}" for number in range(len(dates))]
    columns = {"date": pl.Series(dates), "content": pl.Series(texts), "media": pl.lit("[]")}
    columns |= {name: pl.lit(value) for name, value in (who or NEW).items()}
    likes = pl.lit(None, dtype=pl.Int64) if likes is None else pl.Series(likes, dtype=pl.Int64)
    return frame.with_columns(**columns, likes=likes)


@pytest.fixture(scope="session")
def asked(tweets):
    return posts(tweets, ASKED_ON)


@pytest.fixture(scope="session")
def known(tweets):
    return posts(tweets, KNOWN_ON, "known", [50_000, 80_000, 60_000])


@pytest.fixture(scope="session")
def blind(tmp_path_factory, train_tiny):
    """A training that knew no history."""
    folder = tmp_path_factory.mktemp("blind")
    outcome = train_tiny(
        f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=blind", "data.history=none"
    )
    return SimpleNamespace(artifact=folder / "artifact", objective=outcome.objective)


@pytest.fixture
def given(here):
    """Writes a table of known posts; returns the override that names it."""

    def write(frame, name="known.parquet"):
        write_table(frame, here / name)
        return f"history={here / name}"

    return write


def changed(one, other):
    """Of each row whether its prediction differs."""
    gap = np.abs(one["likes_logmean"].to_numpy() - other["likes_logmean"].to_numpy())
    return (gap > 1e-3 * one["likes_logmean"].to_numpy() + 0.002).tolist()


def test_known_posts_of_a_new_company_change_its_later_tweets_and_no_others(predict, given, asked, known, tweets):
    together = pl.concat([asked, tweets.drop("local_path").head(20)])
    without, told = predict(together), predict(together, given(known))
    # The first is before all known ones, the second of the instant of the first of them.
    assert changed(without, told) == [False, False, True, True, *[False] * 20]
    assert (told["likes"][2:4] > without["likes"][2:4]).all()


@pytest.mark.parametrize("place", range(3))
def test_likes_of_later_posts_and_of_the_same_instant_never_count(predict, given, asked, known, place):
    at = KNOWN_ON[place]
    other = known.with_columns(likes=pl.when(pl.col("date") >= at).then(pl.lit(3)).otherwise("likes"))
    one, two = predict(asked, given(known)), predict(asked, given(other))
    assert changed(one, two) == [date > at for date in ASKED_ON]
    earlier = pl.Series([date <= at for date in ASKED_ON])
    assert_frame_equal(one.filter(earlier), two.filter(earlier))


def test_the_newest_likes_of_a_tweet_count(predict, given, trained, tweets):
    history = pl.read_parquet(trained.artifact / "history.parquet")
    account = history.group_by("username").len().sort("len", "username")["username"][-1]
    known = history.filter(pl.col("username") == account)
    dates = tweets["date"].cast(pl.String).str.slice(0, 19).str.to_datetime(time_zone="UTC", time_unit="us")
    own = tweets.filter((pl.col("username") == account) & dates.is_in(known["date"].implode()))
    assert own.height == known.height > 1
    who = {name: own[name][0] for name in NEW}
    later = posts(tweets, ["2030-01-01 00:00:00"], **who)
    as_trained = predict(later)
    higher = own.with_columns(pl.col("likes") * 50 + 1000)
    # In the place of what training knew, not beside it.
    assert_frame_equal(predict(later, given(own)), as_trained, **CLOSE)
    assert changed(as_trained, predict(later, given(higher))) == [True]
    # Within a table the last one counts.
    assert_frame_equal(predict(later, given(pl.concat([higher, own]))), as_trained, **CLOSE)
    assert changed(as_trained, predict(later, given(pl.concat([own, higher])))) == [True]


@pytest.mark.parametrize("extension", ["csv", "xlsx"])
def test_known_posts_come_in_every_format(predict, given, asked, known, extension):
    expected = predict(asked, given(known))
    assert_frame_equal(predict(asked, given(known, f"known.{extension}")), expected, **CLOSE)
    short = known.rename({"inferred company": "company"}).drop("id").with_columns(id=pl.lit("x"))
    assert_frame_equal(predict(asked, given(short, f"short.{extension}")), expected, **CLOSE)


def test_known_posts_without_likes_are_left_out_and_listed_apart(here, predict, given, asked, known, caplog):
    some = known.with_columns(likes=pl.when(pl.int_range(pl.len()) < 2).then("likes"))
    bad = asked.with_columns(date=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit("soon")).otherwise("date"))
    with caplog.at_level("INFO", logger="behavesim"):
        found = predict(bad, given(some), "data.on_bad_row=skip")
    assert "history: 2 labelled posts of" in caplog.text
    assert_frame_equal(found[1:], predict(asked, given(known.head(2)))[1:], **CLOSE)
    folder = here / "outputs" / "predict"
    assert pl.read_csv(folder / "rejected_rows.csv")["column"].to_list() == ["date"]
    assert pl.read_csv(folder / "rejected_history.csv")["column"].to_list() == ["likes"]


def test_what_cannot_be_history_is_one_line(main, here, given, asked, known, trained):
    write_table(asked, here / "in.csv")
    blank = known.with_columns(likes=pl.lit(None, dtype=pl.Int64))
    (here / "known.txt").write_text("nothing")
    for override, told in (
        (
            f"history={here / 'missing.csv'}",
            "missing.csv, which does not exist; accepted: a file ending in",
        ),
        (given(known.drop("likes"), "unlabelled.csv"), "unlabelled.csv: no column likes"),
        (given(blank, "blank.csv"), "none that can be used; accepted: at least one with likes"),
        (given(known.with_columns(date=pl.lit("soon")), "dates.csv"), "dates.csv, row 2, column date: found soon"),
        (f"history={here / 'known.txt'}", "known.txt"),
        (given(known), "accepted: null, it goes with data.history=none"),
    ):
        more = ["data.history=none"] if "it goes" in told else []
        run = main("predict", f"ckpt={trained.artifact}", "input=in.csv", "output=out.csv", override, *more)
        [line] = [text for text in run.lines if "history" in text and "INFO" not in text]
        assert run.code == 2 and "history: " in line and told in line, run.err
        assert not (here / "out.csv").exists()


def renamed(tweets):
    return tweets.with_columns(pl.lit("somebody").alias("username"), pl.lit("anybody").alias("inferred company"))


def test_no_history_is_told_to_a_model_that_could_know_some(predict, tweets):
    found = predict(tweets, "data.history=none")
    assert_frame_equal(predict(renamed(tweets), "data.history=none"), found)
    assert any(changed(found, predict(tweets)))
    assert any(changed(predict(renamed(tweets)), predict(tweets)))


def test_a_training_without_history_knows_no_account(predict, tweets, blind, given, known):
    ckpt = f"ckpt={blind.artifact}"
    assert np.isfinite(blind.objective)
    assert pl.read_parquet(blind.artifact / "history.parquet").is_empty()
    found = predict(tweets, ckpt)
    assert found.null_count().sum_horizontal().item() == 0 and found["likes"].n_unique() > 150
    assert_frame_equal(predict(renamed(tweets), ckpt), found)
    assert_frame_equal(predict(tweets, ckpt, "data.history=none"), found)
    with pytest.raises(UserError, match=r"^history: found .*known.parquet; accepted: null, .* with data.history=none$"):
        predict(tweets, ckpt, given(known))
    with pytest.raises(UserError, match=r"^data.history: found rolling; accepted: none, "):
        predict(tweets, ckpt, "data.history=rolling")


def test_rolling_predictions_know_the_table_s_own_earlier_likes(predict, asked, known):
    """And no later ones: as if each tweet were predicted on its own day."""
    table = pl.concat([asked, known])
    alone, rolling = predict(table), predict(table, "data.history=rolling")
    dates = [*ASKED_ON, *KNOWN_ON]
    assert changed(alone, rolling) == [date > KNOWN_ON[0] for date in dates]
    for at in KNOWN_ON:
        other = table.with_columns(likes=pl.when(pl.col("date") >= at).then(pl.col("likes") // 1000).otherwise("likes"))
        found = predict(other, "data.history=rolling")
        assert changed(rolling, found) == [date > at for date in dates]
        earlier = pl.Series([date <= at for date in dates])
        assert_frame_equal(found.filter(earlier), rolling.filter(earlier))


def test_rolling_evaluation_uses_the_table_s_own_earlier_likes(evaluate, asked, known, given):
    likes = pl.Series([90, 40_000, 70_000, 65_000], dtype=pl.Int64)
    table = pl.concat([asked.with_columns(likes=likes), known])
    scores = {mode: evaluate(table, f"data.history={mode}") for mode in ("none", "train", "rolling")}
    assert scores["none"]["n"] == scores["rolling"]["n"] == 7
    assert scores["rolling"]["rmsle"] < scores["train"]["rmsle"]
    told = evaluate(table, given(known))
    assert told["rmsle"] < scores["train"]["rmsle"]
    assert told["rmsle"] != pytest.approx(scores["rolling"]["rmsle"])


@pytest.mark.parametrize("mode", ["none", "train"])
def test_without_rolling_the_scored_table_s_likes_are_not_read(predict, asked, known, mode):
    table = pl.concat([asked, known])
    other = table.with_columns(likes=pl.lit(7))
    assert_frame_equal(predict(other, f"data.history={mode}"), predict(table, f"data.history={mode}"))
