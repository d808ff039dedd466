"""Image features are written row by row as they are mapped, all of them or none."""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavesim.data.pictures.features import FeatureStore, FeatureWriter
from behavesim.errors import UserError

STATES = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
IDS = ["7", "9", "7", "12"]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_what_is_written_is_found_again(data):
    tokens, width = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
    blocks = data.draw(st.lists(st.lists(text, max_size=4), min_size=1, max_size=5).filter(any))
    dtype = data.draw(st.sampled_from([np.float16, np.float32]))
    ids = [tweet for block in blocks for tweet in block]
    states = np.random.default_rng(1).standard_normal((len(ids), tokens, width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path, written = Path(folder) / "new" / "states.npz", 0
        with FeatureWriter(path, rows=len(ids), tokens=tokens, width=width, dtype=dtype) as writer:
            for block in blocks:
                writer.add(block, states[written : written + len(block)])
                written += len(block)
            assert not path.exists()
        assert [file.name for file in path.parent.iterdir()] == ["states.npz"]
        store = FeatureStore.open(path)
        assert isinstance(store.embeddings, np.memmap) and store.dtype == dtype
        assert np.array_equal(store.embeddings, states.astype(dtype)) and store.ids.tolist() == ids
        assert np.array_equal(np.load(path)["image_embedding"], store.embeddings)  # checksums too
        offsets, positions = store.positions([*ids, "\0"])
        for row, tweet in enumerate(ids):
            lines = positions[offsets[row] : offsets[row + 1]].tolist()
            assert lines == [line for line, other in enumerate(ids) if other == tweet]
        assert offsets[-1] == offsets[-2]


def test_whole_numbers_are_written_as_text(tmp_path):
    with FeatureWriter(tmp_path / "s.npz", rows=4, tokens=3, width=5) as writer:
        writer.add(pl.Series([1, 2]), STATES[:2])
        writer.add(np.array([3, 2]), STATES.astype(np.float64)[2:])
    store = FeatureStore.open(tmp_path / "s.npz")
    assert store.ids.tolist() == ["1", "2", "3", "2"] and np.array_equal(store.embeddings, STATES)


@pytest.mark.parametrize("ids", [IDS[:3], [*IDS, "5"]])
def test_another_number_of_lines_leaves_what_was_there(tmp_path, ids):
    path = tmp_path / "s.npz"
    path.write_text("before")
    with pytest.raises(ValueError, match=f"{len(ids)} lines were written, 4 announced"):  # noqa: SIM117
        with FeatureWriter(path, rows=4, tokens=3, width=5) as writer:
            writer.add(ids, np.zeros((len(ids), 3, 5)))
    assert path.read_text() == "before" and [*tmp_path.iterdir()] == [path]


def test_a_block_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), FeatureWriter(tmp_path / "s.npz", rows=4, tokens=3, width=5) as writer:
        writer.add(IDS, STATES)
        raise KeyError
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("value", [7e4, -np.inf, np.nan])
def test_values_that_the_file_cannot_hold_are_refused(tmp_path, value):
    states = STATES.copy()
    states[1, 2, 3] = value
    with FeatureWriter(tmp_path / "s.npz", rows=4, tokens=3, width=5, dtype=np.float16) as writer:
        with pytest.raises(UserError, match="tweet 9: found a value that is no float16; accepted: finite"):
            writer.add(IDS, states)
        writer.add(IDS, STATES)
    assert len(FeatureStore.open(tmp_path / "s.npz")) == 4


def test_states_of_another_shape_are_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="shape"), FeatureWriter(tmp_path / "s.npz", rows=4, tokens=3, width=5) as file:
        file.add(IDS, STATES[:, :2])


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/s.npz: cannot be written: \w"):
        FeatureWriter(tmp_path / "file" / "s.npz", rows=4, tokens=3, width=5).__enter__()
