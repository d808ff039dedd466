"""`views` of a video are counted after posting: they are in the table's media column and may reach nothing else."""

import re
from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behavesim.data.encode import TweetEncoder
from behavesim.data.features import Features
from behavesim.data.task import BehaviourTask
from behavesim.data.tweets import tweets, with_media

START = datetime(2020, 1, 1)
VIEWS = re.compile(r", views=(\w+)")

seconds = st.none() | st.floats(0, 1e6)
counts = st.none() | st.integers(0, 10**12)
videos = st.builds(
    "Video(thumbnailUrl={!r}, variants=[VideoVariant(url='y', bitrate={!r})], duration={!r}, views={})".format,
    st.sampled_from(["https://t/a.jpg", "https://t/views=3.jpg", "b"]),
    counts,
    seconds,
    counts,
)
others = st.sampled_from(["Photo(previewUrl='small', fullUrl='large')", "Gif(thumbnailUrl='g', variants=[])"])
cells = st.builds(lambda items: f"[{', '.join(items)}]", st.lists(videos | others, min_size=1, max_size=4))
tables = st.lists(cells, min_size=3, max_size=12).filter(lambda table: any("Video" in cell for cell in table))
changes = st.sampled_from(["", ", views=None", ", views=0", ", views=7", ", views=999999999999", ", views=1e300"])


def frame_of(media):
    height = len(media)
    return pl.DataFrame(
        {
            "date": [START + timedelta(hours=31 * i) for i in range(height)],
            "likes": [i**3 for i in range(height)],
            "content": [f"text {i} <hyperlink>" for i in range(height)],
            "username": [f"user {i % 3}" for i in range(height)],
            "company": [f"company {i % 2}" for i in range(height)],
            "media": media,
        },
        schema_overrides={"date": pl.Datetime("us")},
    )


def without_media(frame):
    """The frame without the raw column, as bytes."""
    return frame.drop("media").serialize()


def features_of(frame):
    """Fitted features, and as bytes the numbers of the rows and of the posts that they are to others."""
    fitted = Features.fit(lambda: [frame])
    encoder = TweetEncoder(None, BehaviourTask("ours", fitted.first, fitted.last), fitted, 60)
    posts = encoder.posts([frame.with_row_index("identity")])
    return fitted, fitted.observed(frame).tobytes(), posts.posts.serialize(), posts.media.tobytes()


@pytest.mark.parametrize("style", ["ours", "reference"])
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(tables, st.data())
def test_views_change_no_column_prompt_or_feature(style, table, data):
    changed = [VIEWS.sub(lambda _: data.draw(changes), cell) for cell in table]
    one, other = (with_media(frame_of(media)) for media in (table, changed))
    assert without_media(one) == without_media(other)
    (fitted, *numbers), (refitted, *other_numbers) = map(features_of, (one, other))
    assert refitted == fitted and other_numbers == numbers
    task = BehaviourTask(style, fitted.first, fitted.last)
    assert [task.prompt(tweet) for tweet in tweets(one)] == [task.prompt(tweet) for tweet in tweets(other)]


def test_a_change_that_counts_is_seen():
    cell = "[Video(thumbnailUrl='a', duration=3.0, views=5)]"
    one, other = (with_media(frame_of([cell.replace("3.0", seconds)] * 3)) for seconds in ("3.0", "4.0"))
    assert without_media(one) != without_media(other)


def test_no_item_holds_views():
    items = with_media(frame_of(["[Video(thumbnailUrl='a', duration=3.0, views=5)]"]))["media_items"]
    assert items.to_list() == [[{"kind": "video", "urls": ["a"], "duration": 3.0}]]
