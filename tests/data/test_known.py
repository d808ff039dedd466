"""What is said of an account's past, against the definitions worked out by hand."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.history import MEDIA_KINDS, SCHEMA, WINDOW, History
from behavesim.data.known import FADING, LAST, MEMORIES, NAMES, STRENGTH, TOKEN_NAMES, known

NOON = datetime(2020, 6, 1, 12, tzinfo=UTC)
LEVEL, SPREAD = 4.0, 2.0
# Days before noon, account, company, likes, effect, media.
PAST = [
    (1, "ann", "acme", 99, 0.5, "photo"),
    (10, "ann", "acme", 9, -0.25, "none"),
    (100, "ann", "acme", 999, 0.0, "video"),
    (2, "bob", "acme", 0, 1.0, "gif"),
    (0, "ann", "acme", 10**9, 0.0, "gif"),  # of the same instant
    (-1, "bob", "acme", 10**9, 0.0, "gif"),  # later
    (5, "eve", "zeta", 10**9, 0.0, "gif"),  # another's
]


def posts_of(past):
    rows = [
        (place, account, company, NOON - timedelta(days=days), likes, effect, kind)
        for place, (days, account, company, likes, effect, kind) in enumerate(past)
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row", strict=False)


def asked(*pairs):
    return pl.DataFrame(
        {"username": [pair[0] for pair in pairs], "company": [pair[1] for pair in pairs], "date": [NOON] * len(pairs)},
        schema_overrides={"date": pl.Datetime("us", "UTC")},
    )


def told(frame, history, tokens=4):
    return known(history, frame, level=LEVEL, spread=SPREAD, tokens=tokens)


def by_hand(accounts, companies):
    """Statistics from posts before noon as (days, deviation), the latest first, of the account and of the company."""
    company_mean = (sum(value for _, value in companies) + STRENGTH * LEVEL) / (len(companies) + STRENGTH)
    account_mean = (sum(value for _, value in accounts) + STRENGTH * company_mean) / (len(accounts) + STRENGTH)
    found = {
        "account_mean": (account_mean - LEVEL) / SPREAD,
        "company_mean": (company_mean - LEVEL) / SPREAD,
        "account_above_company": (account_mean - company_mean) / SPREAD,
    }
    for name, posts, mean in (("account", accounts, account_mean), ("company", companies, company_mean)):
        values = [value - mean for _, value in posts]
        found |= {
            f"{name}_count": np.log1p(len(posts)),
            f"{name}_seen": float(bool(posts)),
            f"{name}_doubt": (len(posts) + 1) ** -0.5,
            f"{name}_last": values[0] if posts else 0,
            f"{name}_last_5": np.mean(values[:LAST]) if posts else 0,
            f"{name}_spread": np.std(values) if posts else 0,
            f"{name}_age": np.log1p(posts[0][0]) if posts else 0,
        }
        for memory in MEMORIES:
            weights = [np.exp(-days / memory) for days, _ in posts]
            total = sum(weight * value for weight, value in zip(weights, values, strict=True))
            found[f"{name}_fading_{memory:.0f}"] = total / (sum(weights) + FADING)
    return account_mean, [found[name] for name in NAMES]


ANN = [(1, np.log1p(99) - 0.5), (10, np.log1p(9) + 0.25), (100, np.log1p(999))]
BOB = [(2, np.log1p(0) - 1.0)]
ACME = [ANN[0], BOB[0], *ANN[1:]]


@pytest.mark.parametrize(
    ("who", "accounts", "companies"),
    [
        (("ann", "acme"), ANN, ACME),
        (("bob", "acme"), BOB, ACME),
        (("new", "acme"), [], ACME),
        (("ann", "new"), ANN, []),
        (("new", "new"), [], []),
    ],
)
def test_statistics_are_those_worked_out_by_hand(who, accounts, companies):
    found = told(asked(who), History.of([posts_of(PAST)]))
    level, statistics = by_hand(accounts, companies)
    np.testing.assert_allclose(found.statistics[0], statistics, rtol=1e-5, atol=1e-6)
    assert found.level[0] == pytest.approx(level, rel=1e-6)


def test_posts_become_tokens_the_latest_first():
    found = told(asked(("ann", "acme"), ("bob", "acme"), ("new", "acme")), History.of([posts_of(PAST)]), tokens=2)
    assert found.tokens.shape == (3, 2, len(TOKEN_NAMES)) and found.valid.tolist() == [
        [True, True],
        [True, False],
        [False, False],
    ]
    assert (found.tokens[~found.valid] == 0).all()
    names = dict(zip(TOKEN_NAMES, found.tokens[0, 1].tolist(), strict=True))
    assert names["likes"] == pytest.approx((np.log1p(9) - LEVEL) / SPREAD)
    assert names["deviation"] == pytest.approx((np.log1p(9) + 0.25 - LEVEL) / SPREAD)
    assert names["age"] == pytest.approx(np.log1p(10) / np.log1p(365))
    assert {kind: names[f"media_{kind}"] for kind in MEDIA_KINDS} == {kind: kind == "none" for kind in MEDIA_KINDS}


def test_with_no_history_everybody_is_nobody():
    frame = asked(("ann", "acme"), ("bob", "zeta"), ("nobody", "no one"))
    nothing = told(frame, History.of([]))
    nobody = told(asked(("nobody", "no one")), History.of([posts_of(PAST)]))
    for row in range(3):
        assert (nothing.statistics[row] == nobody.statistics[0]).all() and nothing.level[row] == np.float32(LEVEL)
    assert not nothing.valid.any() and not nothing.tokens.any()
    named = dict(zip(NAMES, nobody.statistics[0].tolist(), strict=True))
    doubts = {name for name, value in named.items() if value}
    assert doubts == {"account_doubt", "company_doubt"} and named["account_doubt"] == 1


def test_more_posts_than_are_looked_at_count_in_the_mean_alone():
    many = [(days, "ann", "acme", 99, 0.0, "none") for days in range(1, WINDOW + 20)]
    odd = [*many, (400, "ann", "acme", 10**8, 0.0, "none")]
    one, other = (told(asked(("ann", "acme")), History.of([posts_of(past)])) for past in (many, odd))
    changed = {name for name, found in zip(NAMES, (one.statistics != other.statistics)[0], strict=True) if found}
    assert {"account_mean", "account_count"} <= changed
    assert not changed & {"account_age", "company_age", "account_seen"}
    assert (one.tokens == other.tokens).all() and one.tokens.shape[1] == 4


@settings(deadline=None, max_examples=80)
@given(
    st.lists(
        st.tuples(
            st.floats(-20_000, 20_000),
            st.sampled_from(["ann", "bob", ""]),
            st.sampled_from(["acme", ""]),
            st.integers(0, 10**12),
            st.floats(-50, 50),
            st.sampled_from([*MEDIA_KINDS, "unheard of"]),
        ),
        max_size=20,
    ),
    st.integers(0, WINDOW),
    st.booleans(),
)
def test_all_numbers_are_finite_and_of_the_right_shape(past, tokens, mirrored):
    history, frame = History.of([posts_of(past)]), asked(("ann", "acme"), ("", ""), ("new", "acme"))
    found = told(frame, history.mirror() if mirrored else history, tokens)
    assert found.statistics.shape == (3, len(NAMES)) and found.tokens.shape == (3, tokens, len(TOKEN_NAMES))
    for array in (found.statistics, found.level, found.tokens):
        assert np.isfinite(array).all() and array.dtype == np.float32
    assert found.valid.dtype == bool and found.valid.shape == (3, tokens)
    empty = told(frame.clear(), history, tokens)
    assert empty.statistics.shape == (0, len(NAMES)) and empty.valid.shape == (0, tokens)
