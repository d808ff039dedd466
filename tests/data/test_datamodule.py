"""The data of a run: who is in which part, what is fitted on whom, and what an epoch holds."""

from collections import Counter
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from omegaconf import OmegaConf

from behavesim.cli import CONF
from behavesim.data import encoder_fit, prepared
from behavesim.data.batch import NUMBERS
from behavesim.data.datamodule import TweetDataModule
from behavesim.data.encoder_fit import EncoderSettings
from behavesim.data.features import Features
from behavesim.data.loader import LoaderSettings, tweet_loader
from behavesim.data.output import write_table
from behavesim.data.pictures.origins import ColumnPictures
from behavesim.data.pictures.readers import Blind, StoredPictures
from behavesim.data.prepare import prepare
from behavesim.data.split import SplitSettings
from behavesim.data.tokenizer import train_tokenizer
from behavesim.data.tweets import tweets
from behavesim.data.view import TOKEN_NAMES
from behavesim.described_model import data_facts
from behavesim.models.binning import LikesBins
from behavesim.training.module import targets_of

PARTS = pytest.mark.parametrize("part", ["train", "validation", "test"])
SPLIT = SplitSettings("random", 0.2, 0.2, 0)
LOADING = LoaderSettings(tokens_per_batch=600, num_workers=0, frames=1)
ENCODING = EncoderSettings(style="ours", max_length=64, answer_tokens=0, tokenizer=None, vocab_size=400, history=2)


@pytest.fixture(scope="module")
def build(sample_table, tmp_path_factory):
    """A module on the sample's rows, or on `rows`."""

    def make(rows=None, reader=None, encoding=ENCODING, split=SPLIT, loading=LOADING, seed=0, folder=None):
        rows = sample_table.labelled() if rows is None else rows
        reader = reader or StoredPictures(rows.table, 16)
        folder = folder or tmp_path_factory.mktemp("encoded") / "run"
        return TweetDataModule(rows, reader, loading, encoding, split=split, seed=seed, folder=folder)

    return make


@pytest.fixture(scope="module")
def data(build):
    return build()


def loader(data, part):
    return {"train": data.train_dataloader, "validation": data.val_dataloader, "test": data.test_dataloader}[part]()


@PARTS
def test_a_loader_yields_every_row_of_its_part_once(data, part):
    batches = list(loader(data, part))
    rows = torch.cat([batch.rows for batch in batches])
    frame = data.parts[part].frame()
    assert sorted(rows.tolist()) == list(range(frame.height)) and frame.height > 10
    likes = torch.cat([batch.likes for batch in batches])
    assert likes.tolist() == frame["likes"].gather(rows.numpy()).to_list()
    pictures = sum(0 if batch.pixel_values is None else len(batch.pixel_values) for batch in batches)
    assert pictures == (frame["images"].list.len() > 0).sum() > 0


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_over_all_ranks_an_epoch_holds_each_training_row_once(build, ranks, workers):
    data = build(loading=replace(LOADING, num_workers=workers, tokens_per_batch=300))
    parts = (data.encoded["train"], data.encoder, data.reader, data.settings)
    order = {"shuffle": True, "seed": 1, "epoch": lambda: 4, "world_size": ranks}
    epochs = [list(tweet_loader(*parts, **order, rank=rank)) for rank in range(ranks)]
    rows = [row for epoch in epochs for batch in epoch for row in batch.rows.tolist()]
    assert Counter(rows) == Counter(range(len(data.parts["train"]))) and len(set(map(len, epochs))) == 1


def test_rows_are_encoded_anew_where_the_pictures_of_late_rows_have_changed(build, sample_table, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "CHUNK", 20)
    late = StoredPictures(sample_table, 16)
    late.facts = "others"
    late.lists = lambda frame: frame["images"] if 0 in frame["row"] - 2 else Blind().lists(frame)
    found = [build(reader=reader, folder=tmp_path / "run").encoded["train"] for reader in (None, late)]
    assert found[0].picture_counts[20:].sum() > 0 == found[1].picture_counts[40:].sum()


def test_each_epoch_holds_the_training_rows_in_another_order(data):
    class Trainer:
        world_size, global_rank, overfit_batches, current_epoch = 1, 0, 0, 0

        class fit_loop:
            class epoch_loop:
                class batch_progress:
                    class current:
                        ready = 0

    ids = data.parts["train"].frame("id")["id"]
    orders = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "trainer", Trainer, raising=False)
        found = data.train_dataloader()
        for epoch in (0, 1, 2, 1):
            Trainer.current_epoch = epoch
            orders.append([ids[row] for batch in found for row in batch.rows.tolist()])
        Trainer.overfit_batches = 1
        assert data._epoch() == 0
    assert all(sorted(order) == sorted(ids) for order in orders)
    assert orders[0] != orders[1] != orders[2] and orders[1] == orders[3]


def test_training_batches_keep_the_budget(data):
    for batch in data.train_dataloader():
        assert batch.input_ids.numel() <= 600 or len(batch.rows) == 1
        assert (batch.attention_mask.sum(dim=1) <= 64).all()
        assert (batch.input_ids[batch.attention_mask == 0] == data.encoder.tokenizer.pad_token_id).all()


@pytest.mark.parametrize("kind", ["random", "unseen_time", "unseen_company"])
def test_parts_are_disjoint_and_cover_the_table(build, sample_table, kind):
    data = build(split=replace(SPLIT, kind=kind))
    positions = np.concatenate([rows.positions for rows in data.parts.values()])
    assert len(set(positions)) == len(positions) == len(sample_table) - data.split.dropped
    assert list(data.parts) == ["train", "validation", "test"] and all(len(rows) for rows in data.parts.values())
    assert data.train_likes.tolist() == data.parts["train"].frame("likes")["likes"].to_list()


