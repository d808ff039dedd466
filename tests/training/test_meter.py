"""What is counted of a process, and the figures of several."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from behavesim.models.flops import Flops, picture_places, training_flops
from behavesim.training import meter
from behavesim.training.meter import Meter, figures

CPU = torch.device("cpu")
SECONDS, WAITED, ROWS, POSITIONS, PLACES, DONE, POSSIBLE, MEMORY = range(8)


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when a test says so."""
    time = SimpleNamespace(now=100.0)
    time.perf_counter = lambda: time.now
    monkeypatch.setattr(meter, "time", time)

    def passes(seconds):
        time.now += seconds

    return passes


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model()


def counted(model, *batches):
    found = Meter(model, CPU, None, None)
    for batch in batches:
        found.step_starts()
        found.step_ends(batch)
    return found.totals()


def test_places_of_two_rows_by_hand(model, batch_of):
    """5 tokens of a picture and one of the numbers; the second row has no picture and a shorter text."""
    assert picture_places(model) == 5
    found = counted(model, batch_of([7, 4], {0: 1}))
    assert (found.rows, found.pictures) == (2, 1)
    assert found.positions == 2 * (5 + 1 + 7)
    assert found.places == (5 + 1 + 7) + (1 + 4)
    assert found.squares == 13**2 + 5**2
    assert found.answers == 0


batches = st.tuples(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.sets(st.integers(0, 7)))


SETTINGS = [{}, {"projector": "resampler"}, {"metadata": False}, {"frames": 2}, {"posts": 3}]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@given(shape=batches)
def test_what_is_counted_is_what_the_model_reads(tiny_model, data_facts, batch_of, settings, shape):
    lengths, slots = shape
    facts, posts = data_facts(), settings.get("posts", 0)
    facts = replace(facts, history=(posts, facts.history[1]))
    model = tiny_model(facts=facts, **{name: value for name, value in settings.items() if name != "posts"})
    pictures = {slot: slot for slot in slots if slot < len(lengths) * model.frames}
    batch = batch_of(lengths, pictures, history=posts or 2)
    embeddings, valid, *_ = model._sequence(**batch.inputs())
    found = counted(model, batch)
    assert found.positions == embeddings.shape[0] * embeddings.shape[1]
    assert found.places == valid.sum()
    assert found.squares == valid.sum(dim=1).square().sum()
    assert found.rows <= found.places <= found.positions


def test_answers_are_the_places_that_are_trained(tiny_model, data_facts, batch_of):
    batch = batch_of([7, 4], answer=2)
    for supervise, places in (("answer", 2 * 2), ("all", 6 + 3)):
        model = tiny_model(head="text", facts=data_facts(supervise=supervise))
        assert counted(model, batch).answers == places


def test_batches_add_up(model, batch_of):
    parts = [batch_of([7, 4], {0: 1}), batch_of([3])]
    one, other, both = counted(model, parts[0]), counted(model, parts[1]), counted(model, *parts)
    assert both[2:] == tuple(sum(pair) for pair in zip(one[2:], other[2:], strict=True))
    assert both.since(one)[2:] == other[2:]


def test_time_between_two_steps_is_waiting(model, batch_of, clock):
    found, batch = Meter(model, CPU, None, None), batch_of([3])
    clock(50)  # before the start
    found.resume()
    clock(1)
    for _ in range(2):
        found.step_starts()
        clock(10)
        found.step_ends(batch)
        clock(2)
    found.idle()  # what was done since the step was no waiting
    clock(3)
    found.step_starts()
    assert found.totals()[:2] == (1 + 2 * (10 + 2) + 3, 1 + 2 + 3)


def test_a_pause_is_neither_time_nor_waiting(model, batch_of, clock):
    found, batch = Meter(model, CPU, None, None), batch_of([3])
    found.step_starts()
    clock(10)
    found.step_ends(batch)
    found.pause()
    clock(100)
    found.pause()  # another thing that is done, no later start
    clock(100)
    assert found.totals().seconds == 10
    found.step_starts()
    clock(5)
    assert found.totals()[:2] == (15, 0)


def test_a_resumed_clock_counts_the_way_to_the_next_step(model, clock):
    found = Meter(model, CPU, None, None)
    found.resume()
    clock(4)
    found.step_starts()
    assert found.totals()[:2] == (4, 4)


def test_figures_of_two_processes_by_hand():
    shares = torch.tensor(
        [
            # seconds, waited, rows, positions, places, done, possible, memory
            [10.0, 1.0, 100, 4000, 3000, 6e9, 2e10, 1.5],
            [10.0, 3.0, 60, 4000, 2000, 4e9, 2e10, 2.5],
        ],
        dtype=torch.float64,
    )
    assert figures(shares) == pytest.approx(
        {
            "samples_per_second": 16,
            "tokens_per_second": 500,
            "padding_share": 3 / 8,
            "data_wait_share": 0.2,
            "peak_memory_gib": 2.5,
            "mfu": 0.25,
        }
    )


@pytest.mark.parametrize("unknown", [DONE, POSSIBLE])
def test_without_operations_or_a_peak_there_is_no_mfu(unknown):
    shares = torch.ones(2, 8, dtype=torch.float64)
    shares[1, unknown] = float("nan")
    assert "mfu" not in figures(shares) and "mfu" in figures(shares[:1])


@given(
    seconds=st.floats(1e-3, 1e5),
    processes=st.lists(
        st.tuples(st.floats(0, 1), st.integers(1, 10**6), st.integers(1, 10**9), st.floats(0.001, 1)), min_size=1
    ),
)
def test_figures_stay_in_their_bounds_and_add_up(seconds, processes):
    rows = [[seconds, seconds * wait, n, p, p * used, 1, 2, 1] for wait, n, p, used in processes]
    shares = torch.tensor(rows, dtype=torch.float64)
    found = figures(shares)
    assert 0 <= found["padding_share"] <= 1 and -1e-9 <= found["data_wait_share"] <= 1 + 1e-9
    alone = [figures(share[None]) for share in shares]
    for rate in ("samples_per_second", "tokens_per_second"):
        assert found[rate] == pytest.approx(sum(each[rate] for each in alone))
    assert found["mfu"] == pytest.approx(0.5)


def test_the_share_of_a_process_by_hand(model, batch_of, clock):
    found = Meter(model, CPU, Flops(row=1, picture=10, place=100, square=0, answer=0), peak=1000.0)
    found.step_starts()
    clock(4)
    found.step_ends(batch_of([7, 4], {0: 1}))
    share = found.share(found.totals()).tolist()
    assert share[:MEMORY] == [4, 0, 2, 26, 18, 2 * 1 + 10 + 18 * 100, 4000]
    assert 0.01 < share[MEMORY] < 1000


def test_unknown_operations_or_peaks_are_nan(model, batch_of):
    for flops, peak, unknown in ((None, 1.0, DONE), (training_flops(model), None, POSSIBLE)):
        found = Meter(model, CPU, flops, peak)
        found.step_starts()
        found.step_ends(batch_of([3]))
        assert found.share(found.totals()).isnan().nonzero().flatten().tolist() == [unknown]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets a peak")
def test_the_peak_of_memory_is_that_since_it_was_forgotten(model):
    found, size = Meter(model, CPU, None, None), 2**28
    large = torch.ones(size, dtype=torch.uint8)
    before = found.peak_memory()
    del large
    found.forget_memory()
    assert found.peak_memory() < before - 0.5 * size / meter.GIB
