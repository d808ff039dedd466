"""The proof that no row is told its own label by what an encoder remembers, whatever that holds.

Kernel and weights are kept; the training posts are changed, of which a training row knows all others, and a row of an
evaluation all. A row's own number, and those of its instant, are taken out of a prediction that held them: there bits
are rounded. Else all stays the same to the last bit.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behavesim.data.gp import conditioning
from behavesim.data.gp.groups import groups_of
from behavesim.data.view import training_views

ALL, EARLIER, LATER, NOTHING = range(4)
SEEDS = pytest.mark.parametrize("seed", range(3))
# As in companies that are looked at in parts, and as in small ones.
BLOCKS = pytest.mark.parametrize("largest", [4, conditioning.LARGEST])


@pytest.fixture(scope="module")
def remembering(label_world):
    """Builder of what is known of training rows, by seed."""
    return lambda seed: Remembering(label_world(seed, "rolling"))


class Remembering:
    """Training rows, and what is told of them where their labels are others in all that anybody remembers."""

    def __init__(self, world):
        self.world, self.encoder = world, world.data.encoder
        self.frame = world.data.parts["train"].frame()
        self.likes = self.frame["likes"].to_numpy()
        self.times = self.frame["date"].dt.epoch("us").to_numpy()
        self.companies = self.frame["company"].to_numpy()
        points = self.encoder.process.points(self.frame, self.encoder.numbers(self.frame))
        self.groups = groups_of(points)

    def related(self, row):
        """Rows of the same company or account: [N] bool."""
        accounts = self.frame["username"].to_numpy()
        return (self.companies == self.companies[row]) | (accounts == accounts[row])

    def posts(self, likes):
        return self.encoder.posts([self.frame.with_columns(likes=np.asarray(likes))])

    def trained(self, likes):
        """By four views."""
        return self.world.seen(self.encoder.encode(self.frame, training_views(self.encoder.process, self.posts(likes))))

    def evaluated(self, likes, history):
        """As rows that are asked about although they were trained on."""
        memory = self.posts(likes)
        looked_back_on = {"train": memory, "rolling": self.encoder.posts([self.world.frame]).extended(memory)}[history]
        view = replace(self.encoder, memory=memory).view(looked_back_on)
        return self.world.seen(self.encoder.encode(self.frame, [view]))


def close(one, other):
    return one.same(other, close=True)


def process_says_the_same(one, other):
    return np.allclose(*(np.frombuffer(seen.process, np.float32) for seen in (one, other)), 0, 1e-5)


@SEEDS
@BLOCKS
def test_a_training_row_is_told_neither_its_own_label_nor_those_of_its_instant(remembering, seed, largest, monkeypatch):
    made = remembering(seed)
    monkeypatch.setattr(conditioning, "LARGEST", largest)
    was = made.trained(made.likes)
    for instant in np.unique(made.times):
        found = made.trained(np.where(made.times == instant, 10**8 - made.likes, made.likes))
        for row in np.flatnonzero(made.times == instant):
            assert close(found[row][ALL], was[row][ALL]) and found[row][EARLIER:] == was[row][EARLIER:]


@SEEDS
@BLOCKS
def test_earlier_posts_tell_nothing_of_later_ones_nor_later_ones_of_earlier(remembering, seed, largest, monkeypatch):
    made = remembering(seed)
    monkeypatch.setattr(conditioning, "LARGEST", largest)
    was = made.trained(made.likes)
    for instant in np.unique(made.times):
        before, after = made.times <= instant, made.times >= instant
        for view, changed, kept in ((EARLIER, after, before), (LATER, before, after)):
            found = made.trained(np.where(changed, 10**8 - made.likes, made.likes))
            assert all(found[row][view] == was[row][view] for row in np.flatnonzero(kept))
            assert all(now[NOTHING] == then[NOTHING] for now, then in zip(found, was, strict=True))


@SEEDS
def test_all_other_posts_of_the_company_and_of_the_account_are_told(remembering, seed):
    made = remembering(seed)
    was = made.trained(made.likes)
    for row in range(len(was)):
        found = made.trained(made.likes + 10**6 * (np.arange(len(was)) == row))
        related = made.related(row)
        linked = made.groups == made.groups[row]  # what is linked by others may be told, and hardly be seen
        apart = made.times - made.times[row]
        for view, reached in ((ALL, apart != 0), (EARLIER, apart > 0), (LATER, apart < 0)):
            same = np.array(
                [process_says_the_same(now[view], then[view]) for now, then in zip(found, was, strict=True)]
            )
            assert not np.any(same & related & reached) and np.all(same | linked & reached)


@SEEDS
def test_labels_of_other_groups_change_no_bit_of_what_the_process_says(remembering, seed):
    made = remembering(seed)
    was = made.trained(made.likes)
    for group in np.unique(made.groups):
        found = made.trained(np.where(made.groups == group, made.likes, made.likes + 10**6))
        for row in np.flatnonzero(made.groups == group):
            assert [seen.process for seen in found[row]] == [seen.process for seen in was[row]]


@settings(deadline=None, max_examples=20, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2), history=st.sampled_from(["train", "rolling"]), data=st.data())
def test_whatever_is_remembered_a_row_is_told_what_the_others_say(remembering, seed, history, data):
    """Labels of one instant against any others, beside memories of any labels."""
    made = remembering(seed)
    labels = st.lists(st.integers(0, 10**9), min_size=len(made.likes), max_size=len(made.likes))
    memory, other = np.array(data.draw(labels)), np.array(data.draw(labels))
    own = made.times == data.draw(st.sampled_from(sorted(set(made.times))))
    changed = np.where(own, other, memory)
    (one, two), (was, now) = (map(f, (memory, changed)) for f in (made.trained, lambda x: made.evaluated(x, history)))
    for row in np.flatnonzero(own):
        assert close(one[row][ALL], two[row][ALL]) and one[row][EARLIER:] == two[row][EARLIER:]
    pairs = list(zip(was, now, strict=True))
    assert all(close(*pairs[row][0], *pairs[row][1]) for row in np.flatnonzero(own))


@SEEDS
@pytest.mark.parametrize("history", ["train", "rolling"])
def test_an_evaluation_tells_no_training_row_its_own_label(remembering, seed, history):
    made = remembering(seed)
    was = made.evaluated(made.likes, history)
    for row in range(len(was)):
        found = made.evaluated(made.likes + 10**6 * (np.arange(len(was)) == row), history)
        assert close(found[row][0], was[row][0])
        others = (made.companies == made.companies[row]) & (made.times != made.times[row])
        assert not any(close(found[other][0], was[other][0]) for other in np.flatnonzero(others))
