"""Batches by token budget."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from behavesim.data.batching import PlannedSampler, plan_batches
from behavesim.errors import UserError

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=200).map(np.array)
BUDGETS = st.integers(1, 2000)
SEEDS = st.integers(0, 2**31)


def like_tweets(rows=5000):
    return np.random.default_rng(0).normal(66, 20, rows).round().clip(15, 300).astype(int)


def plain(batches):
    return [batch.tolist() for batch in batches]


@given(LENGTHS, BUDGETS, st.booleans(), SEEDS, st.integers(0, 50))
def test_every_row_stands_in_one_batch(lengths, budget, shuffle, seed, epoch):
    batches = plan_batches(lengths, budget, shuffle=shuffle, seed=seed, epoch=epoch)
    assert all(len(batch) for batch in batches)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS, st.booleans(), SEEDS)
def test_only_a_single_row_may_exceed_the_budget(lengths, budget, shuffle, seed):
    for batch in plan_batches(lengths, budget, shuffle=shuffle, seed=seed):
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget


@given(LENGTHS, BUDGETS, SEEDS, st.integers(0, 50))
def test_seed_and_epoch_fix_the_plan(lengths, budget, seed, epoch):
    one, again = (plain(plan_batches(lengths, budget, shuffle=True, seed=seed, epoch=epoch)) for _ in range(2))
    assert one == again


def test_epochs_and_seeds_differ():
    lengths = like_tweets()
    order = [(0, 0), (0, 1), (1, 0), (1, 1)]
    plans = [plain(plan_batches(lengths, 2000, shuffle=True, seed=seed, epoch=epoch)) for seed, epoch in order]
    assert len({str(plan) for plan in plans}) == 4
    # Not only the order of the batches: rows meet other rows.
    assert {frozenset(batch) for batch in plans[0]}.isdisjoint({frozenset(batch) for batch in plans[1]})


@settings(deadline=None)
@given(LENGTHS, BUDGETS)
def test_without_shuffling_rows_come_by_length(lengths, budget):
    order = np.concatenate(plan_batches(lengths, budget, shuffle=False))
    assert (np.diff(lengths[order]) >= 0).all()


@pytest.mark.parametrize("shuffle", [True, False])
def test_little_of_a_batch_is_padding(shuffle):
    lengths = like_tweets()
    batches = plan_batches(lengths, 4096, shuffle=shuffle)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert 1 - lengths.sum() / padded < 0.10
    assert padded / len(batches) > 0.85 * 4096  # and the budget is used


def test_an_epoch_does_not_begin_with_the_short_rows():
    lengths = like_tweets()
    batches = plan_batches(lengths, 2048, shuffle=True)
    half = len(batches) // 2
    begin, end = (lengths[np.concatenate(part)].mean() for part in (batches[:half], batches[half:]))
    assert abs(begin - end) < 5


def test_the_sampler_yields_its_plan_as_lists():
    lengths = like_tweets(100)
    batches = plan_batches(lengths, 1000, shuffle=True, seed=4, epoch=2)
    sampler = PlannedSampler(batches)
    assert list(sampler) == plain(batches) == list(sampler) and len(sampler) == len(batches)


@settings(deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=80), st.integers(1, 9), st.booleans())
def test_a_limit_of_rows_holds_beside_the_budget(lengths, rows, shuffle):
    batches = plan_batches(np.array(lengths), 200, rows_per_batch=rows, shuffle=shuffle)
    assert max(map(len, batches)) <= rows
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))


RANKS = st.integers(1, 3)


def all_ranks(lengths, budget, ranks, **settings):
    return [plan_batches(lengths, budget, world_size=ranks, rank=rank, **settings) for rank in range(ranks)]


@settings(deadline=None)
@given(LENGTHS, BUDGETS, st.none() | st.integers(1, 9), st.booleans(), SEEDS, RANKS)
def test_ranks_share_the_rows_and_have_equally_many_batches(lengths, budget, rows, shuffle, seed, ranks):
    assume(len(lengths) >= ranks)
    plans = all_ranks(lengths, budget, ranks, rows_per_batch=rows, shuffle=shuffle, seed=seed)
    assert len({len(plan) for plan in plans}) == 1
    batches = [batch for plan in plans for batch in plan]
    assert all(len(batch) for batch in batches)
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))


@settings(deadline=None)
@given(LENGTHS, BUDGETS, st.booleans(), SEEDS, RANKS)
def test_ranks_keep_the_budget_where_rows_allow_it(lengths, budget, shuffle, seed, ranks):
    single = len(plan_batches(lengths, budget, shuffle=shuffle, seed=seed))
    assume(-(-single // ranks) * ranks <= len(lengths))  # otherwise batches are joined
    for plan in all_ranks(lengths, budget, ranks, shuffle=shuffle, seed=seed):
        for batch in plan:
            assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget


def test_single_rows_that_cannot_be_dealt_evenly_are_joined():
    plans = all_ranks(np.array([9, 5, 8, 4, 7]), 1, 2, shuffle=False)
    assert sorted(sorted(batch.tolist()) for plan in plans for batch in plan) == [[0], [1, 3], [2], [4]]


def test_more_ranks_than_rows_are_refused():
    with pytest.raises(UserError, match=r"trainer.devices: found 3 for 2 rows; accepted: .*"):
        plan_batches(np.array([4, 4]), 100, shuffle=True, world_size=3)


def test_ranks_meet_batches_of_their_length_in_a_step():
    lengths = like_tweets(20_000)
    plans = all_ranks(lengths, 1024, 2, shuffle=True)
    longest = np.array([[lengths[batch].max() for batch in plan] for plan in plans])
    assert np.abs(longest[0] - longest[1]).max() <= 5
    assert np.corrcoef(longest[0], np.arange(len(longest[0])))[0, 1] < 0.2  # and steps come in no order of length
    positions = np.array([[len(batch) * lengths[batch].max() for batch in plan] for plan in plans])
    assert (positions.min(axis=0) > 0.8 * positions.max(axis=0)).mean() > 0.97


def test_no_rows_are_no_batches():
    for shuffle in (True, False):
        assert list(plan_batches(np.zeros(0, int), 100, shuffle=shuffle)) == []


def test_a_part_of_a_plan_is_a_plan():
    batches = plan_batches(like_tweets(300), 1000, shuffle=True)
    assert plain(batches[3:]) == plain(batches)[3:] and len(batches) > 4


@pytest.mark.parametrize("budget", [1024, 16384])
def test_little_of_a_batch_of_real_tweets_is_padding(shared, budget):
    table = shared / "data" / "behaviour_simulation_train.xlsx"
    content = pl.read_excel(table, columns=["content"])["content"]
    lengths = content.str.len_bytes().to_numpy() // 4 + 60  # about what a tokenizer makes of it, and the prompt's frame
    for ranks in (1, 2):
        plans = all_ranks(lengths, budget, ranks, shuffle=True)
        padded = sum(len(batch) * lengths[batch].max() for plan in plans for batch in plan)
        assert 1 - lengths.sum() / padded < 0.10


def test_a_plan_of_a_large_table_holds_one_number_a_row():
    lengths = np.random.default_rng(0).normal(104, 20, 1_000_000).round().clip(15, 300).astype(np.int32)
    batches = plan_batches(lengths, 1024, shuffle=True)
    assert batches.order.dtype == np.int32 and len(batches.order) == len(lengths)
    assert batches.starts.nbytes + batches.ends.nbytes < batches.order.nbytes
