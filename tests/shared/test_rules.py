"""Selection by rule, and the folder for volunteers, of predictions that are there: no engine is needed."""

import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import beta

from zoobot import workflow
from zoobot.choosing.rules import RANDOM, Rule, choose_by_rule, rule_probabilities
from zoobot.options import PrioritiseOptions
from zoobot.shared import schemas
from zoobot.shared.errors import CatalogError, ConfigError
from zoobot.shared.pixels.images import read_image
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask

TREE = TreeTask(schema=schemas.get("gz_rings"))
RING, NO_RING = TREE.label_cols
NUMBER = 30
NO_RULE = {"answer": None, "fraction": None, "probability": None}


@pytest.fixture
def survey(tmp_path):
    """A catalog with images of several kinds, and a table of predictions of an ensemble of two."""
    rng = np.random.default_rng(3)
    ids = [f"galaxy {n}" for n in range(NUMBER - 2)] + ["../up", "=CON"]
    for number in range(NUMBER):
        pixels = rng.integers(0, 255, (40, 48, 3), np.uint8)
        ending = ("jpg", "png", "tiff")[number % 3]
        Image.fromarray(pixels).save(tmp_path / f"{number}.{ending}")
    table = pd.DataFrame({"id_str": ids})
    table["file_loc"] = [f"{n}.{('jpg', 'png', 'tiff')[n % 3]}" for n in range(NUMBER)]
    table["ra"] = np.arange(NUMBER) + 0.5
    table["subject_id"] = [None if n == 4 else 900 + n for n in range(NUMBER)]
    table.to_csv(tmp_path / "catalog.csv", index=False)
    alpha = rng.uniform(1, 20, (2, NUMBER, 2)).astype(np.float32)
    alpha[0, :3] = (30, 2)  # surely rings, but for one member
    alpha[1, :3] = [(30, 2), (20, 2), (1, 9)]
    metadata = {"task": TREE.to_config()}
    with PredictionWriter(
        tmp_path / "p.parquet", TREE.output_columns, samples=True, metadata=metadata
    ) as writer:
        for sample, values in enumerate(alpha):
            writer.write(ids, values, sample=sample)
    return table, alpha.astype(float)


@pytest.fixture
def prioritise(tmp_path, survey):
    def run(**changes):
        options = {
            "catalog": tmp_path / "catalog.csv",
            "predictions": tmp_path / "p.parquet",
            "save_loc": tmp_path / "next.csv",
            "answer": RING,
            "fraction": 0.4,
            "probability": 0.6,
            "picture": False,
            "progress": False,
        }
        return workflow.prioritise(PrioritiseOptions(**options | changes))

    return run


def test_the_probability_is_that_of_the_mixture(survey):
    _, alpha = survey
    found = rule_probabilities(TREE, alpha, Rule(RING, 0.4))
    np.testing.assert_allclose(found, beta.sf(0.4, alpha[..., 0], alpha[..., 1]), rtol=1e-9)
    assert found[:, 2].mean() < 0.6 < found[:, 1].mean()
    spirals = ClassificationTask(class_names=("smooth", "spiral"), label_cols=("shape",))
    p = np.array([[[0.9, 0.1]], [[0.5, 0.5]]])
    assert rule_probabilities(spirals, p, Rule("spiral")).mean(axis=0) == pytest.approx([0.3])
    assert rule_probabilities(spirals, p, Rule("shape_spiral_probability")).shape == (2, 1)
    with pytest.raises(ConfigError, match="did you mean spiral"):
        Rule("spirals").find_output(spirals)
    with pytest.raises(ConfigError, match="is for the votes of a tree"):
        Rule("spiral", 0.2).find_output(spirals)
    assert Rule("bar").find_output(MultiLabelTask(num_labels=2, label_cols=("ring", "bar"))) == 1
    with pytest.raises(ConfigError, match="predicts numbers"):
        Rule("T").find_output(RegressionTask(num_targets=1, label_cols=("T",)))
    with pytest.raises(ConfigError, match="say which share"):
        Rule(RING).find_output(TREE)


@pytest.mark.parametrize(("n", "sure", "drawn"), [(100, 10, 2), (6, 5, 1), (1, 1, 0)])
def test_a_share_is_drawn_from_those_below_and_all_are_n_at_most(n, sure, drawn):
    task = ClassificationTask(class_names=("no", "yes"))
    p = np.concatenate([np.linspace(0.81, 0.99, 10), np.linspace(0, 0.79, 40)])[None]
    choose = [choose_by_rule(task, p, Rule("yes", random_share=0.2), n, seed=seed) for seed in (1, 1, 2)]
    first, again, other = (one.chosen.rows.tolist() for one in choose)
    assert first == again
    assert first[:sure] == list(range(9, 9 - sure, -1)) == other[:sure]
    assert all(row >= 10 for row in first[sure:])
    assert len(first) == sure + drawn
    assert first != other or drawn == 0
    assert choose[0].reasons == ["yes"] * sure + [RANDOM] * drawn
    assert (choose[0].above, choose[0].below) == (10, 40)
    with pytest.raises(CatalogError, match=r"not one of 50 galaxies.*the most is 0.99"):
        choose_by_rule(task, p, Rule("yes", probability=0.999), n)


