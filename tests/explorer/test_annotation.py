"""Pages to label galaxies, and links to the sky: what they ask and hold, told without a browser."""

import base64
import io
import json
import re
import runpy
from pathlib import Path

import explorer_contents as contents
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoobot import workflow
from zoobot.cli import main
from zoobot.explorer import (
    Positions,
    ask_for_class,
    ask_for_rating,
    ask_tree,
    known_positions,
    page_text,
)
from zoobot.options import ExploreOptions, RateOptions
from zoobot.rating.session import RatingSession
from zoobot.shared import schemas
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.schemas import Schema
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.tasks import ClassificationTask

SkyService = runpy.run_path(str(Path(__file__).parents[1] / "sky_service.py"))["SkyService"]
QUIET = {"num_workers": 1, "progress": False}
RINGS = ask_for_class(["ring", "not-ring"], "label")


def explore(results, **changes):
    return workflow.explore(ExploreOptions(**{"results": results, **QUIET} | changes))


def data_of(page):
    text = page if isinstance(page, str) else page.save_loc.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text)[1])


def words(text):
    return [text["words"][code] for code in np.frombuffer(base64.b64decode(text["codes"]), "<i4")]


def doubles(packed):
    return np.frombuffer(base64.b64decode(packed), "<f8")


@pytest.fixture
def galaxies(tiny_survey):
    return pd.read_csv(tiny_survey, dtype={"id_str": str})


@pytest.fixture
def predictions(galaxies, tmp_path):
    """What a model said of the galaxies of the survey, as `predict` writes it."""
    task = ClassificationTask(class_names=("spiral", "smooth"), label_cols=("kind",))
    facts = {"task": task.to_config(), "preprocessing": Preprocessing(image_size_pix=32).to_config()}
    with PredictionWriter(tmp_path / "new.parquet", task.output_columns, metadata=facts) as writer:
        writer.write(list(galaxies["id_str"]), np.full((len(galaxies), 2), 0.5))
    return tmp_path / "new.parquet"


def test_a_tree_asks_each_question_after_any_of_its_parents():
    schema = schemas.get("gz_decals_dr5")
    annotation = ask_tree(schema)
    assert annotation.values == schema.label_cols
    for asked, question in zip(annotation.questions, schema.questions, strict=True):
        parents = {schema.questions[k].label_cols[answer] for k, answer in asked.parents}
        assert parents == set(question.parents)
        assert len(asked.answers) == len(question.answers)
    assert any(len(asked.parents) > 1 for asked in annotation.questions)


def test_ratings_are_those_of_rate():
    annotation = ask_for_rating()
    assert annotation.column == "rating"
    assert annotation.values == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("names", "column", "expected"),
    [
        (["ring"], "label", "one of 2 to 30 classes"),
        ([str(number) for number in range(31)], "label", "got 31"),
        (["ring", "ring"], "label", "different names"),
        (["ring", ""], "label", "different names"),
        (["ring", " no"], "label", "without blanks"),
        (["ring", "no"], "file_loc", "can't be called 'file_loc'"),
    ],
)
def test_classes_that_cannot_be_asked_for_are_refused(names, column, expected):
    with pytest.raises(ConfigError, match=expected):
        ask_for_class(names, column)


def test_a_question_with_more_answers_than_keys_is_refused():
    with pytest.raises(ConfigError, match="'kind' has 31"):
        ask_tree(Schema.from_pairs({"kind": [str(number) for number in range(31)]}))


def test_two_pages_keep_their_labels_apart():
    ids = ["a", "b"]
    keys = {
        RINGS.key(ids),
        RINGS.key(["b", "a"]),
        RINGS.key(["ab"]),
        ask_for_class(["ring", "bar"], "label").key(ids),
        ask_for_class(["ring", "not-ring"], "ring").key(ids),
        ask_for_rating().key(ids),
        ask_tree(contents.TREE).key(ids),
    }
    assert len(keys) == 7
    assert RINGS.key(ids) == ask_for_class(["ring", "not-ring"], "label").key(list(ids))


