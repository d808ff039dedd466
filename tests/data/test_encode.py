"""From tweets to ids and numbers: nothing of a tweet is lost, and the end of a prompt never is."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedTokenizerFast

from behavesim.data.batch import NUMBERS
from behavesim.data.encode import TweetEncoder
from behavesim.data.features import Features
from behavesim.data.history import History
from behavesim.data.known import NAMES, TOKEN_NAMES, known
from behavesim.data.task import BehaviourTask
from behavesim.data.text_summary import TextSummary
from behavesim.data.tweets import tweets
from behavesim.errors import UserError


@pytest.fixture(scope="module")
def features(frame):
    return Features.fit(lambda: [frame])


@pytest.fixture(scope="module")
def encoder_of(features, tokenizer):
    def build(max_length, answer_tokens=0, style="ours", names=False, **more):
        task = BehaviourTask(style, features.first, features.last, names)
        return TweetEncoder(tokenizer, task, features, max_length, answer_tokens, **more)

    return build


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_row_holds_its_whole_prompt(frame, tokenizer, encoder_of):
    encoder = encoder_of(10_000)
    encoded = encoder.encode(frame)
    for row, tweet in enumerate(tweets(frame)):
        prompt = encoder.task.prompt(tweet)
        found = encoded.text(row)
        assert found[0] == tokenizer.bos_token_id
        assert tokenizer.decode(found[1:]) == prompt.text
        assert prompt.content == tweet.content


def test_a_row_is_encoded_alike_alone_and_among_others(frame, encoder_of):
    encoder = encoder_of(60)
    together = encoder.encode(frame)
    assert len(together) == frame.height == len(together.lengths) and together.lengths.sum() == len(together.tokens)
    for row in range(0, frame.height, 17):
        alone = encoder.encode(frame[row : row + 1])
        assert (alone.text(0) == together.text(row)).all()
        np.testing.assert_allclose(alone.features[0], together.features[row], rtol=1e-6)
        np.testing.assert_allclose(alone.prior[0], together.prior[row], rtol=1e-6)
        assert alone.likes[0] == together.likes[row] and list(alone.images(0)) == list(together.images(row))


@settings(deadline=None, max_examples=40)
@given(content=st.text(max_size=300) | st.sampled_from(["likes: " * 60, "<mention>" * 200]), room=st.integers(0, 30))
def test_a_cut_keeps_both_ends_and_the_limit(frame, tokenizer, encoder_of, content, room):
    tweet_frame = frame.head(1).with_columns(content=pl.lit(content))
    prompt = encoder_of(1).task.prompt(next(tweets(tweet_frame)))
    whole, after = ids(tokenizer, prompt.text), len(ids(tokenizer, prompt.after))
    frame_length = 1 + len(ids(tokenizer, prompt.before)) + after
    found = encoder_of(frame_length + room).encode(tweet_frame).text(0).tolist()
    kept = len(found) - 1 - after
    assert len(found) <= frame_length + room
    assert found == [tokenizer.bos_token_id, *whole[:kept], *whole[-after:]]
    assert tokenizer.decode(found[1:]).startswith(prompt.before)
    assert kept == len(whole) - after or len(found) == frame_length + room  # cut only where it had to be


def test_a_limit_shorter_than_the_frame_of_a_prompt_cuts_all_content_and_nothing_else(frame, tokenizer, encoder_of):
    encoder = encoder_of(8)
    encoded = encoder.encode(frame.head(5))
    for row, tweet in enumerate(tweets(frame.head(5))):
        prompt = encoder.task.prompt(tweet)
        assert tokenizer.decode(encoded.text(row)[1:]) == prompt.before + prompt.after


def test_unlabelled_rows_have_nan_likes(frame, encoder_of):
    blank = frame.head(3).with_columns(likes=pl.Series([1, None, 0], dtype=pl.Int64))
    assert np.array_equal(encoder_of(60).encode(blank).likes, [1, np.nan, 0], equal_nan=True)


def test_pictures_are_places_of_the_table(frame, encoder_of):
    encoded = encoder_of(60).encode(frame)
    assert [encoded.images(row).tolist() for row in range(frame.height)] == frame["images"].to_list()
    assert encoded.picture_counts.tolist() == frame["images"].list.len().to_list()


def test_each_view_tells_what_its_history_knows(frame, features, encoder_of):
    history = features.history([frame])
    views = [history, history.mirror(), History.of([])]
    encoded = encoder_of(60, history=3).encode(frame, views)
    assert encoded.statistics.shape == (frame.height, 3, len(NAMES)) and encoded.prior.shape == (frame.height, 3)
    assert encoded.history.shape == (frame.height, 3, 3, len(TOKEN_NAMES))
    for place, view in enumerate(views):
        told = known(view, frame, level=features.level, spread=features.spread, tokens=3)
        assert (encoded.statistics[:, place] == told.statistics).all()
        assert (encoded.history[:, place] == told.tokens).all()
        assert (encoded.history_valid[:, place] == told.valid).all()
        np.testing.assert_allclose(encoded.prior[:, place], told.level + features.effect(frame), rtol=1e-5)
    assert encoded.history_valid[:, :2].any(axis=(0, 2)).all() and not encoded.history_valid[:, 2].any()


def test_numbers_of_a_tweet_itself_are_the_same_whatever_is_known(frame, features, encoder_of):
    encoder = encoder_of(60)
    nothing, some = encoder.encode(frame), encoder.encode(frame, [features.history([frame])])
    assert (nothing.features == some.features).all() and (nothing.tokens == some.tokens).all()
    assert (nothing.names == features.names(frame)).all() and (some.names == nothing.names).all()
    np.testing.assert_allclose(nothing.features, features.observed(frame), rtol=1e-6)
    np.testing.assert_allclose(nothing.prior[:, 0], features.level + features.effect(frame), rtol=1e-5)


def test_a_summary_of_the_text_stands_behind_the_other_numbers(frame, features, tokenizer, encoder_of):
    texts = [np.array(ids(tokenizer, text)) for text in frame["content"]]
    summary = TextSummary.fit(lambda: [texts], len(tokenizer), 5)
    encoder = encoder_of(60, summary=summary)
    encoded = encoder.encode(frame)
    assert (
        encoded.features.shape == (frame.height, encoder.feature_count) and encoder.feature_count == features.count + 5
    )
    np.testing.assert_array_equal(encoded.features[:, features.count :], summary.transform(texts))
    assert all((one == other).all() for one, other in zip(encoder.content_ids(frame), texts, strict=True))
    assert encoder.encode(frame.clear()).features.shape == (0, features.count + 5)


def test_a_model_without_numbers_gets_none(frame, tokenizer, features):
    task = BehaviourTask("ours", features.first, features.last)
    encoder = TweetEncoder(tokenizer, task, None, 60)
    encoded = encoder.encode(frame)
    assert encoded.features.shape == (frame.height, 0) and encoder.feature_count == 0
    assert (
        (encoded.prior == 0).all() and (encoded.names == 0).all() and encoded.statistics.shape == (frame.height, 1, 0)
    )
    some = TweetEncoder(tokenizer, task, features, 60).encode(frame)
    for name in NUMBERS:
        found, expected = getattr(encoded, name), getattr(some, name)
        assert found.dtype == expected.dtype and found.ndim == expected.ndim


def test_no_rows_are_encoded_as_none(frame, features, encoder_of):
    encoder, views = encoder_of(60, history=2), [features.history([frame]), History.of([])]
    encoded, some = encoder.encode(frame.clear(), views), encoder.encode(frame.head(2), views)
    assert len(encoded) == 0 and encoded.offsets.tolist() == encoded.picture_offsets.tolist() == [0]
    for name in ("tokens", "answer_length", *NUMBERS, "likes", "pictures"):
        found, expected = getattr(encoded, name), getattr(some, name)
        assert found.dtype == expected.dtype and found.shape == (0, *expected.shape[1:])


def test_account_and_company_stand_in_the_prompt_where_that_is_asked(frame, encoder_of):
    tweet = next(tweets(frame))
    named, nameless = (encoder_of(60, names=names).task.prompt(tweet) for names in (True, False))
    assert named.before == f"{tweet.username} of {tweet.company}, {nameless.before}"
    assert (named.content, named.after) == (nameless.content, nameless.after)


def test_the_facts_of_an_encoder_tell_what_decides_its_rows(encoder_of):
    facts = {encoder_of(60).facts(), encoder_of(61).facts(), encoder_of(60, 4).facts()}
    facts |= {encoder_of(60, style="reference").facts(), encoder_of(60, history=2).facts()}
    summaries = [TextSummary(*np.ones((2, 3), np.float32), np.full((3, 1), value, np.float32)) for value in (1, 2)]
    facts |= {encoder_of(60, names=True).facts(), *(encoder_of(60, summary=summary).facts() for summary in summaries)}
    assert len(facts) == 8
    assert encoder_of(60).facts() in facts


def test_the_prompt_never_holds_the_likes(frame, encoder_of):
    changed = frame.with_columns(likes=pl.col("likes") + 12_345)
    assert (encoder_of(200).encode(frame).tokens == encoder_of(200).encode(changed).tokens).all()


@pytest.mark.parametrize("style", ["ours", "reference"])
def test_a_labelled_row_ends_in_its_answer_and_an_end(frame, tokenizer, encoder_of, style):
    encoder = encoder_of(10_000, answer_tokens=12, style=style)
    encoded, likes = encoder.encode(frame), frame["likes"].to_list()
    for row, tweet in enumerate(tweets(frame)):
        text, length = encoded.text(row), encoded.answer_length[row]
        assert text[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(text[1:-length]) == encoder.task.prompt(tweet).text
        assert tokenizer.decode(text[-length:-1]) == f" {likes[row]}"
        assert encoder.read_answers([text[-length:]]) == [likes[row]]


def test_a_prompt_is_the_same_with_and_without_its_answer(frame, encoder_of):
    encoder = encoder_of(60, answer_tokens=12)
    labelled = encoder.encode(frame)
    unlabelled = encoder.encode(frame.with_columns(likes=pl.lit(None, dtype=pl.Int64)))
    assert (unlabelled.answer_length == 0).all() and (labelled.answer_length > 1).all()
    for row, length in enumerate(labelled.answer_length):
        assert (labelled.text(row)[:-length] == unlabelled.text(row)).all()
        assert len(labelled.text(row)) <= 60


def test_the_published_prompt_is_the_published_one(frame, encoder_of):
    tweet = next(tweets(frame))
    prompt = encoder_of(500, style="reference").task.prompt(tweet)
    assert prompt.text == (
        f"##Instruction: Below is the context about twitter posted by {tweet.username} belonging to {tweet.company}: "
        f"{tweet.content} You have to answer the question given to you accurately. ##Question: How many likes must "
        "this tweet would have earned ? ##Answer:"
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [(" 12", 12), ("7 likes", 7), ("0", 0), ("\n003", 3), (" 1,234", 1), ("", None), (" many", None), ("-5", None)],
)
def test_an_answer_is_the_number_it_begins_with(text, number):
    assert BehaviourTask().parse(text) == number


@given(st.text())
def test_any_text_can_be_an_answer(text):
    found = BehaviourTask().parse(text)
    assert found is None or found >= 0


@pytest.mark.parametrize("alphabet", ["".join(map(chr, range(32, 127))), "".join(map(chr, range(10, 127)))])
def test_a_tokenizer_that_joins_prompt_and_answer_is_refused(frame, features, alphabet):
    # Without a pre-tokenizer merges run over spaces: ": 1" becomes one token, and the prompt would end in the answer.
    # One that does not know line ends drops them, and its offsets are wrong from there on.
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<bos>", "<eos>"], show_progress=False)
    tokenizer.train_from_iterator([": 1", "likes: 1"] * 50 + list(alphabet), trainer)
    joined = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>")
    encoder = TweetEncoder(joined, BehaviourTask("ours", features.first, features.last), features, 500, 12)
    with pytest.raises(UserError, match=r"^task: the tokenizer joins the answer ' 123' to the prompt"):
        encoder.encode(frame.head(2).with_columns(likes=pl.lit(123)))