def test_a_rule_makes_the_list(prioritise, survey, tmp_path, caplog):
    _, alpha = survey
    sure = beta.sf(0.4, alpha[..., 0], alpha[..., 1]).mean(axis=0)
    result = prioritise(random_share=0.2, save_loc=tmp_path / "next.json")
    chosen = result.table[result.table["reason"] == RING]
    assert len(chosen) == result.above == (sure >= 0.6).sum()
    np.testing.assert_allclose(chosen["score"], np.sort(sure)[::-1][: len(chosen)], rtol=1e-6)
    assert (result.table["reason"] == RANDOM).sum() == round(0.2 * len(chosen))
    assert f"{result.above} fulfil the rule, {NUMBER - result.above} are below it" in result.report()
    content = json.loads((tmp_path / "next.json").read_text())
    assert content["score"] == f"P({RING} ≥ 0.4)"
    assert content["rule"]["below"] == NUMBER - result.above
    assert "below the rule" not in caplog.text
    prioritise(probability=float(np.sort(sure)[-2:].mean()))
    assert "29 of 30 galaxies (97 %) are below the rule" in caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"score": "bald"}, "--score is for a choice by score"),
        ({"diversity": "kmeans++", "checkpoint": "zoobot-mini"}, "can't go with --answer"),
        ({"cost_col": "ra"}, "--cost-col is for a choice by score"),
        ({"volunteers": 9}, "--volunteers"),
        ({"answer": None}, "--fraction is of a rule"),
        ({"metadata": ("ra",)}, "add --platform zooniverse"),
        (NO_RULE | {"platform": "zooniverse", "subject_col": "s"}, "needs the probability of a rule"),
        ({"platform": "zooniverse", "metadata": ("#dec",)}, "no column 'dec'"),
        ({"platform": "zooniverse", "metadata": ("ra", "ra")}, "there twice"),
        ({"platform": "zooniverse", "subject_col": "file_loc"}, "numbers of subjects"),
        ({"platform": "zooniverse", "image_urls": "file:///{id_str}"}, "must begin with https"),
        ({"platform": "zooniverse", "image_urls": "https://a.org/{name}.jpg"}, "names {name}"),
        ({"platform": "zooniverse", "image_urls": "https://a.org/{id_str.x}"}, "names {id_str.x}"),
        ({"answer": "ring"}, "no answer, class or label"),
    ],
)  # fmt: skip
def test_what_can_not_go_together_is_refused_before_work(prioritise, tmp_path, changes, said):
    with pytest.raises((ConfigError, CatalogError), match=said):
        prioritise(**changes)
    assert not (tmp_path / "next.csv").exists()
    assert not (tmp_path / "next.zooniverse").exists()


