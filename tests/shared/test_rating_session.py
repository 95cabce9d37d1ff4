"""Sessions of rating galaxies: what is learned, what is asked, and what survives."""

import json
import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from zoobot.rating import folder as rating_folder
from zoobot.rating.folder import RatingLog
from zoobot.rating.session import ACQUISITIONS, MODELS, Interest, RatingSession, acquisition, predict_ratings
from zoobot.shared.errors import ConfigError, LabelError, NonFiniteError

N, RARE = 300, 12


@pytest.fixture
def galaxies():
    """Ids, features, and which galaxies are of a rare kind, among others as frequent as it is rare."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 6)).astype(np.float32)
    features[:RARE, 0] += 6
    ids = [f"g{row}" for row in range(N)]
    return ids, features, set(ids[:RARE])


@pytest.fixture
def session(galaxies, tmp_path):
    return RatingSession.start(tmp_path / "session", *galaxies[:2])


def test_after_some_ratings_the_rare_kind_leads(session, galaxies):
    rare = galaxies[2]
    session.rate({"g0": 5})
    for _ in range(4):
        asked = session.propose(10)["id_str"]
        assert not set(asked) & set(session.ratings)
        session.rate({galaxy: 5 * (galaxy in rare) for galaxy in asked})
    ranking = session.ranking()
    assert ranking["rank"].tolist() == list(range(1, N + 1))
    assert set(ranking["id_str"].head(RARE)) == rare
    rated = ranking.dropna(subset="rating")
    assert dict(zip(rated["id_str"], rated["rating"], strict=True)) == session.ratings
    assert (rated["score"] == rated["rating"]).all()


def test_a_session_goes_on_where_it_was(session):
    session.rate({"g3": 4, "g7": 1.5})
    session.rate({"g7": 0})
    again = RatingSession(session.folder)
    assert again.ratings == {"g3": 4.0, "g7": 0.0}
    assert again.ranking().equals(session.ranking())
    assert again.propose(9).equals(session.propose(9))
    assert (session.folder / "ratings.csv").read_text().count("g7") == 2  # all that was ever given


def test_ratings_given_twice_are_kept_once(session):
    assert session.rate({"g3": 4, "g7": 1}) == 2
    assert session.rate({"g3": 4, "g7": 2}) == 1
    assert len((session.folder / "ratings.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("ratings", [{}, {"g3": 5}, {"g3": 0, "g4": 0, "g5": 0}])
def test_ratings_that_do_not_differ_leave_the_strangest_first(session, ratings):
    session.rate(ratings)
    ranking = session.ranking()
    assert ranking["anomaly"].is_monotonic_decreasing
    assert ranking["expected"].isna().all()
    asked = session.propose(10)["id_str"].tolist()
    assert len(set(asked)) == 10
    assert not set(asked) & set(ratings)
    assert (asked[:5] == ranking["id_str"].tolist()[:5]) == (not ratings)


def test_examples_alone_are_followed_by_those_most_like_them(session):
    session.rate({"g3": 5, "g200": 5})
    asked = session.propose(9)["id_str"].tolist()
    distances = np.linalg.norm(session.reduced[:, None] - session.reduced[[3, 200]], axis=2).min(axis=1)
    assert asked == [f"g{row}" for row in np.argsort(distances)[2:11]]


@pytest.mark.parametrize(
    ("ratings", "reason"),
    [
        ({"g1": 3, "nobody": 2}, "not of the session.*'nobody'"),
        ({"g1": 3, "g2": 6}, "got 6"),
        ({"g1": 3, "g2": -1}, "got -1"),
        ({"g1": 3, "g2": "good"}, "got 'good'"),
        ({"g1": 3, "g2": math.nan}, "got nan"),
        ({"g1": 3, "g2": None}, "got None"),
    ],
)
def test_one_wrong_rating_refuses_all(session, ratings, reason):
    with pytest.raises(LabelError, match=reason):
        session.rate(ratings)
    assert session.ratings == {}
    assert not (session.folder / "ratings.csv").exists()


def test_half_a_line_that_a_kill_left_does_not_count(session, caplog):
    session.rate({"g1": 3, "g2": 5})
    path = session.folder / "ratings.csv"
    path.write_bytes(path.read_bytes() + b"2026-01-01T00:00:00+00:00,g3,4")  # of 4.5, perhaps
    again = RatingSession(session.folder)
    assert again.ratings == {"g1": 3.0, "g2": 5.0}
    again.rate({"g4": 1})
    assert "half a line" in caplog.text
    assert RatingSession(session.folder).ratings == {"g1": 3.0, "g2": 5.0, "g4": 1.0}


def test_damaged_ratings_are_refused_not_dropped(session):
    session.rate({"g1": 3})
    with (session.folder / "ratings.csv").open("a") as file:
        file.write("now,g2\n")
    with pytest.raises(LabelError, match="damaged"):
        RatingSession(session.folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"time,id_str,rating\nnow,g1,3\nnow,g2,99\n", "at line 3: a rating is a number from 0"),
        (b"time,id_str,rating\nnow,g1,3\nnow,g2,nan\n", "at line 3: a rating is a number from 0"),
        (b"time,id_str,rating\nnow,g1,3\nnow,g2\n", "at line 3: expected the columns time, id_str, rating"),
        (b"time,id_str,rating\nnow,g1,3,7\n", "at line 2: expected the columns time, id_str, rating"),
        (b"time,id_str,rating\nnow,g1,3\ntime,id_str,rating\n", "at line 3: a rating is a number"),
        (b"time;id_str;rating\nnow;g1;3\n", "at line 1: expected the columns time, id_str, rating"),
        (b"now,g1,3\nnow,g2,4\n", "at line 1: expected the columns"),
        (b'time,id_str,rating\nnow,"g1,3\nnow,g2,4\n', "at line 3: "),
        (b"time,id_str,rating\nnow,g1,3\x00\n", "at line 2: "),
        (b"time,id_str,rating\nnow,g1\x00,3\n", "ratings.csv"),
        (b"time,id_str,rating\nnow,elsewhere,3\n", r"ratings.csv: 1 of 1 rated galaxies are not of"),
        (b"time,id_str,rating\nnow,g\xff,3\n", "ratings.csv can't be read"),
        (b"\x00" * 50 + b"\n", "at line 1: "),
    ],
)
def test_ratings_that_were_tampered_with_are_named_with_their_line(session, content, message):
    path = session.folder / "ratings.csv"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=message):
        RatingSession(session.folder)
    assert path.read_bytes() == content


@pytest.mark.parametrize("left", [b"", b"time,id_s", b"\x00" * 50])
def test_a_first_line_that_was_never_whole_is_written_anew(session, left):
    (session.folder / "ratings.csv").write_bytes(left)
    RatingSession(session.folder).rate({"g1": 3})
    assert RatingSession(session.folder).ratings == {"g1": 3.0}


def test_odd_names_are_kept(tmp_path):
    log = RatingLog(tmp_path / "ratings.csv")
    names = {'a,"b"': 1.0, "é": 2.5, "001": 3.0, "'=x": 0.0}
    log.add(names)
    assert log.read() == names


@pytest.mark.parametrize("step", ["galaxies.parquet", "features.npy", "session.json"])
def test_a_start_that_was_killed_can_be_made_again(galaxies, tmp_path, monkeypatch, step):
    class Killed(BaseException):
        pass

    def die_at(path, *args):
        if path.name == step:
            raise Killed
        return real[args != ()](path, *args)

    real = {False: rating_folder.replacing, True: rating_folder.write_safely}
    with monkeypatch.context() as patched:
        patched.setattr(rating_folder, "replacing", die_at)
        patched.setattr(rating_folder, "write_safely", die_at)
        with pytest.raises(Killed):
            RatingSession.start(tmp_path / "s", *galaxies[:2])
    with pytest.raises(ConfigError, match="there is no session"):
        RatingSession(tmp_path / "s")
    assert len(RatingSession.start(tmp_path / "s", *galaxies[:2]).ranking()) == N


def test_a_session_is_of_its_features_alone(session, galaxies, tmp_path):
    ids, features, _ = galaxies
    session.check_same(ids, features)
    with pytest.raises(ConfigError, match="6 wide"):
        session.check_same(ids, features[:, :5])
    with pytest.raises(ConfigError, match="other features"):
        session.check_same(ids, features + 1)
    with pytest.raises(ConfigError, match="other features"):
        session.check_same(ids[::-1], features)
    with pytest.raises(ConfigError, match=r"session in .* already"):
        RatingSession.start(session.folder, ids, features)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").touch()
    with pytest.raises(ConfigError, match=r"letter\.txt"):
        RatingSession.start(tmp_path / "other", ids, features)
    features[5, 0] = np.inf
    with pytest.raises(NonFiniteError, match="g5"):
        RatingSession.start(tmp_path / "new", ids, features)
    with pytest.raises(ConfigError, match="two or more"):
        RatingSession.start(tmp_path / "new", ids[:1], features[:1])


def test_a_damaged_session_is_named(session):
    np.save(session.folder / "features.npy", np.zeros((3, 2)))
    with pytest.raises(ConfigError, match=r"damaged.*\(300, 300, 3\)"):
        RatingSession(session.folder)
    (session.folder / "session.json").write_text(json.dumps({}))
    with pytest.raises(ConfigError, match=r"damaged.*galaxies"):
        RatingSession(session.folder)


def test_galaxies_that_are_all_alike_can_be_rated(tmp_path):
    session = RatingSession.start(tmp_path / "s", ["a", "b", "c"], np.ones((3, 4)))
    session.rate({"a": 5, "b": 0})
    assert session.ranking()["id_str"].tolist() == ["a", "c", "b"]
    assert session.propose(5)["id_str"].tolist() == ["c"]
    session.rate({"c": 1})
    assert len(session.propose(5)) == 0


def test_the_process_is_scikit_learns(galaxies):
    reduced, rows, ratings = galaxies[1], np.arange(0, 60, 2), np.linspace(0, 5, 30)
    kernel = ConstantKernel() * RBF(math.sqrt(6), (math.sqrt(6) / 10, math.sqrt(6) * 10))
    kernel += WhiteKernel(0.1, (1e-3, 1e1))
    process = GaussianProcessRegressor(kernel, normalize_y=True).fit(reduced[rows].astype(float), ratings)
    expected, spread = process.predict(reduced.astype(float), return_std=True)
    found = predict_ratings(reduced, rows, ratings)
    np.testing.assert_allclose(found.expected, expected, atol=0.02)
    np.testing.assert_allclose(found.spread, spread, atol=0.02)


@pytest.mark.parametrize("model", MODELS)
def test_models_learn_a_slope_and_how_sure_it_is(galaxies, model):
    reduced = galaxies[1]
    truth = np.clip(2.5 + reduced[:, 1], 0, 5)
    rows = np.arange(0, 120)
    found = predict_ratings(reduced, rows, truth[rows], model=model)
    assert np.corrcoef(found.expected[120:], truth[120:])[0, 1] > 0.95
    assert (found.spread >= 0).all()
    far = np.concatenate([reduced[rows], np.full((1, 6), 30, np.float32)])
    assert predict_ratings(far, rows, truth[rows], model=model).spread.argmax() == 120
    with pytest.raises(ConfigError, match="must differ"):
        predict_ratings(reduced, rows, np.ones(120), model=model)


def test_many_ratings_are_learned_by_the_ridges(galaxies, monkeypatch):
    monkeypatch.setattr("zoobot.shared.defaults.MOST_RATINGS_OF_PROCESS", 20)
    rows, ratings = np.arange(40), np.linspace(0, 5, 40)
    chosen = predict_ratings(galaxies[1], rows, ratings)
    ridge = predict_ratings(galaxies[1], rows, ratings, model="ridge")
    np.testing.assert_array_equal(chosen.expected, ridge.expected)
    with pytest.raises(ConfigError, match="unknown model 'forest'"):
        predict_ratings(galaxies[1], rows, ratings, model="forest")


def test_what_is_hoped_from_a_galaxy():
    interest = Interest(np.array([1.0, 4.0, 2.0]), np.array([2.0, 0.5, 1e-12]))
    draws = norm.rvs(interest.expected, interest.spread, size=(400_000, 3), random_state=0)
    gains = np.maximum(draws - 3.0, 0).mean(axis=0)
    np.testing.assert_allclose(acquisition(interest, 3.0, "expected-improvement"), gains, atol=0.01)
    np.testing.assert_allclose(acquisition(interest, 3.0, "upper-bound"), [3.0, 4.5, 2.0])
    np.testing.assert_allclose(acquisition(interest, 3.0, "expected"), interest.expected)
    assert set(ACQUISITIONS) == {"expected-improvement", "upper-bound", "expected"}
    with pytest.raises(ConfigError, match="unknown acquisition"):
        acquisition(interest, 3.0, "luck")


def test_two_ratings_already_tell_galaxies_apart(galaxies):
    _, features, _ = galaxies
    found = predict_ratings(features, [0, 200], [5.0, 0.0])  # a rare one, and one of the others
    assert found.expected.std() > 0.2
    assert found.expected[1:RARE].mean() > found.expected[RARE:].mean() + 0.5
