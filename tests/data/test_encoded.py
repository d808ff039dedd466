"""Encoded tweets in files: the same as in memory, whichever way they were cut, and written only when they changed."""

import itertools
import pickle
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behavesim.data.batch import NUMBERS
from behavesim.data.encode import TweetEncoder
from behavesim.data.encoded import EncodedTweets, encoded_once, offsets_of, open_encoded, write_encoded
from behavesim.data.features import Features
from behavesim.data.task import BehaviourTask
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.view import training_views

FIELDS = [field.name for field in fields(EncodedTweets)]


def tweets_of(texts, pictures=None, width=2):
    """Rows of these token ids and places of pictures."""
    rows, pictures = len(texts), pictures or [[]] * len(texts)
    numbers = np.arange(rows, dtype=np.float32)
    return EncodedTweets(
        tokens=np.array([token for text in texts for token in text], dtype=np.int32),
        offsets=offsets_of([len(text) for text in texts]),
        answer_length=np.arange(rows) % 2,
        features=np.arange(rows * width, dtype=np.float32).reshape(rows, width),
        statistics=np.arange(rows * 2 * width, dtype=np.float32).reshape(rows, 2, width),
        prior=np.stack([numbers / 7, numbers / 9], axis=1),
        history=np.arange(rows * 2 * width * 3, dtype=np.float32).reshape(rows, 2, width, 3),
        history_valid=np.arange(rows * 2 * width).reshape(rows, 2, width) % 3 == 0,
        likes=np.where(numbers % 3 > 0, numbers, np.nan).astype(np.float64),
        pictures=np.array([place for row in pictures for place in row], dtype=np.int64),
        picture_offsets=offsets_of([len(row) for row in pictures]),
    )


def part_of(tweets, start, end):
    """Consecutive rows as a chunk of their own."""
    tokens, places = tweets.offsets[start : end + 1], tweets.picture_offsets[start : end + 1]
    return EncodedTweets(
        tokens=tweets.tokens[tokens[0] : tokens[-1]],
        offsets=tokens - tokens[0],
        answer_length=tweets.answer_length[start:end],
        **{name: getattr(tweets, name)[start:end] for name in NUMBERS},
        likes=tweets.likes[start:end],
        pictures=tweets.pictures[places[0] : places[-1]],
        picture_offsets=places - places[0],
    )


def assert_same(found, expected, close=()):
    for name in FIELDS:
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype and one.shape == other.shape, name
        if name in close:  # products of matrices differ in their last bits where there are fewer rows
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            assert np.array_equal(one, other, equal_nan=name == "likes"), name


ROWS = st.lists(
    st.tuples(st.lists(st.integers(0, 99), max_size=4), st.lists(st.integers(0, 10**10), max_size=3)), max_size=9
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.integers(0, 3), st.lists(st.integers(0, 9), max_size=4))
def test_any_chunks_are_one_table_in_files(tmp_path_factory, rows, width, cuts):
    folder = tmp_path_factory.mktemp("encoded") / "part"
    whole = tweets_of([text for text, _ in rows], [pictures for _, pictures in rows], width)
    bounds = sorted([0, *(min(cut, len(rows)) for cut in cuts), len(rows)])
    write_encoded((part_of(whole, *pair) for pair in itertools.pairwise(bounds)), folder)
    found = open_encoded(folder)
    assert_same(found, whole)
    assert len(found) == len(rows) and (found.lengths == whole.lengths).all()
    for row, (text, pictures) in enumerate(rows):
        assert found.text(row).tolist() == text and found.images(row).tolist() == pictures
        assert found.picture_counts[row] == len(pictures)
    assert [path.name for path in folder.parent.iterdir()] == ["part"]


@pytest.fixture(scope="module")
def encoder(sample_frame, taught):
    features = Features.fit(lambda: [sample_frame])
    task = BehaviourTask("ours", features.first, features.last)
    tokenizer = train_tokenizer(sample_frame["content"], 400)
    return taught(TweetEncoder(tokenizer, task, features, 60, 8, history=2), sample_frame)


@pytest.mark.parametrize("rows", [1, 7, 200, 1000])
def test_a_table_that_is_encoded_in_chunks_is_the_one_encoded_whole(tmp_path, sample_frame, encoder, rows):
    views = [*training_views(encoder.process, encoder.memory), encoder.view(encoder.memory)]
    write_encoded((encoder.encode(chunk, views) for chunk in sample_frame.iter_slices(rows)), tmp_path / "part")
    close = ("features", "prior", "statistics")
    assert_same(open_encoded(tmp_path / "part"), encoder.encode(sample_frame, views), close)


