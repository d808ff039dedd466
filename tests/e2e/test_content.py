"""Writing tweets: training, prediction and evaluation, of models that do nothing else and of models that do both."""

import json
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from behavesim.artifact import load_artifact
from behavesim.cli import compose
from behavesim.data.content_task import SEPARATOR
from behavesim.data.encode import LOOKED_AT
from behavesim.data.output import write_table
from behavesim.data.tokenizer import load_tokenizer, marker_pieces
from behavesim.errors import UserError
from behavesim.export import export
from behavesim.metrics.agreement import by_agreement
from behavesim.models.llm import llm_config, random_llm
from behavesim.train import train

DRAWN = ("task=content", "task.decode=sampled", "task.alternatives=3", "task.text_tokens=12")
WRITING = {"text_tokens": 24, "max_length": 120, "examples": 2, "condition_on_likes": "true"}
CLOSE = {"rel_tol": 1e-3, "abs_tol": 0.01}


@pytest.fixture(scope="module")
def writer(tmp_path_factory, sizes, sample_overrides):
    """A training of one of the tasks: its `folder`, with `output` and `artifact`."""

    def run(task, place, *overrides):
        folder = tmp_path_factory.mktemp(task)
        own = [text for text in sizes if task == "joint" or not text.startswith("task.")]
        told = [f"{place}.{key}={value}" for key, value in WRITING.items()]
        where = [f"paths.output={folder / 'output'}", f"export_dir={folder / 'artifact'}", "run_name=w", "logger=none"]
        objective = train(compose("train", [f"task={task}", *own, *sample_overrides, *told, *where, *overrides]))
        return SimpleNamespace(output=folder / "output", artifact=folder / "artifact", objective=objective)

    return run


@pytest.fixture(scope="module")
def content(writer):
    return writer("content", "task", "optim.lr=3e-3", "trainer.max_epochs=3")


@pytest.fixture(scope="module")
def joint(writer):
    return writer("joint", "task.content")


def metrics_of(run):
    return json.loads((run.output / "metrics.json").read_text())


@pytest.mark.parametrize("kind", ["content", "joint"])
def test_training_ends_with_texts_beside_guesses(kind, request, tweets):
    run = request.getfixturevalue(kind)
    found, texts = metrics_of(run), pl.read_csv(run.output / "texts.csv")
    assert found["texts"] == texts.height and found["empty_texts"] == 0
    posted = dict(tweets.select("id", "content").iter_rows())
    assert all(posted[number] == text for number, text in texts.select("id", "posted").iter_rows())
    for name in ("written", "nearest_in_time", "random_tweet"):
        assert texts[name].null_count() == 0 and texts[name].str.strip_chars().str.len_chars().min() > 0
    assert not texts["written"].str.contains(SEPARATOR, literal=True).any()
    assert ("rmsle" in found) == (kind == "joint")
    printed = (run.output / "results.txt").read_text()
    assert all(word in printed for word in ("rouge_l", "cider", "nearest in time", "random tweet"))


@pytest.mark.parametrize("kind", ["content", "joint"])
def test_each_epoch_has_a_page_of_previews(kind, request):
    run = request.getfixturevalue(kind)
    pages = sorted((run.output / "previews").iterdir())
    assert [path.name for path in pages] == [f"epoch={epoch}.html" for epoch in range(len(pages))] and pages
    page = pages[-1].read_text()
    assert page.count("<article>") == 8 and "data:image/png;base64," in page and " of " in page


@pytest.fixture
def published(here, published_tokenizer, tiny_checkpoint):
    """Overrides of a published model, whose tokenizer knows no markers, in the folder `llm`."""
    tokenizer = published_tokenizer()
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    random_llm(llm_config({"model_type": "llama", "vocab_size": len(tokenizer), **shape})).save_pretrained("llm")
    tokenizer.save_pretrained("llm")
    return ["model=git_hf", "model.llm=llm", *tiny_checkpoint.vision, "model.weights_dtype=float32", "logger=none"]


def words_of(folder):
    """Embeddings of an artifact's tokens, and the pieces of its markers."""
    artifact = load_artifact(Path(folder))
    return artifact.model.llm.get_input_embeddings().weight, marker_pieces(artifact.encoder.tokenizer)


def test_a_published_model_has_the_markers_as_tokens(published, sample_overrides):
    settings = ["task=content", "task.text_tokens=24", "trainer.max_steps=2", "run_name=w"]
    train(compose("train", [*published, *settings, *sample_overrides]))
    words, pieces = words_of("checkpoints/w")
    assert len(words) == load_tokenizer(Path("llm")).vocab_size + 2 and len(pieces) == 2
    for token, parts in pieces.items():  # of frozen weights, which the artifact leaves out
        assert torch.allclose(words[token], words[parts].mean(dim=0))
    assert not [name for name in load_file("checkpoints/w/model.safetensors") if "embed_tokens" in name]
    likes = ["trainer.max_steps=1", "run_name=likes", "init_from=checkpoints/w"]
    train(compose("train", [*published, *likes, *sample_overrides]))  # of the same tokenizer, whose ids need rows
    assert len(words_of("checkpoints/likes")[0]) == len(words)
    for name in ("w", "likes"):
        with pytest.raises(UserError, match=r"^format: found adapter, .* has tokens that .*llm has not .*: merged$"):
            export(compose("export", [f"ckpt=checkpoints/{name}", "output=exported", "format=adapter"]))


