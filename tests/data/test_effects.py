"""Effects within accounts: planted ones are found, whoever posts what."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.effects import RIDGE, within_effects

PLANTED = np.array([0.8, -0.5, 0.0])


def drawn(levels, seed=0, rows=3000, noise=0.1, tied=0.0):
    """Columns, logs and names of rows whose accounts have these levels; `tied` ties the first column to the level."""
    random = np.random.default_rng(seed)
    accounts = random.integers(0, len(levels), rows)
    level = np.asarray(levels, dtype=np.float64)[accounts]
    columns = random.standard_normal((rows, len(PLANTED)))
    columns[:, 0] += tied * level
    logs = level + columns @ PLANTED + noise * random.standard_normal(rows)
    return columns, logs, [f"account {number}" for number in accounts]


def cut(rows, bounds):
    ends = [0, *sorted({min(bound, len(rows[1])) for bound in bounds} - {0, len(rows[1])}), len(rows[1])]
    return [tuple(part[start:end] for part in rows) for start, end in itertools.pairwise(ends)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1000, 1000), min_size=1, max_size=20), st.integers(0, 100))
def test_planted_effects_are_found_whatever_the_levels(levels, seed):
    found = within_effects([drawn(levels, seed)])
    np.testing.assert_allclose(found, PLANTED, atol=0.05)


def test_a_level_that_goes_with_a_column_is_no_effect():
    """As where large accounts post more videos; a regression over all rows calls that an effect."""
    columns, logs, names = drawn(np.linspace(0, 10, 20), tied=1.0)
    whole = np.linalg.lstsq(np.c_[columns, np.ones(len(logs))], logs, rcond=None)[0]
    assert abs(whole[0] - PLANTED[0]) > 0.5
    np.testing.assert_allclose(within_effects([(columns, logs, names)]), PLANTED, atol=0.05)


def test_the_closed_form():
    columns, logs, names = drawn([1.0, 5.0, 9.0], rows=60)
    centred, left = columns.copy(), logs.copy()
    for name in set(names):
        own = np.array(names) == name
        centred[own] -= columns[own].mean(axis=0)
        left[own] -= logs[own].mean()
    expected = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(3), centred.T @ left)
    np.testing.assert_allclose(within_effects([(columns, logs, names)]), expected, rtol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 200), max_size=8))
def test_chunks_change_nothing(bounds):
    rows = drawn([1.0, 5.0, 9.0, -3.0], rows=200)
    np.testing.assert_allclose(within_effects(cut(rows, bounds)), within_effects([rows]), rtol=1e-9)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_accounts_with_one_post_say_nothing(rows):
    columns, logs, _ = drawn([0.0], rows=rows)
    found = within_effects([(columns, logs, [f"account {row}" for row in range(rows)])])
    np.testing.assert_allclose(found, 0, atol=1e-12)
