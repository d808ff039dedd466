"""Going on with a training that was cut off anywhere.

The trainer's own loops, our batches and a model of two weights: each training takes a moment, so that it can be cut
off in many places.
"""

from functools import partial
from types import SimpleNamespace

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint

from behavesim.data.batch import Batch
from behavesim.data.batching import plan_batches
from behavesim.data.loader import TweetLoader
from behavesim.data.view import STATISTICS
from behavesim.training.last_checkpoint import LastCheckpoint
from behavesim.training.likes_module import LikesModule

pytestmark = pytest.mark.filterwarnings("ignore")  # of few workers, and of a folder that is not empty

ROWS = 40
DRAWN = np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float32)
LIKES = np.exp(DRAWN @ [1, 2, 0] + 3).astype(np.float32)
LENGTHS = np.random.default_rng(1).integers(5, 20, ROWS)
HOOKS = (
    *("on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_before_zero_grad", "on_train_batch_end"),
    *("on_validation_start", "on_validation_batch_end", "on_validation_end"),
    *("on_train_epoch_end", "on_save_checkpoint", "on_train_end"),
)
WAYS = {
    "each step": {"every": 1},
    "some steps": {"every": 3},
    "gathered gradients": {"every": 1, "accumulate_grad_batches": 2},
    "validation inside an epoch": {"every": 2, "accumulate_grad_batches": 3, "val_check_interval": 4},
    "validation of every other epoch": {"every": 2, "check_val_every_n_epoch": 2},
    "few batches": {"every": 2, "limit_train_batches": 5},
    "limited steps": {"every": 2, "max_steps": 22},
    "no steps": {"every": 1000},
}


class Rows:
    def __getitems__(self, rows):
        views = (len(rows), 4)
        return Batch(
            rows=torch.tensor(rows),
            features=torch.from_numpy(DRAWN[rows]),
            likes=torch.from_numpy(LIKES[rows]),
            statistics=torch.zeros(*views, len(STATISTICS)),
            prior=torch.zeros(views),
            history=torch.zeros(*views, 0, 0),
            history_valid=torch.zeros(*views, 0, dtype=torch.bool),
            **dict.fromkeys(("input_ids", "attention_mask", "answer_length", "pixel_values", "image_slot")),
        )


class Line(torch.nn.Module):
    """A line with dropout, which tells training steps that draw differently."""

    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(3, 1)

    def loss(self, inputs, targets):
        dropped = torch.nn.functional.dropout(inputs["features"], 0.3, training=self.training)
        return (self.line(dropped)[:, 0] - targets.likes.log1p()).square().mean()

    def score(self, inputs, targets):
        found = self.line(inputs["features"])[:, 0].exp()
        return self.loss(inputs, targets), {"mean": found, "logmean": found, "median": found}


class Cut(BaseException):
    """Nothing catches it, as nothing catches a kill."""


def cutter(base):
    """A callback that counts its calls and ends training at one of them; `base` decides whether it comes last."""

    def called(name, cut, *_):
        cut.calls.append(name)
        if len(cut.calls) == cut.at:
            raise Cut

    def __init__(cut, at=None):
        cut.at, cut.calls = at, []

    hooks = {name: (lambda cut, *args, name=name: called(name, cut, *args)) for name in HOOKS}
    return type(f"Cutter{base.__name__}", (base,), {"__init__": __init__, **hooks})


First, Last = cutter(Callback), cutter(Checkpoint)


class Record(Callback):
    """Rows and rate of each batch, and the score of each validation; what is repeated must be the same."""

    def __init__(self):
        self.seen = {}

    def on_train_batch_start(self, trainer, _module, batch, index):
        self._keep((trainer.current_epoch, index), (batch.rows.tolist(), trainer.optimizers[0].param_groups[0]["lr"]))

    def on_validation_end(self, trainer, _module):
        self._keep(("validation", trainer.global_step), float(trainer.callback_metrics["val/rmsle"]))

    def _keep(self, place, found):
        assert self.seen.setdefault(place, found) == found, place


