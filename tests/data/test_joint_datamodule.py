"""Questions on likes and requests to write, in the batches of one model."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from behavesim.data.datamodule import TweetDataModule
from behavesim.data.encode import LOOKED_AT
from behavesim.data.encoder_fit import EncoderSettings, WriterSettings
from behavesim.data.joint_datamodule import JointDataModule
from behavesim.data.loader import LoaderSettings
from behavesim.data.output import write_table
from behavesim.data.pictures.readers import Blind
from behavesim.data.prepare import prepare
from behavesim.data.split import SplitSettings

SPLIT = SplitSettings("random", 0.2, 0.2, 0)
LOADING = LoaderSettings(tokens_per_batch=900, num_workers=0, frames=0)
WRITER = WriterSettings(max_length=80, text_tokens=30, examples=2, conditioned=True)
ENCODING = EncoderSettings("ours", 64, 0, None, 400, history=2, writer=WRITER)


@pytest.fixture(scope="module")
def rows(tmp_path_factory, sample_frame, job_of):
    """Rows of a table of which some tweets have no text."""
    folder = tmp_path_factory.mktemp("joint")
    texts = pl.when(pl.int_range(pl.len()) % 9 == 0).then(pl.lit("")).otherwise("content")
    columns = {"media": pl.lit("[]"), "content": texts, "inferred company": pl.col("company")}
    table = sample_frame.with_columns(**columns).select("id", "date", "likes", "username", *columns)
    write_table(table, folder / "t.csv")
    return prepare(job_of(folder / "t.csv", folder / "made")).labelled()


@pytest.fixture(scope="module")
def build(rows, tmp_path_factory):
    def make(ratio=0.3, encoding=ENCODING, kind=JointDataModule, **options):
        joint = {"ratio": ratio} if kind is JointDataModule else {}
        options = {"split": SPLIT, "seed": 0, "folder": tmp_path_factory.mktemp("encoded"), **joint, **options}
        return kind(rows, Blind(), LOADING, encoding, **options)

    return make


@pytest.fixture(scope="module")
def data(build):
    return build()


def drawn(data, epoch):
    """Questions and requests of an epoch's batches, by their places among all of their kind."""
    loader = data.train_dataloader()
    loader.epoch = lambda: epoch
    found = np.sort(np.concatenate(list(loader.batches())))
    questions = len(data.parts["train"])
    return found[found < questions], found[found >= questions] - questions


@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.7])
def test_an_epoch_asks_every_question_and_its_share_of_requests(build, ratio):
    data = build(ratio)
    questions, requests = drawn(data, 0)
    assert questions.tolist() == list(range(len(data.parts["train"])))
    assert len(requests) == pytest.approx(ratio * (len(questions) + len(requests)), abs=1)


def test_requests_take_turns_over_the_epochs(data):
    count = len(data.texts["train"])
    seen = np.concatenate([drawn(data, epoch)[1] for epoch in range(12)])
    met = np.bincount(seen, minlength=count)
    assert met.min() >= 1 and met.max() - met.min() <= 1
    assert drawn(data, 1)[1].tolist() != drawn(data, 0)[1].tolist()


def test_a_question_has_no_answer_and_a_request_always_has_one(data):
    encoded, questions = data.encoded["train"], len(data.parts["train"])
    assert not encoded.answer_length[:questions].any() and encoded.answer_length[questions:].all()
    assert len(encoded) == questions + len(data.texts["train"])
    assert len(data.texts["train"]) < questions  # tweets without a text are asked of alone
    for batch in data.train_dataloader():
        written = batch.answer_length > 0
        assert torch.equal(written, batch.rows >= questions)


def test_questions_are_those_of_a_model_that_does_nothing_else(build, data):
    alone = build(kind=TweetDataModule)
    vars(alone)["encoder"] = data.encoder
    for part in ("train", "validation", "test"):
        for row in range(len(alone.encoded[part])):
            assert data.encoded[part].text(row).tolist() == alone.encoded[part].text(row).tolist()
        for name in ("features", "statistics", "prior", "history"):
            found = getattr(data.encoded[part], name)[: len(alone.encoded[part])]
            assert np.array_equal(found, getattr(alone.encoded[part], name)), name


def test_held_out_rows_come_twice(data):
    for loaders, part in ((data.val_dataloader(), "validation"), (data.test_dataloader(), "test")):
        questions, requests = (sorted(torch.cat([batch.rows for batch in loader]).tolist()) for loader in loaders)
        assert len(questions) == len(data.parts[part]) and len(requests) == len(data.texts[part])
        assert len(requests) == len(data.written[part])


def test_requests_are_told_nothing_that_hangs_on_the_text(data):
    requests = data.written["test"]
    wording = data.encoder.features.of_wording()
    assert wording.any() and not requests.features[:, : len(wording)][:, wording].any()
    assert not requests.statistics.any() and not requests.prior.any()
    assert data.encoded["test"].statistics.any()


def test_another_way_to_ask_is_encoded_anew(build, tmp_path):
    one = build(folder=tmp_path / "a").written["test"]
    asked = replace(ENCODING, writer=replace(WRITER, conditioned=False))
    other = build(encoding=asked, folder=tmp_path / "a").written["test"]
    assert other.lengths.sum() < one.lengths.sum()


def test_texts_are_examples_that_an_artifact_remembers(data, build):
    assert data.encoder.memory.posts["content"].null_count() == 0
    without = build(encoding=replace(ENCODING, writer=replace(WRITER, examples=0)))
    assert without.encoder.memory.posts["content"].null_count() == len(without.encoder.memory)


@pytest.mark.parametrize("kind", [JointDataModule, TweetDataModule])
@pytest.mark.parametrize("mode", ["none", "train", "rolling"])
def test_what_decoding_looks_at_is_earlier_and_known(build, kind, mode):
    encoding = replace(ENCODING, asks_likes=kind is JointDataModule, writer=replace(WRITER, looks_back=True))
    data = build(kind=kind, encoding=encoding, history=mode)
    columns = ("username", "date", "content")
    everything = {"validation": ["train", "validation"], "test": ["train", "validation", "test"]}
    for part, parts in everything.items():
        known = {"none": [], "train": ["train"], "rolling": parts}[mode]
        dataset, asked = data.requests(part).dataset, data.texts[part].frame(*columns)
        posts = pl.concat([asked.clear(), *(data.texts[name].frame(*columns) for name in known)])
        assert len(dataset) == asked.height
        for row, (name, date, _) in enumerate(asked.iter_rows()):
            earlier = posts.filter(pl.col("username") == name, pl.col("date") < date).sort("date", descending=True)
            ids = [text[text >= 0].tolist() for text in dataset[row].earlier[0]]
            texts = data.writer.read_texts([text for text in ids if text])
            assert texts == [text.strip() for text in earlier["content"].head(LOOKED_AT)]


def test_decoding_that_does_not_look_back_is_shown_nothing(data):
    assert data.requests("test").dataset[0].earlier is None