def test_the_folder_is_ready_to_upload(prioritise, survey, tmp_path, caplog):
    table, alpha = survey
    (tmp_path / "0.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:900])  # damaged, and not passed on
    wanted = ("!ra", "subject_id")
    result = prioritise(platform="zooniverse", metadata=wanted, probability=0.05, subject_col="subject_id")
    folder = tmp_path / "next.zooniverse"
    found = pd.read_csv(folder / "manifest.csv", dtype=str, keep_default_na=False)
    assert list(found) == ["image", "!id_str", "#priority", "#score", "#reason", *wanted]
    assert set(result.failures["id_str"]) == {"galaxy 0"}
    listed = result.table[result.table["id_str"] != "galaxy 0"]
    assert [one.removeprefix("'") for one in found["!id_str"]] == listed["id_str"].tolist()
    assert found["#priority"].astype(int).tolist() == listed["rank"].tolist()
    assert {p.name for p in folder.iterdir()} == {"manifest.csv", "subject_assistant.json", *found["image"]}
    rows = dict(zip(listed["id_str"], found.itertuples(index=False), strict=True))
    for number, row in table.iterrows():
        if row["id_str"] not in rows:
            continue
        image, original = folder / rows[row["id_str"]].image, tmp_path / row["file_loc"]
        assert image.parent == folder
        if number % 3 == 2:
            assert image.suffix == ".png"
            np.testing.assert_array_equal(np.asarray(Image.open(image)), np.asarray(Image.open(original)))
        else:
            assert image.read_bytes() == original.read_bytes()
    content = json.loads((folder / "subject_assistant.json").read_text())
    assert content["schema"] == {"version": 1, "type": "zooniverse/subject_assistant"}
    assert set(content["data"]) == {str(900 + n) for n in range(NUMBER) if n != 4}
    by_member = beta.sf(0.4, alpha[:, 7, 0], alpha[:, 7, 1])
    assert content["data"]["907"]["0"][0] == pytest.approx(by_member.mean(), abs=1e-5)
    assert content["data"]["907"]["0"][1] == pytest.approx(by_member, abs=1e-5)
    assert "panoptes subject-set upload-subjects -f 1" in result.report()
    with pytest.raises(ConfigError, match="exists"):
        prioritise(platform="zooniverse", save_loc=tmp_path / "next.json")  # of another list
    prioritise(overwrite=True)
    assert "is of an older list" in caplog.text
    prioritise(platform="zooniverse", overwrite=True)
    assert not (folder / "subject_assistant.json").exists()
    (folder / "manifest.csv").unlink()
    with pytest.raises(ConfigError, match="no folder that this command wrote"):
        prioritise(platform="zooniverse", overwrite=True)


def test_other_images_are_drawn_whole_as_the_model_reads_them(tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    cube = np.random.default_rng(5).normal(size=(3, 40, 50)).astype(np.float32)
    fits.writeto(tmp_path / "a.fits", cube)
    Image.fromarray(np.arange(1600, dtype=np.uint8).reshape(40, 40)).save(tmp_path / "b.jpg")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "b.jpg", arcname="b.jpg")
    places = ["a.fits", "shard.tar::b.jpg"]
    pd.DataFrame({"id_str": ["a", "b"], "file_loc": places}).to_csv(tmp_path / "catalog.csv", index=False)
    seen = Preprocessing(image_size_pix=16, crop_fraction=0.5, stretch="linear")
    metadata = {"task": TREE.to_config(), "preprocessing": seen.to_config()}
    with PredictionWriter(tmp_path / "p.parquet", TREE.output_columns, metadata=metadata) as writer:
        writer.write(["a", "b"], np.array([[9.0, 1.0], [8.0, 1.0]]))
    workflow.prioritise(
        PrioritiseOptions(
            catalog=tmp_path / "catalog.csv",
            predictions=tmp_path / "p.parquet",
            save_loc=tmp_path / "next.csv",
            score="entropy",
            platform="zooniverse",
            picture=False,
        )
    )
    found = pd.read_csv(tmp_path / "next.zooniverse" / "manifest.csv").set_index("!id_str")["image"]
    for galaxy, place in zip("ab", places, strict=True):
        drawn = np.asarray(Image.open(tmp_path / "next.zooniverse" / found[galaxy]))
        whole = read_image(str(tmp_path / place), seen)
        whole = whole if whole.dtype == np.uint8 else np.rint(255 * whole).astype(np.uint8)
        np.testing.assert_array_equal(drawn, whole)


def test_urls_stand_in_for_images(prioritise, tmp_path):
    urls = "https://a.org/{id_str}.png?ra={ra}"
    result = prioritise(platform="zooniverse", image_urls=urls, random_share=0.5)
    folder = tmp_path / "next.zooniverse"
    assert [p.name for p in folder.iterdir()] == ["manifest.csv"]
    found = pd.read_csv(folder / "manifest.csv")
    assert len(found) == len(result.table)
    assert any("galaxy%201.png?ra=1.5" in url for url in found["image"])
    assert "-r 1 -m image/png" in result.report()
    with pytest.raises(CatalogError, match="the same URL"):
        prioritise(
            platform="zooniverse", image_urls="https://a.org/{all}", catalog=same(tmp_path), overwrite=True
        )


def same(tmp_path):
    table = pd.read_csv(tmp_path / "catalog.csv").assign(all="one")
    table.to_csv(tmp_path / "same.csv", index=False)
    return tmp_path / "same.csv"


def test_images_that_are_too_large_are_made_smaller(prioritise, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (1100, 1100, 3), np.uint8)
    for name in ("1.png", "2.tiff"):
        Image.fromarray(noise).save(tmp_path / name)
    result = prioritise(platform="zooniverse", n=NUMBER, probability=1e-9)
    assert result.upload.reduced == 2
    assert "2 images had more than 1 MiB" in result.report()
    sizes = [file.stat().st_size for file in (tmp_path / "next.zooniverse").iterdir()]
    assert max(sizes) <= 1024 * 1024
