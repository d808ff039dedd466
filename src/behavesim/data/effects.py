"""What a post's kind, length and hour are worth within an account: a ridge regression on differences."""

from collections.abc import Iterable, Sequence

import numpy as np

RIDGE = 30.0  # of standardised columns; on training rows of the published table 10 to 100 do alike


def within_effects(chunks: Iterable[tuple[np.ndarray, np.ndarray, Sequence[str]]]) -> np.ndarray:
    """Effects [F] of columns on log1p likes, compared within accounts alone.

    Every account is centred on its own means (the within estimator of fixed effects, Mundlak 1978): that large
    accounts post more videos then makes no video worth more. Read once, in chunks of standardised columns [N, F],
    log1p likes [N] and account names [N]; what is kept grows with the accounts.
    """
    codes: dict[str, int] = {}
    products, crossed = 0.0, 0.0
    sums, counts = np.zeros((0, 0)), np.zeros(0)
    for columns, logs, names in chunks:
        rows = np.array([codes.setdefault(name, len(codes)) for name in names], dtype=np.int64)
        both = np.concatenate([columns, logs[:, None]], axis=1)
        grown = np.zeros((len(codes), both.shape[1]))
        grown[: len(sums)] = sums.reshape(len(sums), both.shape[1])
        np.add.at(grown, rows, both)
        sums = grown
        counts = np.concatenate([counts, np.zeros(len(codes) - len(counts))]) + np.bincount(rows, minlength=len(codes))
        products = products + columns.T @ columns
        crossed = crossed + columns.T @ logs
    means = sums / counts[:, None]
    weighted = means[:, :-1] * counts[:, None]
    products, crossed = products - weighted.T @ means[:, :-1], crossed - weighted.T @ means[:, -1]
    return np.linalg.solve(products + RIDGE * np.eye(len(products)), crossed)
