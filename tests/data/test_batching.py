"""Batches by token budget."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.batching import PlannedSampler, plan_batches

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
