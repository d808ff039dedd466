import numpy as np
import polars as pl
import pytest

from behavesim.metrics.estimates import LikesEstimates
from behavesim.metrics.likes import likes_metrics
from behavesim.reporting import tables


def marked(evaluation, name):
    [row] = [row for row in tables.scores(evaluation) if row["metric"].name == name]
    return [cell["best"] for cell in row["cells"]]


def test_the_best_of_each_score_is_marked(evaluation):
    assert marked(evaluation, "rmsle") == [True, False, False]
    assert marked(evaluation, "spearman") == [True, False, False]
    for name in ("distinct", "top_1_share", "parse_failures"):
        assert not any(marked(evaluation, name))
    coverage = [abs(scores["coverage_80"] - 0.8) for scores in evaluation.scores.values()]
    assert marked(evaluation, "coverage_80") == [each == min(coverage) for each in coverage]


def test_alone_nobody_is_best(make):
    rows = tables.scores(make(beside=False))
    assert not any(cell["best"] for row in rows for cell in row["cells"])
    assert tables.differences(make(beside=False)) == []


def test_scores_that_nobody_has_are_no_lines(make):
    names = {row["metric"].name for row in tables.scores(make(beside=False, quantiles=False))}
    assert {"rmsle", "crps"} < names
    assert not names & {"coverage_80", "interval_80", "parse_failures"}


def test_every_metric_has_a_line(evaluation):
    shown = {row["metric"].name for row in tables.scores(evaluation)}
    assert shown == set(evaluation.scores["model"]) - {"n"}


def test_small_companies_are_one_line_at_the_end(evaluation, make):
    rows = tables.companies(evaluation)
    assert len(rows) == 21
    assert rows[-1]["group"] == "the rest (10 companies)"
    assert sum(int(row["n"]) for row in rows) == 300
    assert [row["group"] for row in tables.companies(make(companies=2))] == ["company 0", "company 1"]
    nameless = make(companies=2)
    nameless.frame.replace_column(3, nameless.frame["company"].replace("company 1", None))
    assert tables.companies(nameless)[1]["group"] == "without a company"


def test_accounts_stand_by_how_well_they_are_known(evaluation, make):
    assert [row["group"] for row in tables.sizes(evaluation)] == ["0", "1–2", "3–5", "6–20"]
    assert tables.sizes(make(known=None)) == []


def test_the_breakdown_has_every_company_and_every_number_of_known_tweets(evaluation, make, tmp_path):
    found = pl.read_csv(tables.write_breakdown(evaluation, tmp_path))
    scores = ["rmsle", "rmse", "mae", "spearman", "coverage_80", "bias"]
    assert found.columns == ["kind", "group", "n", *scores]
    assert found["n"].sum() == 2 * 300
    companies = found.filter(kind="company")
    assert sorted(companies["group"]) == sorted(f"company {number}" for number in range(30))
    rows = np.flatnonzero(evaluation.frame["company"] == "company 7")
    expected = likes_metrics(evaluation.actual[rows], evaluation.model.take(rows))
    [row] = companies.filter(group="company 7").iter_rows(named=True)
    assert {name: row[name] for name in scores[:-1]} == pytest.approx({name: expected[name] for name in scores[:-1]})
    known = found.filter(kind="earlier known tweets")
    assert known["group"].to_list() == [row["group"] for row in tables.sizes(evaluation)]
    assert [f"{count}" for count in known["n"]] == [row["n"] for row in tables.sizes(evaluation)]
    bare = pl.read_csv(tables.write_breakdown(make(quantiles=False, known=None, companies=1), tmp_path))
    assert bare["group"].to_list() == ["company 0"] and "coverage_80" not in bare.columns


def test_the_worst_tweets_come_first(make):
    evaluation = make(beside=False)
    likes = evaluation.frame["likes"].to_numpy()
    guess = likes.astype(float)
    guess[[5, 7, 9]] = [np.expm1(3 + np.log1p(likes[5])), np.expm1(9 + np.log1p(likes[7])), guess[9] + 0.01]
    found = tables.misses(make(beside=False, estimates={"model": LikesEstimates.point(guess)}))
    assert [row["content"] for row in found[:3]] == ["tweet 7", "tweet 5", "tweet 9"]
    assert [row["error"] for row in found[:2]] == ["+9.0", "+3.0"]
    assert len(found) == 20
    assert found[0]["interval"] == ""
    assert found[0]["username"] == "account_7"
    assert found[0]["actual"] == f"{likes[7]:,}"
    low, _, high = tables.misses(evaluation)[0]["interval"].partition(" to ")
    assert float(low.replace(",", "")) < float(high.replace(",", ""))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (3, "3"),
        (12345, "12,345"),
        (0.12345, "0.123"),
        (-0.5, "−0.500"),
        (-0.0001, "0.000"),
        (12.345, "12.35"),
        (123.45, "123.5"),
        (12345.6, "12,346"),
        (-1.7e308, "−1.70e+308"),
        (float("inf"), "inf"),
    ],
)
def test_numbers(value, text):
    assert tables.number(value) == text


def test_signed_numbers_and_likes():
    assert [tables.signed(value) for value in (0.5, -0.5, -1e-9)] == ["+0.500", "−0.500", "+0.000"]
    assert [tables.likes(value) for value in (0, 3.0, 3.26, 12.6, 12345.6)] == ["0", "3", "3.3", "13", "12,346"]


def test_what_a_difference_says(evaluation):
    rows = {row["baseline"]: row for row in tables.differences(evaluation)}
    assert rows["constant"]["verdict"] == "the model is better"
    assert rows["constant"]["difference"].startswith("−")
    assert rows["constant"]["p"] == "below 0.001"
    assert tables._verdict(-1, 1) == tables._verdict(0, 0) == "no difference that these tweets can tell"
    assert tables._verdict(0.1, 1) == "the baseline is better"
