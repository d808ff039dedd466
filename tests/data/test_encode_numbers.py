"""From tweets to numbers: of the tweet itself, and of what was known of its account."""

from dataclasses import replace

import numpy as np
import pytest

from behavesim.data.batch import NUMBERS
from behavesim.data.encode import TweetEncoder
from behavesim.data.features import Features
from behavesim.data.history import History
from behavesim.data.task import BehaviourTask
from behavesim.data.text_summary import TextSummary
from behavesim.data.view import STATISTICS, TOKEN_NAMES, View, latest_posts, training_views


@pytest.fixture(scope="module")
def features(frame):
    return Features.fit(lambda: [frame])


@pytest.fixture(scope="module")
def encoder_of(features, tokenizer, learned):
    def build(max_length, answer_tokens=0, style="ours", names=False, **more):
        task = BehaviourTask(style, features.first, features.last, names)
        return TweetEncoder(tokenizer, task, features, max_length, answer_tokens, **(learned | more))

    return build


@pytest.fixture(scope="module")
def learned(features, frame, taught):
    """What an encoder without a summary has of a process of the rows of `frame`."""
    encoder = taught(TweetEncoder(None, BehaviourTask(), features, 60), frame)
    return {"process": encoder.process, "memory": encoder.memory}


@pytest.fixture(scope="module")
def texts(frame, tokenizer):
    return [np.array(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in frame["content"]]


@pytest.fixture(scope="module")
def summary(texts, tokenizer):
    return TextSummary.fit(lambda: [texts], len(tokenizer), 5)


def test_numbers_of_a_row_are_alike_alone_and_among_others(frame, encoder_of):
    encoder = encoder_of(60, history=2)
    views = [encoder.view(encoder.memory)]
    together = encoder.encode(frame, views)
    for row in range(0, frame.height, 17):
        alone = encoder.encode(frame[row : row + 1], views)
        for name in NUMBERS:
            found, expected = getattr(alone, name)[0], getattr(together, name)[row]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_each_view_tells_what_its_history_knows(frame, encoder_of):
    encoder = encoder_of(60, history=3)
    numbers, memory = encoder.numbers(frame), encoder.memory
    some = memory.without(encoder.posts([frame.head(9)]))
    views = [*training_views(encoder.process, memory), View(encoder.process, memory, some)]
    encoded = encoder.encode(frame, views)
    assert encoded.statistics.shape == (frame.height, 5, len(STATISTICS)) and encoded.prior.shape == (frame.height, 5)
    assert encoded.history.shape == (frame.height, 5, 3, len(TOKEN_NAMES))
    for place, view in enumerate(views):
        told = view.told(frame, numbers)
        tokens, valid = latest_posts(view.history, frame, 3, encoder.process, slice(0, 0))
        assert (encoded.statistics[:, place] == told.statistics).all() and (encoded.prior[:, place] == told.prior).all()
        assert (encoded.history[:, place] == tokens).all() and (encoded.history_valid[:, place] == valid).all()
    assert encoded.history_valid[:, :3].any(axis=(0, 2)).all() and not encoded.history_valid[:, 3].any()


def test_without_a_view_nothing_is_known_of_the_account(frame, encoder_of):
    encoder = encoder_of(60, history=3)
    encoded, nothing = encoder.encode(frame), View(encoder.process, History.of([]), History.of([]))
    told = nothing.told(frame, encoder.numbers(frame))
    assert (encoded.statistics[:, 0] == told.statistics).all() and (encoded.prior[:, 0] == told.prior).all()
    assert (encoded.statistics[:, 0, STATISTICS.index("own")] == 0).all() and not encoded.history_valid.any()


def test_an_encoder_s_view_remembers_its_training_posts_unless_that_is_refused(frame, encoder_of):
    encoder = encoder_of(60)
    history = encoder.posts([frame.head(3)])
    view, other = encoder.view(history), encoder.view(history, remembers=False)
    assert view.memory is encoder.memory and len(other.memory) == 0 and len(encoder.memory) == frame.height
    assert view.history is other.history is history and not view.new and not other.new


def test_labelled_rows_become_posts(frame, encoder_of, summary):
    encoder = encoder_of(60, summary=summary)
    whole, chunked = (encoder.posts(chunks) for chunks in ([frame], frame.iter_slices(9)))
    assert whole.posts.drop("numbers").equals(chunked.posts.drop("numbers")) and len(whole) == frame.height
    np.testing.assert_array_equal(whole.numbers, encoder.numbers(frame))
    np.testing.assert_allclose(chunked.numbers, whole.numbers, rtol=1e-5, atol=1e-6)
    for name in ("identity", "username", "company", "media_kind", "likes"):
        assert whole.posts[name].to_list() == frame[name].to_list()
    assert (whole.posts["date"] == frame["date"].dt.replace_time_zone("UTC")).all() and len(encoder.posts([])) == 0


def test_numbers_of_a_tweet_itself_are_the_same_whatever_is_known(frame, features, encoder_of):
    encoder = encoder_of(60)
    nothing, some = encoder.encode(frame), encoder.encode(frame, [encoder.view(encoder.memory)])
    assert (nothing.features == some.features).all() and (nothing.tokens == some.tokens).all()
    assert (nothing.features == encoder.numbers(frame)).all() and (nothing.prior != some.prior).any()
    np.testing.assert_allclose(nothing.features, features.observed(frame), rtol=1e-6)


def test_a_summary_of_the_text_stands_behind_the_other_numbers(frame, features, encoder_of, taught, summary, texts):
    encoder = taught(encoder_of(60, summary=summary), frame)
    encoded = encoder.encode(frame)
    assert encoded.features.shape == (frame.height, encoder.width) and encoder.width == features.count + 5
    np.testing.assert_array_equal(encoded.features[:, features.count :], summary.transform(texts))
    assert all((one == other).all() for one, other in zip(encoder.content_ids(frame), texts, strict=True))
    assert encoder.encode(frame.clear()).features.shape == (0, features.count + 5)


def test_tokens_of_earlier_posts_hold_their_text_where_that_is_asked(frame, features, encoder_of, taught, summary):
    plain = taught(encoder_of(60, summary=summary, history=2), frame)
    telling = replace(plain, history_text=True)
    assert (plain.token_width, telling.token_width) == (len(TOKEN_NAMES), len(TOKEN_NAMES) + 5)
    one, other = (encoder.encode(frame, [encoder.view(encoder.memory)]) for encoder in (plain, telling))
    assert (other.history[..., : len(TOKEN_NAMES)] == one.history).all() and other.history.shape[-1] == 5 + len(
        TOKEN_NAMES
    )
    places = plain.memory.earlier(frame, 2).recent
    told, valid = other.history[:, 0, :, len(TOKEN_NAMES) :], other.history_valid[:, 0]
    assert valid.any() and not told[~valid].any()
    np.testing.assert_array_equal(told[valid], plain.memory.numbers[places[valid]][:, features.count :])
    assert encoder_of(60, history_text=True).token_width == len(TOKEN_NAMES)  # there is no summary


def test_a_model_without_numbers_gets_none(frame, tokenizer, features, encoder_of):
    encoder = TweetEncoder(tokenizer, BehaviourTask("ours", features.first, features.last), None, 60)
    encoded = encoder.encode(frame)
    assert encoded.features.shape == (frame.height, 0) and encoder.width == 0
    assert (encoded.prior == 0).all() and encoded.prior.shape == (frame.height, 1)
    assert (encoded.statistics == 0).all() and encoded.history.shape[2] == 0
    some = encoder_of(60).encode(frame)
    for name in NUMBERS:
        found, expected = getattr(encoded, name), getattr(some, name)
        assert found.dtype == expected.dtype and found.ndim == expected.ndim
        assert name == "features" or found.shape == expected.shape


def test_no_rows_are_encoded_as_none(frame, encoder_of):
    encoder = encoder_of(60, history=2)
    views = [*training_views(encoder.process, encoder.memory), encoder.view(encoder.memory)]
    encoded, some = encoder.encode(frame.clear(), views), encoder.encode(frame.head(2), views)
    assert len(encoded) == 0 and encoded.offsets.tolist() == encoded.picture_offsets.tolist() == [0]
    for name in ("tokens", "answer_length", *NUMBERS, "likes", "pictures"):
        found, expected = getattr(encoded, name), getattr(some, name)
        assert found.dtype == expected.dtype and found.shape == (0, *expected.shape[1:])


def test_the_facts_of_an_encoder_tell_what_decides_its_rows(encoder_of, learned):
    facts = {encoder_of(60).facts(), encoder_of(61).facts(), encoder_of(60, 4).facts()}
    facts |= {encoder_of(60, style="reference").facts(), encoder_of(60, history=2).facts()}
    summaries = [TextSummary(*np.ones((2, 3), np.float32), np.full((3, 1), value, np.float32)) for value in (1, 2)]
    facts |= {encoder_of(60, names=True).facts(), *(encoder_of(60, summary=summary).facts() for summary in summaries)}
    process = replace(learned["process"], weights=learned["process"].weights + 1)
    facts |= {encoder_of(60, history_text=True).facts(), encoder_of(60, process=process).facts()}
    assert len(facts) == 10
    assert encoder_of(60).facts() in facts
