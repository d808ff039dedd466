"""What a tweet might say by guesses that need no model: training tweets, as they are."""

import numpy as np
import polars as pl

from behavesim.metrics.agreement import by_agreement

LATEST = 32  # tweets of an account among which the most typical is looked for
PIECE = 1024  # tweets that are compared with all training tweets at a time
# What the guess by metadata looks at, as words.
METADATA = (
    "username",
    "company",
    pl.col("date").dt.weekday(),
    pl.col("date").dt.hour(),
    pl.col("date").dt.month(),
    pl.col("date").dt.year(),
    "media_kind",
    "media_count",
)


def nearest_in_time(train: pl.DataFrame, asked: pl.DataFrame) -> list[str]:
    """The account's training tweet that was posted nearest to each tweet; of accounts without any, that of any account.

    Both frames have `username` and `date`, and `train` has `content`; N texts.
    """
    moment = pl.col("date").dt.epoch("us")  # one side may name its zone
    asked = asked.select("username", moment).with_row_index("row").sort("date", maintain_order=True)
    train = train.select("username", moment, "content").sort("date", maintain_order=True)
    own, anybody = train, train.select("date", anybody="content")
    found = asked.join_asof(own, on="date", by="username", strategy="nearest", check_sortedness=False)
    found = found.join_asof(anybody, on="date", strategy="nearest")
    return found.sort("row").select(pl.coalesce("content", "anybody"))["content"].to_list()


def random_of_account(train: pl.DataFrame, asked: pl.DataFrame, seed: int) -> list[str]:
    """A training tweet of the account, drawn for each tweet; of accounts without any, one of all training tweets."""
    generator = np.random.default_rng(seed)
    texts = train["content"].to_list()
    groups = train.with_row_index("place").group_by("username").agg("place")
    places = {name: np.array(found) for name, found in groups.iter_rows()}
    everyone = np.arange(len(texts))
    return [texts[int(generator.choice(places.get(name, everyone)))] for name in asked["username"]]


def most_typical(train: pl.DataFrame, asked: pl.DataFrame) -> list[str]:
    """Of the account's latest training tweets the one that is nearest to the others; of accounts without any, of all.

    Near as in `by_agreement`. Both frames have `username`, and `train` has `date` and
    `content`; N texts.
    """
    train = train.sort("date", maintain_order=True)
    latest = train.group_by("username").agg(pl.col("content").tail(LATEST))
    typical = {name: texts[by_agreement(texts, [])[0]] for name, texts in latest.iter_rows()}
    everybody = train["content"].tail(LATEST).to_list()
    anybody = everybody[by_agreement(everybody, [])[0]]
    return [typical.get(name, anybody) for name in asked["username"]]


def nearest_by_metadata(train: pl.DataFrame, asked: pl.DataFrame) -> list[str]:
    """The training tweet nearest to each by TF-IDF over who posts it, when, and with what media.

    Both frames have the columns of `METADATA`, and `train` has `content`. Of equally near ones the latest counts.
    Needs the extra [baselines].
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    train = train.sort("date", descending=True, maintain_order=True)
    vectorizer = TfidfVectorizer(analyzer=str.split)
    known, wanted = vectorizer.fit_transform(_words(train)), vectorizer.transform(_words(asked))
    texts = train["content"].to_list()
    nearest = [
        place
        for start in range(0, asked.height, PIECE)
        # Rounded, so that equally near ones are equal whatever order their sums have.
        for place in (wanted[start : start + PIECE] @ known.T).toarray().round(9).argmax(axis=1)
    ]
    return [texts[place] for place in nearest]


def _words(frame: pl.DataFrame) -> list[str]:
    """Each value as one word that names its column."""
    columns = frame.select(
        (pl.col(column) if isinstance(column, str) else column)
        .cast(pl.String)
        .str.replace_all(r"\s+", "_")
        .fill_null("")
        .alias(str(place))
        for place, column in enumerate(METADATA)
    )
    return [" ".join(f"{place}={value}" for place, value in enumerate(row)) for row in columns.iter_rows()]
