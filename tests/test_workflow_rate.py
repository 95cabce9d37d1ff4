"""Strange and interesting galaxies, as a user finds them: lists, sessions, pictures and refusals."""

import importlib
import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import cli, workflow
from zoobot.options import AnomaliesOptions, RateOptions
from zoobot.shared.errors import CatalogError, ConfigError, LabelError, NonFiniteError
from zoobot.shared.features.anomalies import score_anomalies

rating = importlib.import_module("zoobot.workflow.rate")  # the package has a function of that name


@pytest.fixture
def features(tiny_survey, tmp_path):
    """A table of features for the tiny survey, of which the fourth galaxy is far from all others."""
    ids = pd.read_csv(tiny_survey, dtype={"id_str": str})["id_str"].tolist()
    values = np.random.default_rng(0).normal(size=(len(ids), 5))
    values[3] += 12
    path = tmp_path / "features.csv"
    pd.DataFrame(values).add_prefix("feature_").assign(id_str=ids).set_index("id_str").to_csv(path)
    return path


@pytest.fixture
def ids(features):
    return pd.read_csv(features, dtype={"id_str": str})["id_str"].tolist()


@pytest.fixture
def rate(features, tiny_survey, tmp_path):
    """A call on one session; the first starts it."""
    start = {"features": features, "catalog": tiny_survey, "picture": False}
    workflow.rate(RateOptions(session=tmp_path / "s", n=4, **start))

    def call(**options):
        return workflow.rate(RateOptions(**{"session": tmp_path / "s", "n": 4, "picture": False} | options))

    return call


def run(*words):
    return cli.main([str(word) for word in words])


def inked(picture):
    return (np.asarray(Image.open(picture).convert("L")) < 250).mean()


def fill_in(path, rating):
    table = pd.read_csv(path, dtype={"id_str": str, "rating": str})
    table["rating"] = [rating(galaxy) for galaxy in table["id_str"]]
    table.to_csv(path, index=False)
    return table["id_str"].tolist()


def test_the_strangest_are_listed_and_shown(features, ids, tiny_survey, tmp_path, capsys):
    words = [
        "anomalies",
        features,
        "--catalog",
        tiny_survey,
        "--save-loc",
        tmp_path / "strange.csv",
        "--n",
        7,
    ]
    assert run(*words) == 0
    said = capsys.readouterr().out
    assert "the 7 strangest of 24 galaxies" in said
    assert "strange.png" in said
    table = pd.read_csv(tmp_path / "strange.csv", dtype={"id_str": str})
    assert list(table) == ["rank", "id_str", "file_loc", "score"]
    assert table["id_str"][0] == ids[3]
    assert table["file_loc"][0].endswith(f"{ids[3]}.jpg")
    values = pd.read_csv(features, index_col="id_str").to_numpy(np.float32)
    np.testing.assert_allclose(table["score"], np.sort(score_anomalies(ids, values))[::-1][:7])
    assert inked(tmp_path / "strange.png") > 0.2
    record = json.loads((tmp_path / "strange.run.json").read_text())
    assert (record["work"], record["status"], record["listed"]) == ("anomalies", "finished", 7)
    assert run(*words) == 2
    assert "exists" in capsys.readouterr().err
    assert run(*words, "--overwrite", "--method", "isolation-forest") == 0


def test_without_a_catalog_there_is_a_list_alone(features, tmp_path):
    result = workflow.anomalies(AnomaliesOptions(features=features, save_loc=tmp_path / "s.csv"))
    assert len(result.table) == result.looked_at == 24
    assert result.picture is None
    assert set(result.table["file_loc"]) == {""}


def test_lists_that_can_not_be_made_are_refused(features, tiny_survey, tmp_path):
    common = {"features": features, "save_loc": tmp_path / "s.csv"}
    with pytest.raises(ConfigError, match=r"must end in \.csv"):
        workflow.anomalies(AnomaliesOptions(**common | {"save_loc": tmp_path / "s.json"}))
    other = pd.read_csv(tiny_survey).assign(id_str=[f"other-{row}" for row in range(24)])
    other["file_loc"] = [str(tiny_survey.parent / file) for file in other["file_loc"]]
    other.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(CatalogError, match="none of the 24 galaxies"):
        workflow.anomalies(AnomaliesOptions(**common, catalog=tmp_path / "other.csv"))
    table = pd.read_csv(features)
    table.head(1).to_csv(features, index=False)
    with pytest.raises(ConfigError, match="two or more galaxies"):
        workflow.anomalies(AnomaliesOptions(**common))
    table.loc[2, "feature_1"] = np.nan
    table.to_csv(features, index=False)
    with pytest.raises(NonFiniteError):
        workflow.anomalies(AnomaliesOptions(**common))


def test_a_session_goes_from_call_to_call(features, ids, tiny_survey, tmp_path, capsys):
    folder = tmp_path / "session"
    assert run("rate", folder, "--features", features, "--catalog", tiny_survey, "--n", 6) == 0
    assert "0 of 24 galaxies are rated" in capsys.readouterr().out
    assert inked(folder / "next.png") > 0.2
    assert inked(folder / "ranking.png") > 0.2
    asked = fill_in(folder / "next.csv", lambda galaxy: "5" if galaxy == ids[3] else "1")
    assert len(asked) == 6
    assert asked[0] == ids[3]
    assert run("rate", folder, "--rate", f"{ids[0]}=0", f"{ids[3]}=4.5", "--n", 5, "--no-picture") == 0
    assert "7 of 24 galaxies are rated, 7 of them now" in capsys.readouterr().out or ids[0] in asked
    ranking = pd.read_csv(folder / "ranking.csv", dtype={"id_str": str})
    assert ranking["id_str"][0] == ids[3]
    assert ranking["score"][0] == 4.5
    next_ones = pd.read_csv(folder / "next.csv", dtype={"id_str": str})
    assert next_ones["rating"].isna().all()
    assert not {*asked, ids[0]} & set(next_ones["id_str"])
    assert json.loads((folder / "run.json").read_text())["ratings"] == len({*asked, ids[0]})
    assert run("rate", folder, "--no-picture") == 0
    assert "0 of them now" in capsys.readouterr().out