def test_a_page_to_label_is_safe_and_loads_nothing():
    hostile = contents.HOSTILE
    annotation = ask_for_class([name.strip() for name in hostile[:6]], "label")
    text = page_text(
        contents.contents_to_label(annotation, len(hostile), ids=hostile, title=hostile[0], places=hostile)
    )
    data = data_of(text)
    assert data["ids"] == list(hostile)
    assert data["annotation"]["values"] == [name.strip() for name in hostile[:6]]
    assert words(data["annotation"]["places"][0]) == list(hostile)
    assert text.count("<script") == 2
    block = text[text.index('type="application/json"') :].partition("</script>")[0]
    assert not re.search(r"[^ -~]", block)
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)[1]
    assert policy.startswith("default-src &#x27;none&#x27;")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_links_are_of_positions_that_can_be():
    ra = np.array([10.5, -1, 361, np.nan, 20, np.inf])
    dec = np.array([-5.25, 2, 2, np.nan, -90.5, 0])
    found, odd = known_positions(ra, dec)
    np.testing.assert_array_equal(found.ra, [10.5, 359, np.nan, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(found.dec, [-5.25, 2, np.nan, np.nan, np.nan, np.nan])
    assert odd == 3
    sky = data_of(page_text(contents.contents_to_label(RINGS, 1, positions=Positions(ra[:1], dec[:1]))))[
        "sky"
    ]
    assert (doubles(sky["ra"]).tolist(), doubles(sky["dec"]).tolist()) == ([10.5], [-5.25])
    assert [name for name, _ in sky["links"]] == ["Legacy Surveys", "Aladin Lite", "SIMBAD", "NED"]
    for _, address in sky["links"]:
        assert re.fullmatch(r"https://[a-z.]+/[\w/?=&.,%{}-]+", address)
        assert {"{ra}", "{dec}"} <= set(re.findall(r"\{\w+\}", address))


def test_the_colours_can_be_told_apart():
    """The contrast of text and its ground is at least 4.5, as WCAG asks, in light and in dark."""
    import zoobot.explorer

    style = (Path(zoobot.explorer.__file__).parent / "page" / "style.css").read_text(encoding="utf-8")
    colours = dict(re.findall(r"--(\w+): light-dark\((#\w{6}, #\w{6})\)", style))

    def luminance(colour):
        channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for theme in (0, 1):
        shades = {name: luminance(pair.split(", ")[theme]) for name, pair in colours.items()}
        for ground in ("panel", "raised", "ground"):
            for text in ("ink", "soft", "main", "accent"):
                low, high = sorted((shades[text], shades[ground]))
                assert (high + 0.05) / (low + 0.05) >= 4.5 or (text, ground, theme) == ("accent", "ground", 0)


def test_a_catalog_is_enough(tiny_survey, galaxies, tmp_path):
    result = explore(
        tiny_survey, annotate="classes", classes=["ring", "not-ring"], save_loc=tmp_path / "rings.html"
    )
    data = data_of(result)
    assert data["ids"] == galaxies["id_str"].tolist()
    assert words(data["annotation"]["places"][0]) == galaxies["file_loc"].tolist()
    np.testing.assert_array_equal(doubles(data["sky"]["ra"]), galaxies["ra"])
    assert all(data["pictures"])
    assert (data["columns"], data["texts"], data["charts"]) == ([], [], [])
    assert str(tmp_path) not in result.save_loc.read_text(encoding="utf-8")
    root = tiny_survey.parent
    asked = f"--catalog {tiny_survey.stem}_labels.csv --root {root} --labels label"
    assert asked in result.report()


def test_the_next_step_asks_for_addresses_too(tmp_path):
    image, catalog = io.BytesIO(), tmp_path / "web.csv"
    Image.effect_noise((16, 16), 40).save(image, "PNG")
    service = SkyService(lambda n, path, query: (200, {}, image.getvalue()))
    with service.running():
        pd.DataFrame({"id_str": ["a"], "file_loc": [f"{service.endpoint}/a.jpg"]}).to_csv(
            catalog, index=False
        )
        web = {"allow_urls": True, "url_hosts": ["127.0.0.1"], "url_cache_gb": 0}
        result = explore(catalog, annotate="classes", classes=["ring", "not-ring"], **web)
    assert "--labels label --allow-urls --url-hosts 127.0.0.1 --save-dir" in result.report()


def test_the_model_says_nothing_before_it_is_asked(predictions, tiny_survey, galaxies, tmp_path):
    options = {"annotate": "classes", "catalog": tiny_survey, "overwrite": True}
    data = data_of(explore(predictions, **options))
    assert data["annotation"]["values"] == ["spiral", "smooth"]
    assert data["annotation"]["column"] == "kind"
    assert (data["columns"], data["texts"], data["charts"]) == ([], [], [])
    data = data_of(explore(predictions, **options, show_model=True))
    assert [chart["title"] for chart in data["charts"]] == ["kind"]
    assert [text["name"] for text in data["texts"]] == ["predicted_class"]
    with pytest.raises(ConfigError, match="--schema"):
        explore(predictions, annotate="tree", catalog=tiny_survey, overwrite=True)


def test_columns_are_shown_where_they_are_asked_for(tiny_survey, galaxies, tmp_path):
    page = {"annotate": "rating", "save_loc": tmp_path / "page.html", "columns": ["dec", "label_name"]}
    data = data_of(explore(tiny_survey, **page))
    assert [column["name"] for column in data["columns"]] == ["dec"]
    assert words(data["texts"][0]) == galaxies["label_name"].tolist()


def test_galaxies_are_asked_in_their_order_or_shuffled_by_a_seed(tiny_survey, galaxies, tmp_path, caplog):
    page = {"annotate": "rating", "save_loc": tmp_path / "page.html", "overwrite": True}
    ids = galaxies["id_str"].tolist()
    with caplog.at_level("WARNING", "zoobot"):
        result = explore(tiny_survey, **page, n=7)
    assert data_of(result)["ids"] == ids[:7]
    assert "the first 7" in caplog.text
    assert "7 galaxies (of 24)" in result.report()
    shuffled, again, other = (
        data_of(explore(tiny_survey, **page, shuffle=True, seed=seed))["ids"] for seed in (1, 1, 2)
    )
    assert shuffled == again != other
    assert shuffled != ids
    assert sorted(shuffled) == sorted(ids)


def test_a_list_is_asked_in_its_order_with_images_of_a_catalog(tiny_survey, galaxies, tmp_path, caplog):
    ids = galaxies["id_str"].tolist()
    chosen = [ids[5], ids[2], "stranger", ids[9]]
    pd.DataFrame({"rank": range(1, 5), "id_str": chosen}).to_csv(tmp_path / "list.csv", index=False)
    with caplog.at_level("WARNING", "zoobot"):
        result = explore(tmp_path / "list.csv", catalog=tiny_survey, annotate="tree", schema="gz2")
    assert data_of(result)["ids"] == [ids[5], ids[2], ids[9]]
    assert "1 galaxies of" in caplog.text
    assert "--task tree --schema gz2" in result.report()


def test_a_galaxy_without_a_picture_is_left_out_and_told_of(tiny_survey, galaxies, tmp_path, caplog):
    table = galaxies.assign(file_loc=[str(tiny_survey.parent / name) for name in galaxies["file_loc"]])
    table.loc[1, "file_loc"] = str(tmp_path / "gone.jpg")
    table.loc[2, "dec"] = 95.0
    table["ra"] = table["ra"].astype(object)
    table.loc[3, "ra"] = "10:20:30"
    table.to_csv(tmp_path / "catalog.csv", index=False)
    with caplog.at_level("WARNING", "zoobot"):
        result = explore(tmp_path / "catalog.csv", annotate="rating")
    data = data_of(result)
    assert data["ids"] == galaxies["id_str"].drop(1).tolist()
    assert result.failures["id_str"].tolist() == [galaxies["id_str"][1]]
    assert "1 galaxies have no picture" in caplog.text
    assert "2 galaxies have no position that can be" in caplog.text
    assert np.isnan(doubles(data["sky"]["ra"])).sum() == 2
    table["file_loc"] = str(tmp_path / "gone.jpg")
    table.to_csv(tmp_path / "catalog.csv", index=False)
    with pytest.raises(CatalogError, match="not one of the 24 galaxies has a picture"):
        explore(tmp_path / "catalog.csv", annotate="rating", overwrite=True)


def test_classes_come_from_the_catalog_or_the_model(tiny_survey, galaxies, tmp_path):
    page = {"annotate": "classes", "save_loc": tmp_path / "page.html", "overwrite": True}
    data = data_of(explore(tiny_survey, **page, label_col="label_name"))
    assert data["annotation"]["values"] == sorted(set(galaxies["label_name"]))
    for names in (["ring, not-ring"], ["ring", "not-ring"], ["0", "1"], ["NA", "ring"]):
        data = data_of(explore(tiny_survey, **page, classes=names, n=2))
        assert data["annotation"]["values"] == [one.strip() for name in names for one in name.split(",")]
    with pytest.raises(ConfigError, match="--annotate classes needs --classes"):
        explore(tiny_survey, **page)
    with pytest.raises(CatalogError, match="no_such"):
        explore(tiny_survey, **page, label_col="no_such")


@pytest.mark.parametrize("names", [["01", "02"], ["true", "no"], ["nan", "ring"], ["1.5", "2"], ["1", "NA"]])
def test_classes_that_a_csv_would_change_are_refused(tiny_survey, tmp_path, names):
    with pytest.raises(ConfigError, match="would be read from the file of labels"):
        explore(tiny_survey, annotate="classes", classes=names, save_loc=tmp_path / "page.html")


def test_a_model_that_said_nothing_cannot_be_shown(tiny_survey):
    with pytest.raises(ConfigError, match="--show-model needs predictions"):
        explore(tiny_survey, annotate="rating", show_model=True)


def test_a_tree_comes_from_the_model(tiny_survey, tmp_path):
    result = explore(
        tiny_survey, annotate="tree", checkpoint="zoobot-mini", save_loc=tmp_path / "page.html", n=2
    )
    data = data_of(result)
    tree = Schema.from_yaml(re.search(r"--schema (\S+)", result.report())[1])
    assert data["annotation"]["values"] == tree.label_cols


def test_a_session_asks_for_what_is_to_rate_next(tmp_path, tiny_survey, galaxies):
    files = [str(tiny_survey.parent / name) for name in galaxies["file_loc"]]
    features = np.random.default_rng(1).normal(size=(len(galaxies), 4))
    RatingSession.start(tmp_path / "strange", galaxies["id_str"].tolist(), features, file_locs=files)
    workflow.rate(RateOptions(session=str(tmp_path / "strange"), n=5, picture=False))
    result = explore(tmp_path / "strange", annotate="rating")
    asked = pd.read_csv(tmp_path / "strange" / "next.csv", dtype={"id_str": str})["id_str"].tolist()
    assert data_of(result)["ids"] == asked
    assert f"zoobot rate {tmp_path / 'strange'} --ratings strange_labels.csv" in result.report()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"classes": ["a", "b"]}, "--classes is for --annotate classes"),
        ({"schema": "gz2", "annotate": "rating"}, "--schema is for --annotate tree"),
        ({"shuffle": True}, "--shuffle is for --annotate"),
        ({"show_model": True}, "--show-model is for --annotate"),
        ({"annotate": "rating", "encode": True}, "--encode is for pages to look through"),
        ({"annotate": "rating", "features": "f.parquet"}, "--features is for pages to look through"),
        ({"annotate": "rating", "images": False}, "by their pictures"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, expected):
    with pytest.raises(ConfigError, match=expected):
        ExploreOptions(results="catalog.csv", **changes)