def test_arrays_are_mapped_and_cannot_be_changed(tmp_path):
    write_encoded([tweets_of([[1, 2], [3]], [[4], []])], tmp_path / "part")
    found = open_encoded(tmp_path / "part")
    for name in FIELDS:
        array = getattr(found, name)
        assert isinstance(array, np.memmap) and not array.flags.writeable


def elsewhere(code, *given):
    """Start another process that runs `code` on `given`; light ones, since they import no test and no torch."""
    loaded = "import pickle, sys; given = pickle.load(sys.stdin.buffer); "
    process = subprocess.Popen([sys.executable, "-c", loaded + code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(pickle.dumps(given))
    process.stdin.close()
    return process


def said(process):
    output = process.stdout.read().decode().strip()
    assert process.wait(60) == 0
    return output


def test_a_copy_for_another_process_maps_the_files_again(tmp_path):
    write_encoded([tweets_of([[1] * 5000, [3]], [[4], []])], tmp_path / "part")
    found = open_encoded(tmp_path / "part")
    sent = pickle.dumps(found)
    assert len(sent) < 500
    assert_same(pickle.loads(sent), found)
    process = elsewhere("print(type(given[0].tokens).__name__, given[0].tokens.sum())", found)
    assert said(process) == "memmap 5003"


def test_files_of_a_model_without_numbers(tmp_path):
    write_encoded([tweets_of([[1], [2], [3]], width=0)] * 2, tmp_path / "part")
    found = open_encoded(tmp_path / "part")
    assert found.features.shape == (6, 0) and found.features.dtype == np.float32 and found.pictures.shape == (0,)
    assert found.features[[0, 5]].shape == (2, 0)
    assert found.statistics.shape == (6, 2, 0) and found.history[[0, 5]].shape == (2, 2, 0, 3)
    assert found.history_valid.dtype == bool and found.history_valid.shape == (6, 2, 0)


# --- once


def counted(chunks, taken):
    for number, chunk in enumerate(chunks):
        taken.append(number)
        yield chunk


@pytest.fixture
def once(tmp_path):
    """Asks for chunks of encoded rows; returns what is mapped and how many chunks were encoded for it."""

    def ask(chunks, facts=b"facts"):
        taken = []
        return encoded_once(counted(chunks, taken), tmp_path / "new" / "part", facts), len(taken)

    return ask


CHUNKS = [tweets_of([[1, 2], [3]], [[4], []]), tweets_of([[5]], [[6]]), tweets_of([[7], [8]])]


def test_what_is_there_is_not_encoded_again(once):
    first, taken = once(CHUNKS)
    assert taken == 3 and len(first) == 5
    again, taken = once(CHUNKS)
    assert taken == 1
    assert_same(again, first)


@pytest.mark.parametrize("name", FIELDS)
def test_another_first_chunk_is_written_anew(once, name):
    old, _ = once(CHUNKS)
    changed = {field: getattr(CHUNKS[0], field) for field in FIELDS}
    if name not in ("offsets", "picture_offsets"):
        changed[name] = ~changed[name] if name == "history_valid" else changed[name] + 1
    elif name == "offsets":
        changed[name] = np.array([0, 1, 3])
    else:
        changed[name] = np.array([0, 0, 1])
    new, taken = once([EncodedTweets(**changed), *CHUNKS[1:]])
    assert taken == 3
    assert not np.array_equal(getattr(new, name), getattr(old, name), equal_nan=True)
    assert old.tokens[:3].tolist() == [1, 2, 3]  # files that someone has mapped live on


def test_other_facts_are_written_anew(once):
    once(CHUNKS)
    new, taken = once([CHUNKS[0], CHUNKS[2]], b"other")
    assert taken == 2 and new.tokens.tolist() == [1, 2, 3, 7, 8]
    assert once(CHUNKS, b"facts")[1] == 3


def test_an_interrupted_writing_is_begun_again(once):
    def broken():
        yield CHUNKS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        once(broken())
    found, taken = once(CHUNKS)
    assert taken == 3 and len(found) == 5


def test_processes_share_one_encoding(tmp_path):
    code = (
        "from behavesim.data.encoded import encoded_once; "
        "print(encoded_once(iter(given[0]), given[1], b'facts').tokens.tolist())"
    )
    processes = [elsewhere(code, CHUNKS, tmp_path / "part") for _ in range(3)]
    assert [said(process) for process in processes] == ["[1, 2, 3, 5, 7, 8]"] * 3