def test_ratings_come_from_a_table_too(rate, ids, tmp_path):
    given = pd.DataFrame({"id_str": ids[:4], "rating": ["5", " ", None, "0.5"]})
    given.to_csv(tmp_path / "mine.csv", index=False)
    assert rate(ratings=tmp_path / "mine.csv").session.ratings == {ids[0]: 5.0, ids[3]: 0.5}
    again = rate(ratings=tmp_path / "mine.csv", rate=[f"{ids[0]}=2"])
    assert (again.new, again.session.ratings[ids[0]]) == (1, 2.0)


def test_one_wrong_rating_refuses_all_and_next_stays(rate, ids, tmp_path):
    place = tmp_path / "s" / "next.csv"
    asked = fill_in(place, lambda galaxy: "3")
    before = place.read_text()
    with pytest.raises(LabelError, match="'nobody'"):
        rate(rate=["nobody=3"])
    fill_in(place, lambda galaxy: "great" if galaxy == asked[2] else "3")
    with pytest.raises(LabelError, match=rf"next\.csv: galaxy '{asked[2]}': .* got 'great'"):
        rate()
    assert not (tmp_path / "s" / "ratings.csv").exists()
    place.write_text(before)
    assert rate().new == 4


@pytest.mark.parametrize("step", ["propose", "replacing"])
def test_a_kill_after_the_ratings_are_kept_costs_nothing(rate, ids, tmp_path, monkeypatch, step):
    asked = fill_in(tmp_path / "s" / "next.csv", lambda galaxy: "4")

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rating.RatingSession if step == "propose" else rating, step, die)
        with pytest.raises(KeyboardInterrupt):
            rate()
    assert json.loads((tmp_path / "s" / "run.json").read_text())["status"] == "interrupted"
    result = rate(rate=[f"{ids[0]}=0"])
    assert result.session.ratings == dict.fromkeys(asked, 4.0) | {ids[0]: 0.0}
    assert not set(result.to_rate["id_str"]) & {*asked, ids[0]}


def test_what_next_says_of_galaxies_rated_since_is_out_of_date(rate, tmp_path, caplog):
    place = tmp_path / "s" / "next.csv"
    asked = fill_in(place, lambda galaxy: "4")
    rating.RatingSession(tmp_path / "s").rate({asked[0]: 1})
    with caplog.at_level("WARNING", logger="zoobot"):
        assert rate().session.ratings[asked[0]] == 1.0


def test_people_are_asked(rate, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("5\n\nsplendid\n0\nq\n"))
    assert run("rate", tmp_path / "s", "--ask", "--n", 8, "--no-picture") == 0
    said = capsys.readouterr().out
    assert "got 'splendid'" in said
    assert "2 of 24 galaxies are rated, 2 of them now" in said
    assert sorted(rating.RatingSession(tmp_path / "s").ratings.values()) == [0.0, 5.0]
    monkeypatch.setattr("sys.stdin", io.StringIO("1\n" * 100))
    assert run("rate", tmp_path / "s", "--ask", "--no-picture") == 0
    assert "24 of 24 galaxies are rated, 22 of them now" in capsys.readouterr().out


def test_pictures_are_never_out_of_date(rate, tmp_path):
    assert rate(picture=True).picture == tmp_path / "s" / "next.png"
    assert rate().picture is None
    assert not (tmp_path / "s" / "next.png").exists()


def test_images_that_are_gone_leave_a_gap(features, tiny_survey, tmp_path):
    table = pd.read_csv(tiny_survey, dtype={"id_str": str})
    table["file_loc"] = [str(tiny_survey.parent / file) for file in table["file_loc"]]
    (tmp_path / "broken.jpg").write_bytes(b"not an image")
    table.loc[3, "file_loc"] = str(tmp_path / "broken.jpg")
    table.drop(index=5).to_csv(tmp_path / "some.csv", index=False)
    options = {"features": features, "catalog": tmp_path / "some.csv", "save_loc": tmp_path / "s.csv"}
    result = workflow.anomalies(AnomaliesOptions(**options))
    assert inked(result.picture) > 0.2
    assert (result.table["file_loc"] == "").sum() == 1


def test_what_can_not_work_is_said(rate, features, tmp_path):
    with pytest.raises(ConfigError, match=r"no session in .*nowhere"):
        rate(session=tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="ID=RATING"):
        rate(rate=["5"])
    with pytest.raises(ConfigError, match="give --features too"):
        rate(catalog="new.csv")
    assert rate(features=features).new == 0
    table = pd.read_csv(features)
    table.drop(columns="feature_4").to_csv(features, index=False)
    with pytest.raises(ConfigError, match="features 5 wide"):
        rate(features=features)
    table.assign(feature_4=1).to_csv(features, index=False)
    with pytest.raises(ConfigError, match="other features"):
        rate(features=features)
    pd.DataFrame({"id_str": ["a"], "stars": [3]}).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(CatalogError, match="rating"):
        rate(ratings=tmp_path / "mine.csv")
