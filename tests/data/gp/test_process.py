"""The process: against an exact one over all rows, and on tables that leave little to learn."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from behavesim.data.gp import process as module
from behavesim.data.gp.conditioning import Asked, Known
from behavesim.data.gp.groups import groups_of, rows_of
from behavesim.data.gp.kernel import Points
from behavesim.data.gp.process import GaussianProcess

ROWS = 120


def standing(process, points, logs):
    """Posts that may be known at any time but their own instant."""
    times = np.arange(len(points))
    return Known(points, process.values(logs), times, times >= 0)


def at_other_times(points):
    return Asked(points, np.arange(len(points)) + 10**6)


def likes_of(points, seed=0, noise=0.3):
    """Logs that hang on account, company, time and what is shown."""
    random = np.random.default_rng(seed)
    level = random.standard_normal(200)[points.account.numpy()] + random.standard_normal(200)[points.company.numpy()]
    drift = 0.3 * points.time.numpy() + 0.5 * np.sin(points.shown[:, 0].numpy())
    return 4 + level + drift + noise * random.standard_normal(len(points))


@pytest.fixture(scope="module")
def table(points_of):
    """120 rows of 6 companies and their logs, and 40 other tweets, some of companies that the rows do not have."""
    points = points_of(ROWS, companies=6)
    return points, likes_of(points), points_of(40, seed=1, companies=8)


@pytest.fixture(scope="module")
def process(table):
    """Fitted on the rows of `table`."""
    return GaussianProcess.fit(*table[:2])


def exact_mean(process, points, logs, asked):
    values = process.values(logs)
    covariance = process.kernel(points, points).double() + process.kernel.noise.double() * torch.eye(len(points))
    return process.kernel(asked, points).double() @ torch.linalg.solve(covariance, values)


def alike(found, expected, tolerance):
    return float((found - expected).abs().max()) <= tolerance * float(expected.abs().max())


def without_company(points, code):
    return torch.from_numpy(np.flatnonzero(points.company.numpy() != code))


def taught_again(process, points, logs):
    return process._taught(points, process.values(logs), list(rows_of(groups_of(points)).values()))


def test_with_every_row_inducing_the_process_is_exact(process, table):
    points, logs, others = table
    found = process.expect(standing(process, points, logs), at_other_times(others))
    assert alike(found.mean, exact_mean(process, points, logs, others), 1e-3)
    stranger = torch.from_numpy(~np.isin(others.company.numpy(), points.company.numpy()))
    assert 0 < stranger.sum() < len(others)
    assert (found.mean[stranger] == found.shared[stranger]).all() and (found.mean != found.shared)[~stranger].all()
    assert (found.variance[stranger] == float(process.kernel.own_variance)).all()
    assert (found.variance < float(process.kernel.own_variance))[~stranger].all()


def test_few_inducing_rows_come_near(process, table, monkeypatch):
    points, logs, others = table
    some = replace(process, inducing=points[torch.arange(0, ROWS, 2)])
    found = taught_again(some, points, logs).expect(standing(process, points, logs), at_other_times(others))
    assert alike(found.mean, exact_mean(process, points, logs, others), 0.05)
    monkeypatch.setattr(module, "INDUCING", 30)
    assert len(GaussianProcess.fit(points[torch.arange(40)], logs[:40]).inducing) == 30


def test_a_tweet_of_a_new_company_is_told_what_the_others_taught(process, table):
    points, logs, others = table
    known = standing(process, points, logs)
    for code in np.unique(points.company.numpy()):
        rest = without_company(points, code)
        apart = taught_again(process, points[rest], logs[rest.numpy()])
        asked = at_other_times(others[torch.from_numpy(np.flatnonzero(others.company.numpy() == code))])
        found, expected = process.expect(known, asked, new=True), apart.expect(known, asked)
        for name in ("mean", "shared", "variance"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-6, atol=1e-7)
        assert (found.shared - process.expect(known, asked).shared).abs().max() > 1e-4


def test_own_likes_say_nothing_to_a_row_of_a_new_company(process, table):
    """As in training: what the weights hold of a row's company is left out, and its own post is never known."""
    points, logs, _ = table
    changed = logs.copy()
    changed[7] += 3
    found = []
    for values in (logs, changed):
        taught = taught_again(process, points, values)
        known = standing(process, points, values)
        found.append(taught.expect(known, Asked(points, known.times), new=True))
    torch.testing.assert_close(found[0].mean[7], found[1].mean[7], rtol=1e-6, atol=1e-8)
    company = points.company == points.company[7]
    torch.testing.assert_close(found[0].shared[company], found[1].shared[company], rtol=1e-6, atol=1e-8)
    assert (found[0].mean - found[1].mean)[company].abs().max() > 1e-2


