"""What is known of a tweet's account when it is posted: numbers, a prior, and its latest posts as tokens."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavesim.data.history import MEDIA_KINDS, Earlier, History

# Pseudo-posts that pull a mean towards the level above it: account → company → all. Chosen by the error of the means
# on training rows of the published table, where 0.5 to 1 is best and 3 clearly worse.
STRENGTH = 0.8
LAST = 5  # posts whose mean is one of the numbers
MEMORIES = (30.0, 180.0)  # days after which a post counts a third in a fading mean
FADING = 0.5  # pseudo-posts of those means
TOKEN_NAMES = ("likes", "deviation", "age", *(f"media_{kind}" for kind in MEDIA_KINDS))
_LEVEL = ("last", "last_5", *(f"fading_{days:.0f}" for days in MEMORIES), "spread", "age")
NAMES = (
    "account_mean",
    "company_mean",
    "account_above_company",
    "account_count",
    "company_count",
    "account_seen",
    "company_seen",
    "account_doubt",
    "company_doubt",
    *(f"account_{name}" for name in _LEVEL),
    *(f"company_{name}" for name in _LEVEL),
)


@dataclass(frozen=True)
class Known:
    """Of N tweets, from posts that are strictly earlier."""

    statistics: np.ndarray  # [N, S] float32, see `NAMES`
    level: np.ndarray  # [N] float32, expected log1p likes but for the effect of what the tweet shows
    tokens: np.ndarray  # [N, K, T] float32, the account's latest posts, the latest first, see `TOKEN_NAMES`
    valid: np.ndarray  # [N, K] bool, where there is such a post


def known(history: History, frame: pl.DataFrame, *, level: float, spread: float, tokens: int) -> Known:
    """What `history` says of the rows of `frame`.

    All is said of deviations: log1p likes less the effect of what a post shows (`Features.effect`), so that an
    account's mean does not depend on what it happened to post. Means are drawn towards the level above them by
    pseudo-posts, as in a mixed model (Henderson 1975).

    Args:
        history: labelled posts.
        frame: tweets, with username, company and date.
        level, spread: mean and standard deviation of the deviations of training rows.
        tokens: K.
    """
    account, company = history.earlier(frame, "username"), history.earlier(frame, "company")
    company_mean = (company.total + STRENGTH * level) / (company.count + STRENGTH)
    account_mean = (account.total + STRENGTH * company_mean) / (account.count + STRENGTH)
    counts = np.stack([account.count, company.count], axis=1)
    columns = [
        np.stack([account_mean - level, company_mean - level, account_mean - company_mean], axis=1) / spread,
        np.log1p(counts),
        counts > 0,
        1 / np.sqrt(counts + 1),
        _trends(history, frame, account, account_mean),
        _trends(history, frame, company, company_mean),
    ]
    return Known(
        np.concatenate(columns, axis=1).astype(np.float32),
        account_mean.astype(np.float32),
        *_tokens(history, frame, account.recent[:, :tokens], level, spread),
    )


def _trends(history: History, frame: pl.DataFrame, earlier: Earlier, mean: np.ndarray) -> np.ndarray:
    """Latest posts against the mean of all: [N, 6], see `_LEVEL`; zero where there is none."""
    places = earlier.recent
    found = places >= 0
    values = np.where(found, _at(history.deviations, places) - mean[:, None], 0.0)
    days = history.age(frame, places)
    many = found.sum(axis=1).clip(1)
    fading = []
    for memory in MEMORIES:
        weight = np.exp(-days / memory) * found
        fading.append((weight * values).sum(axis=1) / (weight.sum(axis=1) + FADING))
    centre = values.sum(axis=1) / many
    columns = [
        values[:, 0],
        values[:, :LAST].sum(axis=1) / found[:, :LAST].sum(axis=1).clip(1),
        *fading,
        np.sqrt((np.where(found, values - centre[:, None], 0.0) ** 2).sum(axis=1) / many),
        np.log1p(days[:, 0]),
    ]
    return np.stack(columns, axis=1)


def _tokens(
    history: History, frame: pl.DataFrame, places: np.ndarray, level: float, spread: float
) -> tuple[np.ndarray, np.ndarray]:
    """Posts at `places` [N, K] as numbers [N, K, T], and where there is one [N, K]."""
    found = places >= 0
    kinds = np.eye(len(MEDIA_KINDS))[_at(history.media, places).astype(np.int64)]
    columns = [
        (_at(history.logs, places) - level) / spread,
        (_at(history.deviations, places) - level) / spread,
        np.log1p(history.age(frame, places)) / np.log1p(365),
    ]
    tokens = np.concatenate([np.stack(columns, axis=2), kinds], axis=2)
    # Not by a product: the sign of its zeros would be that of some other post.
    return np.where(found[:, :, None], tokens, 0.0).astype(np.float32), found


def _at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Values [P] at places [...], where a place of -1 gives whatever; zero where there are no values at all."""
    return values[places] if len(values) else np.zeros(places.shape)