def train(folder, record, *cuts, every, ckpt_path=None, **settings):
    """Train, until a cut, and give what is left."""
    torch.manual_seed(0)
    optimizer = partial(torch.optim.AdamW, lr=0.1)
    module = LikesModule(Line(), optimizer, warmup=0.1, schedule="cosine", data_digest="a", seed=5)
    best = ModelCheckpoint(folder, "{epoch}-{step}", "val/rmsle", mode="min", enable_version_counter=False)
    first, last = ([cut for cut in cuts if isinstance(cut, kind)] for kind in (First, Last))
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[*first, record, best, LastCheckpoint(folder, every), *last],
        use_distributed_sampler=False,
        reload_dataloaders_every_n_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **({"max_epochs": 3} | settings),
    )
    epoch, progress = (lambda: trainer.current_epoch), trainer.fit_loop.epoch_loop.batch_progress.current
    loader = TweetLoader(Rows(), partial(plan, shuffle=True), epoch=epoch, start=lambda: progress.ready)
    held_out = TweetLoader(Rows(), partial(plan, shuffle=False))
    torch.rand(3 if ckpt_path else 1)  # what came before a training must not matter
    try:
        trainer.fit(module, loader, held_out, ckpt_path=ckpt_path, weights_only=True)
    except Cut:
        return None
    return SimpleNamespace(trainer=trainer, best=best, weights=module.state_dict(), seen=record.seen)


def plan(epoch, *, shuffle):
    return plan_batches(LENGTHS, 70, shuffle=shuffle, epoch=epoch)


def weights_of(path):
    return torch.load(path, weights_only=True)["state_dict"]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.parametrize("way", WAYS)
def test_a_training_cut_off_anywhere_ends_where_an_uninterrupted_one_does(tmp_path, way):
    counters = First(), Last()
    settings = WAYS[way]
    whole = train(tmp_path / "whole", Record(), *counters, **settings)
    assert len(whole.seen) > 15
    places = [(kind, at) for kind in (First, Last) for at in range(1, len(counters[0].calls) + 1)]
    went_on = 0
    for kind, at in places[:: len(places) // 9]:
        folder, record = tmp_path / f"{kind.__name__}{at}", Record()
        assert train(folder, record, kind(at), **settings) is None
        if not (folder / "last.ckpt").exists():
            continue
        went_on += 1
        found = train(folder, record, ckpt_path=folder / "last.ckpt", **settings)
        place = f"{kind.__name__} {at}: {counters[kind is Last].calls[at - 1]}"
        assert same(found.weights, whole.weights), place
        assert found.seen == whole.seen, place
        assert found.trainer.global_step == whole.trainer.global_step, place
        assert found.best.best_model_score == whole.best.best_model_score, place
        assert same(weights_of(found.best.best_model_path), weights_of(whole.best.best_model_path)), place
        left, expected = (sorted(path.name for path in (tmp_path / name).iterdir()) for name in (folder.name, "whole"))
        assert left == expected, place
    assert went_on > 3


def test_a_training_cut_short_by_its_steps_goes_on_inside_the_epoch(tmp_path):
    train(tmp_path / "a", record := Record(), every=1000, max_steps=13)
    last = tmp_path / "a" / "last.ckpt"
    found = train(tmp_path / "a", short := Record(), every=1000, max_steps=22, ckpt_path=last)
    whole = train(tmp_path / "b", Record(), every=1000, max_steps=22)
    assert found.trainer.global_step == 22 and not set(record.seen) & set(short.seen)
    batches = [{place for place in seen if place[0] != "validation"} for seen in (record.seen | short.seen, whole.seen)]
    assert batches[0] == batches[1]


def test_a_checkpoint_that_fails_leaves_the_earlier_one_whole(tmp_path, monkeypatch):
    written = []

    def save(self, path, *_):
        path.write_text("new" if written else "old")
        written.append(path)
        if len(written) > 1:
            raise Cut

    trainer = lightning.Trainer(accelerator="cpu", logger=False, callbacks=[LastCheckpoint(tmp_path)])
    monkeypatch.setattr(type(trainer), "save_checkpoint", save)
    [callback] = [found for found in trainer.callbacks if isinstance(found, LastCheckpoint)]
    callback.on_train_epoch_end(trainer, None)
    with pytest.raises(Cut):
        callback.on_train_epoch_end(trainer, None)
    assert (tmp_path / "last.ckpt").read_text() == "old"


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path, monkeypatch):
    def save(self, path, *_):
        path.mkdir()
        (path / str(len(written))).touch()
        written.append(path)

    written = []
    trainer = lightning.Trainer(accelerator="cpu", logger=False, callbacks=[LastCheckpoint(tmp_path)])
    monkeypatch.setattr(type(trainer), "save_checkpoint", save)
    [callback] = [found for found in trainer.callbacks if isinstance(found, LastCheckpoint)]
    for _ in range(2):
        callback.on_train_epoch_end(trainer, None)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    assert [path.name for path in (tmp_path / "last.ckpt").iterdir()] == ["1"]