def test_the_order_of_rows_does_not_matter(process, table):
    points, logs, others = table
    order = np.random.default_rng(0).permutation(ROWS)
    turned = points[torch.from_numpy(order)]
    again = taught_again(replace(process, inducing=turned), turned, logs[order])
    for new in (False, True):
        found = process.expect(standing(process, points, logs), at_other_times(others), new=new)
        expected = again.expect(standing(process, turned, logs[order]), at_other_times(others), new=new)
        for name in ("mean", "shared", "variance"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)


def test_posts_of_other_companies_change_nothing(process, table):
    points, logs, others = table
    asked = at_other_times(others[torch.from_numpy(np.flatnonzero(others.company.numpy() == 2))])
    own = torch.from_numpy(np.flatnonzero(points.company.numpy() == 2))
    found = process.expect(standing(process, points, logs), asked)
    expected = process.expect(standing(process, points, logs)[own.numpy()], asked)
    assert found.mean.numpy().tobytes() == expected.mean.numpy().tobytes()
    nothing = process.expect(None, asked)
    assert (nothing.mean == nothing.shared).all() and (nothing.shared == found.shared).all()


@pytest.fixture(scope="module")
def linked(table):
    """The rows of `table`, of which an account has two companies: 4, and some tweets of 1."""
    points, logs, _ = table
    account = points.account.clone()
    account[(points.company == 1).nonzero()[:5, 0]] = 8
    return replace(points, account=account), logs


def test_posts_of_the_same_account_count_whatever_company_is_said_to_be_theirs(linked):
    points, logs = linked
    process = GaussianProcess.fit(points, logs)
    known, asked = standing(process, points, logs), at_other_times(points[(points.account == 8).nonzero()[:3, 0]])
    elsewhere = replace(asked, points=replace(asked.points, company=torch.tensor([-5, 4, 0])))  # new, two, and linking
    for tweets in (asked, elsewhere):
        found = process.expect(known, tweets)
        assert alike(found.mean, exact_mean(process, points, logs, tweets.points), 1e-3)
        assert (found.variance < float(process.kernel.own_variance)).all()
        for row in range(3):  # what links two groups changes nothing for others
            alone = process.expect(known, tweets[np.array([row])])
            torch.testing.assert_close(alone.mean[0], found.mean[row], rtol=1e-9, atol=1e-9)


def test_a_company_spelled_otherwise_in_newer_posts_is_found_by_its_account(linked):
    points, logs = linked
    process = GaussianProcess.fit(points, logs)
    known, asked = standing(process, points, logs), at_other_times(points[(points.account == 0).nonzero()[:2, 0]])
    newer = replace(known, points=replace(points, company=points.company.where(points.account != 0, 77)))
    own, respelled = process.expect(known, asked), process.expect(newer, asked)
    alone = process.expect(newer[np.flatnonzero(newer.points.company.numpy() != 77)], asked)
    assert (own.variance < respelled.variance).all() and (respelled.variance < 0.999 * alone.variance).all()


def test_training_rows_are_told_what_all_but_their_group_taught(linked):
    points, logs = linked
    process = GaussianProcess.fit(points, logs)
    group = torch.from_numpy(groups_of(points))
    assert set(group.tolist()) == {0, 1, 2, 3, 5} and set(process.without) == set(range(6))
    known = standing(process, points, logs)
    found = [process.expect(posts, Asked(points, known.times), new=True).shared for posts in (known, None)]
    torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-12)
    for name in group.unique():
        rest, own = (group != name).nonzero()[:, 0], (group == name).nonzero()[:, 0]
        apart = taught_again(process, points[rest], logs[rest.numpy()])
        expected = apart.expect(None, at_other_times(points[own])).shared
        torch.testing.assert_close(found[0][own], expected, rtol=1e-6, atol=1e-7)


def test_the_same_rows_give_the_same_process_to_the_last_bit(process, table):
    again = GaussianProcess.fit(*table[:2])
    pairs = [(again.weights, process.weights), (again.kernel.log_amplitudes, process.kernel.log_amplitudes)]
    pairs += [(getattr(again.inducing, part.name), getattr(process.inducing, part.name)) for part in fields(Points)]
    pairs += [(again.without[code], weights) for code, weights in process.without.items()]
    assert all(first.numpy().tobytes() == second.numpy().tobytes() for first, second in pairs)
    assert (again.centre, again.scale) == (process.centre, process.scale)