def test_words_that_were_trained_stay_where_tokens_come_to_them(published, sample_overrides):
    whole = [*published, "model.lora.r=0", "model.train=[projector,llm,head]", "optim.lr=1e-2", *sample_overrides]
    train(compose("train", [*whole, "trainer.max_steps=2", "run_name=likes"]))
    trained, _ = words_of("checkpoints/likes")
    still = ["task=content", "task.text_tokens=24", "trainer.max_steps=1", "optim.lr=1e-12", "run_name=w"]
    train(compose("train", [*whole, *still, "init_from=checkpoints/likes"]))
    words, pieces = words_of("checkpoints/w")
    assert len(words) == len(trained) + 2 and torch.allclose(words[: len(trained)], trained, atol=1e-6)
    # And a published model that has the markers keeps what it knows of them.
    export(compose("export", ["ckpt=checkpoints/w", "output=known", "format=merged"]))
    llm = AutoModelForCausalLM.from_pretrained("known")
    with torch.no_grad():
        llm.get_input_embeddings().weight[list(pieces)] = 0.5
    llm.save_pretrained("known")
    train(compose("train", [*whole, *still, "model.llm=known"]))
    assert torch.allclose(words_of("checkpoints/w")[0][list(pieces)], torch.tensor(0.5), atol=1e-6)


def test_a_model_that_only_predicts_likes_has_no_previews(trained):
    assert not (trained.output / "previews").exists()


def test_what_is_trained_on_becomes_likelier(content, writer):
    before = writer("content", "task", "trainer.max_steps=1")
    assert content.objective < before.objective - 0.3
    assert metrics_of(content)["perplexity"] < metrics_of(before)["perplexity"]


def test_a_text_is_neither_needed_nor_read(content, predict, tweets):
    given = ("task=content", f"ckpt={content.artifact}")
    expected = predict(tweets, *given)
    assert expected.columns == ["id", "content"] and expected["id"].to_list() == tweets["id"].to_list()
    assert expected["content"].str.strip_chars().str.len_chars().min() > 0
    assert_frame_equal(predict(tweets.drop("content"), *given), expected)
    assert_frame_equal(predict(tweets.with_columns(content=pl.lit("something else")), *given), expected)


def test_the_level_is_that_of_known_likes_or_the_one_that_is_asked_for(content, predict, tweets):
    given = (f"ckpt={content.artifact}", *DRAWN)
    unlabelled = tweets.drop("likes").head(30)
    highest = predict(unlabelled, *given)
    assert_frame_equal(predict(unlabelled, *given, "task.level=highest"), highest)
    assert (predict(unlabelled, *given, "task.level=low")["content"] != highest["content"]).sum() > 45
    assert (predict(tweets.head(30), *given)["content"] != highest["content"]).sum() > 15


def test_alternatives_are_ranked(content, predict, tweets):
    found = predict(tweets.head(20), f"ckpt={content.artifact}", *DRAWN)
    assert found.columns == ["id", "rank", "content"] and found["rank"].to_list() == [1, 2, 3] * 20
    assert found["id"].unique(maintain_order=True).to_list() == tweets["id"].head(20).to_list()
    assert found["content"].n_unique() > 40


def test_consensus_is_the_draw_that_is_nearest_to_the_account_s_earlier_tweets(content, predict, tweets):
    given = (f"ckpt={content.artifact}", "task=content", "task.text_tokens=12")
    drawn = predict(tweets, *given, "task.decode=sampled", "task.alternatives=4")
    chosen = predict(tweets, *given, "task.decode=consensus", "task.draws=4")
    two = predict(tweets, *given, "task.decode=consensus", "task.draws=4", "task.alternatives=2")
    every = predict(tweets, *given, "task.decode=consensus", "task.draws=4", "task.alternatives=4")
    assert chosen.columns == ["id", "content"] and two["rank"].to_list() == [1, 2] * tweets.height
    posts = load_artifact(content.artifact).history.posts.sort("date")
    times = tweets["date"].str.to_datetime(time_zone=posts["date"].dtype.time_zone)
    for number, name, time in zip(tweets["id"], tweets["username"], times, strict=True):
        earlier = posts.filter(pl.col("username") == name, pl.col("date") < time)["content"].tail(LOOKED_AT).to_list()
        of_row = drawn.filter(pl.col("id") == number)["content"].to_list()
        best = [of_row[place] for place in by_agreement(of_row, earlier)]
        assert chosen.filter(pl.col("id") == number)["content"].to_list() == best[:1]
        assert two.filter(pl.col("id") == number)["content"].to_list() == best[:2]
        assert every.filter(pl.col("id") == number)["content"].to_list() == best