def test_a_label_is_not_called_like_the_images_column(tiny_survey, galaxies, tmp_path):
    page = {"annotate": "classes", "classes": ["a", "b"], "save_loc": tmp_path / "page.html"}
    table = galaxies.head(2).drop(columns="file_loc")
    for band in "gri":
        table[f"file_{band}"] = [f"{band}{row}.png" for row in range(2)]
        for name in table[f"file_{band}"]:
            Image.new("L", (32, 32), 9).save(tmp_path / name)
    table.to_csv(tmp_path / "bands.csv", index=False)
    bands = {"file_col": ["file_g", "file_r", "file_i"]}
    with pytest.raises(ConfigError, match="--label-col file_g"):
        explore(tmp_path / "bands.csv", **page, **bands, label_col="file_g")
    result = explore(tmp_path / "bands.csv", **page, **bands)
    places = data_of(result)["annotation"]["places"]
    assert {place["name"]: words(place) for place in places} == {
        name: table[name].tolist() for name in bands["file_col"]
    }
    assert f"--root {tmp_path} --file-col file_g file_r file_i --labels label" in result.report()


def test_the_command_line_makes_such_a_page(tiny_survey, tmp_path, capsys):
    words_of_it = [
        "--annotate",
        "classes",
        "--classes",
        "ring,not-ring",
        "--save-loc",
        str(tmp_path / "p.html"),
    ]
    assert main(["explore", str(tiny_survey), *words_of_it, "--no-progress"]) == 0
    assert "download the labels, and give: zoobot finetune" in capsys.readouterr().out
