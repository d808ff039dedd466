"""Groups against a search through the graph that companies and accounts make."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.gp.groups import groups_of, looked_up, reached, rows_of
from behavesim.data.gp.kernel import Points

MANY = settings(deadline=None, max_examples=100)
WHO = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), max_size=20)


def points_by(who):
    company, account = torch.tensor(who, dtype=torch.int64).reshape(-1, 2).T
    nothing = torch.zeros(len(who), 0)
    return Points(nothing, nothing, torch.zeros(len(who)), company, account)


def companies_met(who, company, account):
    """Of all tweets that one who posts so is linked to."""
    companies, accounts, before = {company}, {account}, None
    while before != (len(companies), len(accounts)):
        before = len(companies), len(accounts)
        companies |= {one for one, other in who if other in accounts}
        accounts |= {other for one, other in who if one in companies}
    return companies


@MANY
@given(WHO)
def test_a_group_is_all_that_companies_and_accounts_link(who):
    assert groups_of(points_by(who)).tolist() == [min(companies_met(who, *one)) for one in who]


def test_long_chains_are_one_group():
    random = np.random.default_rng(0)
    links = [(place + step, place) for place in range(3000) for step in (0, 1)]
    who = [links[place] for place in random.permutation(len(links))]
    assert set(groups_of(points_by(who)).tolist()) == {0}


@MANY
@given(WHO, WHO)
def test_a_tweet_reaches_groups_of_its_company_and_of_its_account_and_links_none(who, asked):
    groups = groups_of(points_by(who))
    posts = rows_of(groups)
    parts = reached(groups, points_by(who), points_by(asked))
    assert sorted(row for *_, rows in parts for row in rows.tolist()) == list(range(len(asked)))
    for home, other, rows in parts:
        seen = {who[row] for name in (home, other) if name in posts for row in posts[name].tolist()}
        for company, account in (asked[row] for row in rows.tolist()):
            near = companies_met(who, company, account)
            assert seen == {one for one in who if one[0] in near}
            assert home == min(companies_met(who, company, None))


@MANY
@given(st.lists(st.tuples(st.integers(0, 5), st.integers())), st.lists(st.integers(-1, 7)))
def test_a_value_is_looked_up_as_in_a_dictionary(pairs, asked):
    keys, values = np.array(pairs, dtype=object).reshape(-1, 2).T
    values = values % 1000
    found = looked_up(keys.astype(int), values.astype(int), np.array(asked, dtype=int), np.full(len(asked), -1))
    known = dict(zip(keys.tolist(), values.tolist(), strict=True))
    assert found.tolist() == [known.get(key, -1) for key in asked]