def test_copying_takes_from_the_account_s_earlier_tweets(content, predict, tweets):
    given = (f"ckpt={content.artifact}", "task=content", "task.decode=sampled", "task.text_tokens=24")
    free, copied = (predict(tweets, *given, f"task.copying={share}")["content"] for share in (0, 0.95))
    posts = load_artifact(content.artifact).history.posts.sort("date")
    shared = {"free": 0, "copied": 0}
    for row, (name, date) in enumerate(tweets.select("username", "date").iter_rows()):
        time = pl.lit(date).str.to_datetime(time_zone="UTC")
        earlier = posts.filter(pl.col("username") == name, pl.col("date") < time)["content"].tail(LOOKED_AT).to_list()
        known = {word for text in earlier for word in text.split()}
        for kind, texts in (("free", free), ("copied", copied)):
            words = texts[row].split()
            shared[kind] += sum(word in known for word in words) / max(1, len(words))
    assert shared["copied"] > 2 * shared["free"] and free.n_unique() > 1


def test_a_joint_model_ranks_by_the_likes_that_it_expects(joint, predict, tweets):
    rows = tweets.head(15)
    found = predict(rows, f"ckpt={joint.artifact}", *DRAWN)
    assert found.columns == ["id", "rank", "content", "likes"]
    for (_,), group in found.group_by("id"):
        assert group.sort("rank")["likes"].is_sorted(descending=True)
    best = found.filter(pl.col("rank") == 1)
    said = rows.with_columns(content=best["content"])
    asked = predict(said, f"ckpt={joint.artifact}", "data.history=train")
    assert_frame_equal(asked.select("likes"), best.select("likes"), **CLOSE)


def test_a_joint_model_predicts_likes_unless_it_is_asked_to_write(joint, predict, tweets):
    found = predict(tweets.head(5), f"ckpt={joint.artifact}")
    assert_frame_equal(predict(tweets.head(5), f"ckpt={joint.artifact}", "task=behaviour"), found)
    assert "likes_p10" in found.columns


@pytest.mark.parametrize("kind", ["content", "joint"])
def test_an_evaluation_of_unseen_rows_is_that_of_the_test(kind, request, evaluate, tweets, here):
    run = request.getfixturevalue(kind)
    found = evaluate(tweets, "task=content", f"ckpt={run.artifact}")
    wanted = metrics_of(run)
    written = [pl.read_csv(file).sort("id") for file in (here / "outputs/evaluate/texts.csv", run.output / "texts.csv")]
    assert_frame_equal(*(each.select("id", "posted", "written") for each in written))
    assert {name: found[name] for name in ("rouge_l", "cider", "bleu_4")} == pytest.approx(
        {name: wanted[name] for name in ("rouge_l", "cider", "bleu_4")}
    )


def test_newer_posts_become_examples_of_later_tweets_alone(content, predict, tweets, here):
    row = tweets.filter(pl.col("username") == tweets["username"][0]).tail(1)
    asked = pl.concat([row.with_columns(date=pl.lit(date)) for date in ("2031-05-01 10:00:00", "2031-07-01 10:00:00")])
    newer = row.with_columns(date=pl.lit("2031-06-01 10:00:00"), content=pl.lit("quite another thing"), likes=pl.lit(5))
    write_table(newer.drop("local_path"), here / "newer.csv")
    given = (f"ckpt={content.artifact}", *DRAWN)
    known, told = predict(asked, *given), predict(asked, *given, f"history={here / 'newer.csv'}")
    same = known["content"] == told["content"]
    assert same.head(3).all() and not same.tail(3).any()  # draws hang on the request


@pytest.mark.parametrize(
    ("kind", "override", "line"),
    [
        ("trained", "task=content", r"task: found content; accepted: behaviour, or an artifact .* task=joint"),
        ("content", "task=behaviour", r"task: found behaviour; accepted: content, or an artifact .* task=joint"),
        (
            "content",
            "task.decode=greedy task.alternatives=2",
            r"task.alternatives: found 2 with task.decode=greedy; accepted: 1, or",
        ),
        (
            "content",
            "task.decode=consensus task.draws=1",
            r"task.draws: found 1 with .*=consensus; accepted: at",
        ),
        ("content", "task.samples=4", r"task.samples: found 4; accepted: null with task=content"),
        ("content", "task.decode=expected", r"task.decode: found expected; accepted: greedy, beam, sampled"),
        ("joint", "task.level=high", r"task.level: found high; accepted: null"),
    ],
)
def test_what_an_artifact_cannot_do_is_one_line(kind, override, line, request, predict, tweets):
    run = request.getfixturevalue(kind)
    with pytest.raises(UserError, match=f"^{line}") as caught:
        predict(tweets.head(2), f"ckpt={run.artifact}", *override.split())
    assert len(str(caught.value).splitlines()) == 1
