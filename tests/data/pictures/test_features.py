"""Image features in an .npz file: mapped, found by id, and refused where they are no features."""

import mmap
import pickle
import struct
import zipfile

import numpy as np
import polars as pl
import pytest

from behavesim.data.pictures.features import FeatureStore
from behavesim.errors import UserError

STATES = np.random.default_rng(0).standard_normal((4, 3, 5)).astype(np.float32)
IDS = ["7", "9", "7", "12"]


@pytest.fixture
def saved(tmp_path):
    """Writer of an .npz of these arrays, as a user's script would."""

    def write(save=np.savez, **arrays):
        save(tmp_path / "states.npz", **{"id": np.array(IDS), "image_embedding": STATES} | arrays)
        return tmp_path / "states.npz"

    return write


def mapping(array):
    """What holds an array's memory in the end."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_features_are_mapped_and_read_as_float32(saved, dtype, order):
    states = np.asarray(STATES, dtype=dtype, order=order)
    store = FeatureStore.open(saved(image_embedding=states))
    assert (len(store), store.tokens, store.width, store.dtype) == (4, 3, 5, np.dtype(dtype))
    assert isinstance(store.embeddings, np.memmap) and isinstance(mapping(store.embeddings), mmap.mmap)
    assert not store.embeddings.flags.writeable
    assert store.ids.tolist() == IDS
    for line in range(4):
        found = store.load(line)
        assert type(found) is np.ndarray and found.dtype == np.float32 and found.dtype.isnative
        assert found.flags.writeable and np.array_equal(found, states[line].astype(np.float32))


def test_one_vector_a_picture_is_one_token(saved):
    store = FeatureStore.open(saved(image_embedding=STATES[:, 0]))
    assert (store.tokens, store.width) == (1, 5)
    assert isinstance(mapping(store.embeddings), mmap.mmap)
    assert np.array_equal(store.load(2), STATES[2, :1])


def test_the_place_of_the_bytes_is_read_off_the_file_itself(saved, tmp_path):
    """Extra fields before the bytes, which the archive's directory does not show, and other things before the zip."""
    plain = saved()
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "extra.npz", "w") as new:
        for name in ("id.npy", "image_embedding.npy"):
            info = zipfile.ZipInfo(name)
            info.extra = struct.pack("<HH4s", 0x4B41, 4, b"abcd")
            new.writestr(info, old.read(name))
            info.extra = b""  # the directory is written last
    with zipfile.ZipFile(tmp_path / "extra.npz") as new:
        assert not new.getinfo("image_embedding.npy").extra
    (tmp_path / "behind.npz").write_bytes(b"something else" + plain.read_bytes())
    for name in ("extra.npz", "behind.npz"):
        store = FeatureStore.open(tmp_path / name)
        assert np.array_equal(store.embeddings, STATES) and isinstance(store.embeddings, np.memmap)


def test_compressed_features_are_read_and_said_to_be(saved, caplog):
    with caplog.at_level("INFO", logger="behavesim"):
        store = FeatureStore.open(saved(np.savez_compressed))
        copy = pickle.loads(pickle.dumps(store))
    assert np.array_equal(store.embeddings, STATES) and not isinstance(store.embeddings, np.memmap)
    assert np.array_equal(copy.load(1), STATES[1])
    assert [record.getMessage() for record in caplog.records] == [
        f"{store.path}: image_embedding is compressed and is read into memory, 0 MiB; np.savez maps"
    ]


def test_lines_of_a_tweet_come_in_the_files_order(saved):
    store = FeatureStore.open(saved())
    offsets, positions = store.positions(["12", "7", "none", "7", "07"])
    assert offsets.tolist() == [0, 1, 3, 3, 5, 5] and positions.tolist() == [3, 0, 2, 0, 2]
    assert offsets.dtype == positions.dtype == np.int64


@pytest.mark.parametrize("dtype", [str, np.int64, np.uint64, np.int32])
def test_ids_are_compared_as_text(saved, dtype):
    store = FeatureStore.open(saved(id=np.array(IDS, dtype=dtype)))
    asked = ["9", "7"]
    for ids in (asked, pl.Series(asked), pl.Series([9, 7]), pl.Series(asked, dtype=pl.Categorical)):
        offsets, positions = store.positions(ids)
        assert (offsets.tolist(), positions.tolist()) == ([0, 1, 3], [1, 0, 2])


def test_large_ids_keep_their_digits(saved):
    large = [2**63 - 1, 2**63 - 2, -(2**63), 1019222888000000001]
    store = FeatureStore.open(saved(id=np.array(large)))
    assert store.positions([str(value) for value in large])[1].tolist() == [0, 1, 2, 3]


def test_no_tweets_and_tweets_without_an_id(saved):
    store = FeatureStore.open(saved())
    for ids in ([], pl.Series([], dtype=pl.String)):
        offsets, positions = store.positions(ids)
        assert (offsets.tolist(), positions.tolist(), positions.dtype) == ([0], [], np.int64)
    offsets, positions = store.positions(pl.Series([None, "9", None]))
    assert (offsets.tolist(), positions.tolist()) == ([0, 0, 1, 1], [1])