def test_held_out_tweets_are_told_better_than_by_the_mean_of_their_company(points_of):
    points = points_of(360, companies=8, accounts=3)
    logs = likes_of(points)
    train, rest = torch.arange(240), torch.arange(240, 360)
    process = GaussianProcess.fit(points[train], logs[:240])
    found = process.expect(standing(process, points[train], logs[:240]), at_other_times(points[rest]))
    means = [logs[:240][(points.company[train] == code).numpy()].mean() for code in points.company[rest]]
    error, of_means = (np.sqrt(np.mean((told - logs[240:]) ** 2)) for told in (process.logs(found.mean), means))
    assert error < 0.45 < of_means  # the noise is 0.3
    assert (process.kernel.log_amplitudes[1:].exp().sum()) > 5 * process.kernel.noise


def test_likes_that_hang_on_nothing_are_told_hardly_worse_than_by_their_mean(points_of):
    points, logs = points_of(320, companies=16), np.random.default_rng(1).standard_normal(320)
    process = GaussianProcess.fit(points[torch.arange(160)], logs[:160])
    known = standing(process, points[torch.arange(160)], logs[:160])
    found = process.expect(known, at_other_times(points[torch.arange(160, 320)]))
    error, of_mean = (np.mean((told - logs[160:]) ** 2) for told in (process.logs(found.mean), logs[:160].mean()))
    assert error < 1.1 * of_mean


@pytest.mark.parametrize("new", [False, True])
@pytest.mark.parametrize(
    ("shape", "likes"),
    [
        ({"rows": 30}, lambda rows: np.full(rows, 7)),
        ({"rows": 30}, lambda rows: np.zeros(rows)),
        ({"rows": 1}, lambda rows: np.full(rows, 3)),
        ({"rows": 2, "companies": 1, "accounts": 1}, lambda rows: np.arange(rows)),
        ({"rows": 30, "companies": 1}, lambda rows: np.arange(rows)),
        ({"rows": 30, "companies": 500}, lambda rows: np.arange(rows)),
        ({"rows": 30, "text": 0}, lambda rows: np.arange(rows)),
        ({"rows": 30, "text": 0, "columns": 0}, lambda rows: np.arange(rows)),
        ({"rows": 30}, lambda rows: np.full(rows, 1e9) * (np.arange(rows) % 2)),
        ({"rows": 30, "years": 0.0}, lambda rows: np.r_[1e9, np.zeros(rows - 1)]),
    ],
    ids=range(10),
)
def test_tables_that_say_little_give_finite_answers(points_of, shape, likes, new):
    points = points_of(**shape)
    logs = np.log1p(likes(len(points)))
    process = GaussianProcess.fit(points, logs)
    for known in (None, standing(process, points, logs)):
        for asked in (Asked(points, np.arange(len(points))), at_other_times(points)):
            found = process.expect(known, asked, new=new)
            told = process.logs(found.mean)
            assert np.isfinite(told).all() and told.dtype == np.float32 and torch.isfinite(found.shared).all()
            assert (found.variance >= 0).all() and (found.variance <= float(process.kernel.own_variance) + 1e-6).all()
            assert np.abs(told - logs.mean()).max() <= 5 * max(np.ptp(logs), 0.1)


@pytest.mark.parametrize("years", [0.0, 1 / 365], ids=["one instant", "one day"])
@pytest.mark.parametrize("columns", [0, 1, 2])
def test_tweets_that_hardly_differ_are_no_trouble(points_of, process_of, columns, years):
    """Their covariance is of low rank, and its entries are rounded to float32."""
    for seed in range(2):
        points = points_of(300, seed=seed, columns=columns, text=0, years=years, companies=20)
        process = process_of(points, np.random.default_rng(seed).standard_normal(300))
        assert torch.isfinite(process.weights).all() and all(torch.isfinite(w).all() for w in process.without.values())


def test_units_are_those_of_log_likes(process, table):
    values = process.values(table[1])
    assert float(values.mean()) == pytest.approx(0, abs=1e-9) and float(values.std(correction=0)) == pytest.approx(1)
    np.testing.assert_allclose(process.logs(values), table[1], rtol=1e-6)
