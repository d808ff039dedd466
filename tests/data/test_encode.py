"""From tweets to ids: nothing of a tweet is lost, and the end of a prompt never is."""

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, trainers
from transformers import PreTrainedTokenizerFast

from behavesim.data.encode import TweetEncoder
from behavesim.data.task import BehaviourTask
from behavesim.data.tweets import tweets
from behavesim.errors import UserError


@pytest.fixture(scope="module")
def encoder_of(frame, tokenizer):
    """Encoders of texts alone."""

    def build(max_length, answer_tokens=0, style="ours", names=False):
        task = BehaviourTask(style, frame["date"].min(), frame["date"].max(), names)
        return TweetEncoder(tokenizer, task, None, max_length, answer_tokens)

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
        assert alone.likes[0] == together.likes[row] and list(alone.images(0)) == list(together.images(row))


@pytest.mark.parametrize(
    ("names", "shows", "expected"),
    [
        (True, ("time", "media", "wording"), "ann of acme, Sat 17h Jul 2020, 2 photo:\n"),
        (False, ("time",), "Sat 17h Jul 2020:\n"),
        (True, ("media",), "ann of acme, 2 photo:\n"),
        (False, ("wording",), ""),
    ],
)
def test_a_prompt_holds_what_is_shown(names, shows, expected):
    date = datetime(2020, 7, 4, 17, 30)
    tweet = {"content": "x", "username": "ann", "company": "acme", "media_kind": "photo", "media_count": 2}
    frame = pl.DataFrame([{**tweet, "date": date}])
    prompt = BehaviourTask("ours", date, date, names, shows).prompt(next(tweets(frame)))
    assert (prompt.before, prompt.content, prompt.after) == (expected, "x", "\nlikes:")


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


def test_account_and_company_stand_in_the_prompt_where_that_is_asked(frame, encoder_of):
    tweet = next(tweets(frame))
    named, nameless = (encoder_of(60, names=names).task.prompt(tweet) for names in (True, False))
    assert named.before == f"{tweet.username} of {tweet.company}, {nameless.before}"
    assert (named.content, named.after) == (nameless.content, nameless.after)


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
def test_a_tokenizer_that_joins_prompt_and_answer_is_refused(frame, alphabet):
    # Without a pre-tokenizer merges run over spaces: ": 1" becomes one token, and the prompt would end in the answer.
    # One that does not know line ends drops them, and its offsets are wrong from there on.
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<bos>", "<eos>"], show_progress=False)
    tokenizer.train_from_iterator([": 1", "likes: 1"] * 50 + list(alphabet), trainer)
    joined = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>")
    encoder = TweetEncoder(joined, BehaviourTask("ours", frame["date"].min(), frame["date"].max()), None, 500, 12)
    with pytest.raises(UserError, match=r"^task: the tokenizer joins the answer ' 123' to the prompt"):
        encoder.encode(frame.head(2).with_columns(likes=pl.lit(123)))