def test_a_copy_in_another_process_maps_the_file_anew(saved):
    store = FeatureStore.open(saved(image_embedding=np.zeros((4, 1000, 50), np.float32)))
    sent = pickle.dumps(store)
    assert len(sent) < 1000
    copy = pickle.loads(sent)
    assert isinstance(mapping(copy.embeddings), mmap.mmap)
    assert copy.positions(["7"])[1].tolist() == [0, 2]


OBJECTS = np.array(IDS, dtype=object)
REFUSED = {
    "no id": ({"id": None}, "found no id among image_embedding"),
    "no states": ({"image_embedding": None}, "found no image_embedding among id"),
    "lengths": ({"id": np.array(["1"])}, r"found 1 ids and image_embedding \[4, 3, 5\]"),
    "one axis": ({"image_embedding": STATES[:, 0, 0]}, r"found image_embedding \[4\]"),
    "four axes": ({"image_embedding": STATES[None]}, r"found image_embedding \[1, 4, 3, 5\]"),
    "nothing": ({"id": np.array([], str), "image_embedding": STATES[:0]}, r"found image_embedding \[0, 3, 5\]"),
    "no width": ({"image_embedding": STATES[:, :, :0]}, r"found image_embedding \[4, 3, 0\]"),
    "whole numbers": ({"image_embedding": STATES.astype(int)}, "found image_embedding int64, no floats"),
    "complex": ({"image_embedding": STATES + 0j}, "found image_embedding complex64, no floats"),
    "objects": ({"image_embedding": STATES.astype(object)}, "found Python objects in image_embedding"),
    "object ids": ({"id": OBJECTS}, r"found Python objects in id, not numbers or text \(np.array\(values, dtype=str"),
    "float ids": ({"id": np.arange(4.0)}, r"found id float64 \[4\]"),
    "bytes": ({"id": np.array(IDS, "S")}, r"found id \|S2 \[4\]"),
    "id matrix": ({"id": np.array([IDS])}, r"found id <U2 \[1, 4\]"),
}


def refusal(path):
    with pytest.raises(UserError) as caught:
        FeatureStore.open(path)
    message = str(caught.value)
    assert message.startswith(f"data.image_features: {path}: ") and len(message.splitlines()) == 1
    assert message.endswith("; accepted: an .npz file with id [N] and image_embedding [N, width] or [N, tokens, width]")
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_store_is_refused(tmp_path, case, save):
    replaced, reason = REFUSED[case]
    arrays = {"id": np.array(IDS), "image_embedding": STATES} | replaced
    save(tmp_path / "states.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(UserError, match=reason):
        FeatureStore.open(tmp_path / "states.npz")
    refusal(tmp_path / "states.npz")


def test_objects_are_never_unpickled(saved):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the file's code was run",)

    path = saved(id=np.array([Trap()] * 4))
    assert "Python objects" in refusal(path)


def test_missing_files_and_files_of_another_kind(tmp_path):
    np.save(tmp_path / "states.npy", STATES)
    (tmp_path / "empty.npz").touch()
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("id.npy", "no array")
        archive.writestr("image_embedding.npy", "no array")
    assert "No such file" in refusal(tmp_path / "none.npz")
    assert "Is a directory" in refusal(tmp_path)
    for name in ("states.npy", "empty.npz"):
        assert "File is not a zip file" in refusal(tmp_path / name)
    assert "magic string" in refusal(tmp_path / "text.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_damaged_files_are_refused(saved, save):
    path = saved(save)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        refusal(path)


def test_an_array_cut_off_inside_the_archive_is_refused(saved, tmp_path):
    with zipfile.ZipFile(saved()) as old, zipfile.ZipFile(tmp_path / "cut.npz", "w") as new:
        new.writestr("id.npy", old.read("id.npy"))
        new.writestr("image_embedding.npy", old.read("image_embedding.npy")[:-4])
    assert "bytes of image_embedding, not those of float32 (4, 3, 5)" in refusal(tmp_path / "cut.npz")


def test_the_embeddings_of_real_photos(shared):
    store = FeatureStore.open(shared / "data" / "clip_vit_b32_photos.npz")
    assert (len(store), store.tokens, store.width, store.dtype) == (3511, 1, 512, np.float16)
    table = pl.read_excel(shared / "data" / "behaviour_simulation_train.xlsx", columns=["id"])
    offsets, positions = store.positions(table["id"])
    assert np.array_equal(np.sort(positions), np.arange(3511))
    assert np.diff(offsets).max() == 1
    assert np.isfinite(store.embeddings).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_named_when_it_is_read(saved, value):
    states = STATES.copy()
    states[1, 2, 3] = value
    store = FeatureStore.open(saved(image_embedding=states))
    store.load(0)
    with pytest.raises(
        UserError, match=r"found NaN or infinity in image_embedding of id 9 \(line 2\); accepted: numbers"
    ):
        store.load(1)
