"""From tweets to requests that end in the tweet's text; nothing else that is told hangs on it."""

from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest

from behavesim.data.content_task import SEPARATOR, ContentTask
from behavesim.data.encode import TweetEncoder
from behavesim.data.features import Features
from behavesim.data.history import History
from behavesim.data.task import BehaviourTask
from behavesim.data.tokenizer import markers, unwritten
from behavesim.data.tweets import tweets

OF_PROMPT = {"tokens", "offsets", "answer_length"}


@pytest.fixture(scope="module")
def writer(frame, tokenizer):
    """Encoders of requests; keywords replace those of `TweetEncoder`."""
    features = Features.fit(lambda: [frame])
    task = ContentTask(features.first, features.last)

    def build(**settings):
        encoder = TweetEncoder(tokenizer, task, features, 10_000, 5_000)
        encoder = replace(encoder, **settings)
        return replace(encoder, memory=encoder.posts([frame]))

    return build


def test_a_row_is_a_request_and_the_text_with_its_end(frame, tokenizer, writer):
    encoder = writer()
    encoded = encoder.encode(frame)
    for row, tweet in enumerate(tweets(frame)):
        length, ids = encoded.answer_length[row], encoded.text(row)
        assert tokenizer.decode(ids[1:-length]) == encoder.task.prompt(tweet).text
        assert ids[-1] == tokenizer.eos_token_id
        assert encoder.read_texts([ids[-length:]]) == [tweet.content.strip()]


def test_without_an_answer_a_row_is_the_same_request(frame, writer):
    encoder = writer(examples=2)
    view = encoder.view(encoder.memory)
    asked, whole = (encoder.encode(frame, [view], answered=answered) for answered in (False, True))
    for row in range(frame.height):
        request = whole.text(row)[: -whole.answer_length[row]]
        assert asked.text(row).tolist() == request.tolist() and asked.answer_length[row] == 0


def test_nothing_that_is_told_hangs_on_the_text(frame, writer):
    encoder = writer(examples=2, conditioned=True)
    view = encoder.view(encoder.memory)
    other = frame.with_columns(content=pl.col("content").reverse() + " # 1 ? <mention>\n!")
    found, changed = (encoder.encode(each, [view]) for each in (frame, other))
    for field in fields(found):
        if field.name not in OF_PROMPT:
            assert np.array_equal(getattr(found, field.name), getattr(changed, field.name), equal_nan=True), field.name
    prompts = [
        [each.text(row)[: -each.answer_length[row]].tolist() for row in range(frame.height)]
        for each in (found, changed)
    ]
    assert prompts[0] == prompts[1]
    behaviour = replace(encoder, task=BehaviourTask("ours", encoder.features.first, encoder.features.last))
    assert not np.array_equal(behaviour.numbers(frame), behaviour.numbers(other))  # the change is seen elsewhere


def test_a_text_that_is_too_long_is_cut_and_has_no_end(frame, tokenizer, writer):
    encoded = writer(answer_tokens=6, max_length=60).encode(frame)
    assert encoded.answer_length.max() == 6 and encoded.lengths.max() <= 60
    for row, tweet in enumerate(tweets(frame)):
        ids = [*tokenizer(tweet.content, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        assert encoded.text(row)[-encoded.answer_length[row] :].tolist() == ids[:6]


def test_examples_are_the_account_s_latest_strictly_earlier_tweets(frame, tokenizer, writer):
    encoder = writer(examples=3)
    encoded = encoder.encode(frame, [encoder.view(encoder.memory)], answered=False)
    seen = 0
    for row, tweet in enumerate(tweets(frame)):
        past = frame.with_row_index().filter((pl.col("username") == tweet.username) & (pl.col("date") < tweet.date))
        latest = past.sort("date", "index", descending=True)["content"].to_list()[:3]
        said = tokenizer.decode(encoded.text(row)[1:])
        assert said == "".join(text + SEPARATOR for text in latest if text) + encoder.task.prompt(tweet).text
        seen += len(latest)
    assert seen > frame.height


def test_the_oldest_examples_are_cut_and_the_request_never_is(frame, tokenizer, writer):
    encoder = writer(examples=3, max_length=80, answer_tokens=30)
    encoded = encoder.encode(frame, [encoder.view(encoder.memory)], answered=False)
    whole = replace(encoder, max_length=10_000).encode(frame, [encoder.view(encoder.memory)], answered=False)
    assert encoded.lengths.max() == 50 < whole.lengths.max()
    for row, tweet in enumerate(tweets(frame)):
        request = encoder.task.prompt(tweet).text
        said, everything = (tokenizer.decode(each.text(row)[1:]) for each in (encoded, whole))
        assert said.endswith(request) and everything.startswith(said[: -len(request)])


def test_without_posts_there_are_no_examples(frame, writer):
    encoder = writer(examples=3)
    alone = encoder.encode(frame, answered=False)
    assert alone.lengths.max() < encoder.encode(frame, [encoder.view(encoder.memory)], answered=False).lengths.max()
    silent = History.of([replace(encoder, examples=0).posts([frame]).posts])  # as an artifact that tells no texts
    assert (encoder.encode(frame, [encoder.view(silent)], answered=False).tokens == alone.tokens).all()


def test_a_level_is_that_of_the_row_s_likes_or_the_one_that_is_asked_for(frame, tokenizer, writer):
    encoder = writer(conditioned=True)
    unlabelled = frame.with_columns(likes=pl.lit(None, pl.Int64))

    def said(encoder, rows):
        encoded = encoder.encode(rows, [encoder.view(encoder.memory)], answered=False)
        return [tokenizer.decode(encoded.text(row)).rsplit(", ", 1)[1] for row in range(rows.height)]

    assert set(said(encoder, unlabelled)) == {"highest likes:\n"}
    assert len(set(said(encoder, frame))) == 5
    assert set(said(replace(encoder, level="low"), frame)) == {"low likes:\n"}


def test_no_text_begins_blank_or_holds_special_tokens(tokenizer):
    never, not_first = unwritten(tokenizer)
    assert {tokenizer.pad_token_id, tokenizer.bos_token_id} == set(never)
    assert tokenizer.eos_token_id in not_first and not markers(tokenizer) & {*never, *not_first}
    for number in set(range(len(tokenizer))) - {*never, *not_first}:
        text = tokenizer.decode([number])
        assert text.strip() and not text.lstrip(" ").startswith("\n")
    for text in (" ", "\n", "\n\n", "  "):
        assert set(tokenizer(text, add_special_tokens=False)["input_ids"]) <= set(not_first)