def test_parts_are_places_among_the_rows_that_were_given(build, sample_table):
    some = sample_table.labelled()[10:]
    data = build(some)
    positions = np.concatenate([rows.positions for rows in data.parts.values()])
    assert sorted(positions) == list(range(10, 200))


def test_tokenizer_and_features_are_fitted_on_training_rows_alone(data):
    train = data.parts["train"].frame()
    encoder = data.encoder
    assert encoder.features == Features.fit(lambda: [train])
    assert (encoder.task.first, encoder.task.last) == (train["date"].min(), train["date"].max())
    prompts = [encoder.task.prompt(tweet).text for tweet in tweets(train)]
    assert encoder.tokenizer.get_vocab() == train_tokenizer(prompts, 400).get_vocab()


def test_chunks_change_nothing(build, data, monkeypatch):
    monkeypatch.setattr(prepared, "CHUNK", 9)
    other = build()
    for part in data.parts:
        one, two = data.encoded[part], other.encoded[part]
        assert (one.tokens == two.tokens).all() and (one.offsets == two.offsets).all()
        assert (one.pictures == two.pictures).all() and (one.picture_offsets == two.picture_offsets).all()
        assert (one.likes == two.likes).all()
        for name in NUMBERS:
            np.testing.assert_allclose(getattr(one, name), getattr(two, name), rtol=1e-4, atol=1e-5, err_msg=name)
    assert other.digest == data.digest


def test_encoded_rows_of_another_state_of_the_table_are_not_used(build, job_of, sample_source, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "CHUNK", 9)
    for lost in (10**6, 100):  # behind the first chunk, and no part of what a tweet is
        frame = pl.read_csv(sample_source).with_columns(pl.when(pl.int_range(pl.len()) < lost).then("local_path"))
        write_table(frame, tmp_path / "t.csv")
        origin = ColumnPictures("local_path", sample_source.parent)
        table = prepare(job_of(tmp_path / "t.csv", tmp_path / "made", origin))
        data = build(table.labelled(), folder=tmp_path / "run")
        for part, rows in data.parts.items():
            encoded = data.encoded[part]
            assert [encoded.images(row).tolist() for row in range(len(rows))] == rows.frame("images")[
                "images"
            ].to_list()


def test_a_tokenizer_is_learned_from_so_many_rows_at_most(build, data, monkeypatch):
    seen = []

    def learned(texts, vocab_size):
        seen.extend(texts)
        return data.encoder.tokenizer

    monkeypatch.setattr(encoder_fit, "TOKENIZER_ROWS", 20)
    monkeypatch.setattr(encoder_fit, "train_tokenizer", learned)
    other = build()
    assert other.encoder.tokenizer is data.encoder.tokenizer
    every = [other.encoder.task.prompt(tweet).text for tweet in tweets(other.parts["train"].frame())]
    step = 1 + len(every) // 20
    assert seen == every[::step] and 10 < len(seen) <= 20


def test_a_given_tokenizer_is_used(build, data):
    encoding = replace(ENCODING, tokenizer=data.encoder.tokenizer, answer_tokens=8)
    other = build(encoding=encoding)
    assert other.encoder.tokenizer is data.encoder.tokenizer and (other.encoded["test"].answer_length > 0).all()


def test_the_digest_tells_splits_and_tokenizers_apart(build, data):
    assert build().digest == data.digest
    others = [build(split=replace(SPLIT, seed=1)), build(encoding=replace(ENCODING, vocab_size=399))]
    assert len({data.digest, *(other.digest for other in others)}) == 3


def test_a_reader_decides_which_pictures_there_are(build):
    data = build(reader=Blind())
    assert all(encoded.picture_counts.sum() == 0 for encoded in data.encoded.values())
    assert next(iter(data.train_dataloader())).pixel_values is None


def test_encoded_rows_are_removed_when_that_is_asked(build):
    data = build()
    assert data.encoded["train"].folder.is_dir() and data.folder.is_dir()
    data.remove_encoded()
    data.remove_encoded()
    assert not data.folder.exists()


def test_held_out_batches_are_larger(build):
    data = build(loading=replace(LOADING, rows_per_batch=2))
    sizes = {part: Counter(len(batch.rows) for batch in loader(data, part)) for part in ("train", "test")}
    assert max(sizes["train"]) == 2 and max(sizes["test"]) == 16


def test_workers_give_the_same_batches(build, data):
    with_workers = build(loading=replace(LOADING, num_workers=1))
    for one, other in zip(data.val_dataloader(), with_workers.val_dataloader(), strict=True):
        assert torch.equal(one.rows, other.rows) and torch.equal(one.input_ids, other.input_ids)
        assert torch.equal(one.pixel_values, other.pixel_values)


def test_a_model_runs_on_a_real_batch(data, tiny_model):
    task = OmegaConf.load(CONF / "task" / "behaviour.yaml")
    facts = data_facts({"model": {}, "task": task}, data.encoder, LikesBins.fit(data.train_likes, 12))
    model = tiny_model(facts=facts)
    assert facts.history == (2, len(TOKEN_NAMES))
    batch = next(iter(data.train_dataloader()))
    with torch.no_grad():
        loss, estimates = model.score(batch.inputs(), targets_of(batch))
    assert loss.isfinite()
    assert all(len(values) == len(batch.rows) and torch.isfinite(values).all() for values in estimates.values())
