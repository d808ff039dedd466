"""An evaluation of made-up tweets."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from behavesim.metrics import baselines
from behavesim.metrics.estimates import LEVELS, LikesEstimates
from behavesim.reporting.evaluation import Evaluation


def made_up(rows=300, accounts=30, companies=30, quantiles=True, beside=True, **settings):
    """Accounts of different levels, one tweet in ten without likes, and a model that knows the levels."""
    rng = np.random.default_rng(0)
    account = np.arange(rows) % accounts
    level = rng.normal(5, 1.5, accounts)[account].clip(0)
    likes = np.expm1((level + rng.normal(0, 0.6, rows)).clip(0)).round() * (rng.random(rows) > 0.1)
    spread = np.quantile(rng.normal(size=10_000), LEVELS)
    reach = np.expm1((level[:, None] + 0.6 * spread).clip(0)) if quantiles else None
    estimates = {"model": LikesEstimates(*3 * [np.expm1(level)], reach)}
    if beside:
        estimates["account mean"] = baselines.account_mean(account, likes[::-1], account)
        estimates["constant"] = baselines.constant(likes, rows)
    frame = pl.DataFrame(
        {
            "id": np.arange(rows),
            "date": [datetime(2020, 1, 1) + timedelta(hours=int(hour)) for hour in rng.integers(0, 9000, rows)],
            "username": [f"account_{number}" for number in account],
            "company": [f"company {number % companies}" for number in account],
            "content": [f"tweet {row}" for row in range(rows)],
            "likes": likes.astype(int),
        }
    )
    given = {"title": "mine on t.csv", "frame": frame, "estimates": estimates, "known": account % 8} | settings
    return Evaluation(**given)


@pytest.fixture(scope="session")
def evaluation():
    """With quantiles and two baselines."""
    return made_up(facts={"artifact": "checkpoints/mine", "table": "t.csv"}, failures=np.tile([0.0, 0.5], 150))


@pytest.fixture(scope="session")
def make():
    """See `made_up`."""
    return made_up
