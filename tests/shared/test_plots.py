"""Pictures are files with something on them; what they show is read back from the axes they are drawn on."""

import io
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from zoobot import plots
from zoobot.certainty.coverage import reliability_curve
from zoobot.plots import Bar
from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError, WriteError

SCHEMA = schemas.get("gz_decals_dr5")


def ink(figure):
    """How much of a picture is not white, as a notebook shows it."""
    data, _ = figure._repr_png_()
    return float((np.asarray(Image.open(io.BytesIO(data)).convert("L")) < 250).mean())


def texts(figure):
    return [t.get_text() for axes in figure.axes for t in axes.texts] + [
        a.get_title("left") for a in figure.axes
    ]


def log(n_epochs=5):
    epoch = np.arange(n_epochs)
    return pd.DataFrame(
        {
            "epoch": epoch + 1,
            "train_loss": 1.0 / (epoch + 1),
            "val_loss": np.abs(epoch - 2) + 1.0,
            "val_accuracy": epoch / 10,
        }
    )


def test_training_curves_mark_the_best_epoch():
    figure = plots.training_curves(log(), scores=["accuracy", "absent"])
    assert ink(figure) > 0.01
    losses, scores = figure.axes
    assert "best: epoch 3" in [t.get_text() for t in losses.texts]
    np.testing.assert_array_equal(losses.lines[1].get_ydata(), log()["val_loss"])
    assert len(scores.lines) == 1


@pytest.mark.parametrize("n_epochs", [1, 2])
def test_training_curves_of_a_short_run(n_epochs):
    assert ink(plots.training_curves(log(n_epochs), scores=["accuracy"])) > 0.005


def test_training_curves_bear_missing_numbers():
    table = log()
    table.loc[1, "val_loss"] = np.nan
    table["val_r2"] = np.nan
    assert ink(plots.training_curves(table, scores=["r2"])) > 0.005


@pytest.mark.parametrize("table", [pd.DataFrame(), log(0), log().drop(columns="val_loss")])
def test_training_curves_of_nothing_are_refused(table):
    with pytest.raises(ConfigError, match="needs rows with epoch and val_loss"):
        plots.training_curves(table)


@pytest.mark.parametrize(
    "image",
    [
        np.full((20, 20, 3), 90, np.uint8),
        np.full((20, 20, 1), 0.5, np.float32),
        np.full((20, 20, 2), 0.5, np.float32),
        np.full((20, 20, 5), 0.5, np.float32),
    ],
    ids=["uint8", "grey", "two bands", "five bands"],
)
def test_example_galaxies_of_every_kind_of_image(image):
    bars = [[Bar("Shape"), Bar("ring", 0.9, 1.0)], [Bar("ring", 0.1)]]
    figure = plots.example_galaxies([image, image], bars, names=["a", "b"])
    assert ink(figure) > 0.05


def test_example_galaxies_show_predictions_and_labels():
    bars = [[Bar("Shape"), Bar("ring", 0.9, 0.25), Bar("T", 0.5, None, "3.1")]]
    figure = plots.example_galaxies([np.zeros((8, 8, 3), np.uint8)], bars)
    axes = figure.axes[1]
    assert [t.get_text() for t in axes.texts] == ["Shape", "ring", "90%", "T", "3.1"]
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == [1, 0.9, 1, 0.5]
    marks = [segment[0][0] for c in axes.collections for segment in c.get_segments()]
    assert marks == [0.25]


def test_example_galaxies_need_a_list_of_bars_each():
    with pytest.raises(ConfigError, match="got 1 and 0"):
        plots.example_galaxies([np.zeros((8, 8, 3))], [])
    with pytest.raises(ConfigError, match="got 0 and 0"):
        plots.example_galaxies([], [])


def test_confusion_matrix_shows_counts_and_shares():
    figure = plots.confusion_matrix(np.array([[3, 1], [0, 4]]), ["round", "cigar"])
    assert ink(figure) > 0.05
    assert {"3\n75%", "1\n25%", "0\n0%", "4\n100%", "8 galaxies"} <= set(texts(figure))


def test_confusion_matrix_of_many_classes_and_an_absent_one():
    counts = np.diag([0, *range(1, 20)])
    assert ink(plots.confusion_matrix(counts, [f"class {k}" for k in range(20)])) > 0.02


def test_regression_scatter_leaves_out_the_unknown():
    targets = np.array([[1.0, np.nan], [2.0, np.nan], [np.nan, np.nan]])
    predicted = np.array([[1.0, 5.0], [4.0, 5.0], [9.0, 9.0]])
    figure = plots.regression_scatter(predicted, targets, ["T", "bar"])
    assert ink(figure) > 0.005
    first, second = figure.axes
    assert first.collections[0].get_offsets().tolist() == [[1, 1], [2, 4]]
    assert first.get_title("left") == "T   RMSE 1.41"
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["predicted = true"]
    assert len(second.collections[0].get_offsets()) == 0


def test_regression_scatter_of_one_galaxy_and_of_very_many():
    one = np.array([[2.0]])
    assert ink(plots.regression_scatter(one, one, ["T"])) > 0.005
    many = np.random.default_rng(0).normal(size=(5000, 1))
    assert ink(plots.regression_scatter(many, many, ["T"])) > 0.02


def test_fractions_scatter_compares_fractions_of_all_who_were_asked():
    votes = np.full((3, len(SCHEMA.label_cols)), np.nan)
    first = SCHEMA.questions[0].slice
    votes[:, first] = [[8, 2, 0], [1, 9, 0], [1, 0, 0]]
    fractions = np.full_like(votes, 0.25)
    ends = fractions - 0.1, fractions + 0.2
    figure = plots.fractions_scatter(fractions, votes, SCHEMA, intervals=ends)
    (axes,) = figure.axes
    assert axes.get_title("left") in ("Smooth or featured: smooth", "Smooth or featured: featured or disk")
    points = axes.collections[0].get_offsets()
    assert sorted(points[:, 0].tolist()) in ([0.1, 0.8, 1.0], [0.0, 0.2, 0.9])
    assert axes.get_xlabel() == "volunteers' fraction (3 galaxies)"  # as many as the table says
    assert points[:, 1].tolist() == [0.25, 0.25, 0.25]
    assert all(segment[:, 1].tolist() == [0.15, 0.45] for segment in axes.collections[1].get_segments())


def test_fractions_scatter_needs_votes():
    votes = np.zeros((3, len(SCHEMA.label_cols)))
    with pytest.raises(ConfigError, match="nothing to compare with"):
        plots.fractions_scatter(votes + 0.5, votes, SCHEMA)


def test_purity_completeness_leaves_out_what_has_one_answer_only():
    labels = np.array([[1, 1], [0, 1], [1, np.nan], [0, 1]], dtype=float)
    probabilities = np.array([[0.9, 0.9], [0.1, 0.9], [0.8, 0.9], [0.2, 0.9]])
    figure = plots.purity_completeness(probabilities, labels, ["ring", "bar"])
    (line,) = figure.axes[0].lines
    assert line.get_label() == "ring (50% of galaxies)"
    assert set(line.get_ydata()) <= {0.5, 2 / 3, 1.0}


def test_question_confusions_show_the_questions_with_most_galaxies():
    counts = [np.zeros((len(q.answers),) * 2, int) for q in SCHEMA.questions]
    counts[0][0, 0], counts[0][1, 0], counts[2][1, 1] = 6, 2, 3
    figure = plots.question_confusions(counts, SCHEMA)
    assert ink(figure) > 0.02
    first, second = figure.axes
    assert first.get_title("left") == "Smooth or featured (8 galaxies)"
    assert [t.get_text() for t in first.texts] == ["100", "0", "0", "100", "0", "0"]
    assert second.get_title("left").endswith("(3 galaxies)")
    assert first.get_ylabel() == "answer with most votes (galaxies)"
    with pytest.raises(ConfigError, match="no question"):
        plots.question_confusions([0 * c for c in counts], SCHEMA)


def test_reliability_panels_draw_what_has_labels():
    curves = {"ring": reliability_curve([0.1, 0.9], [0, 1]), "bar": reliability_curve([], [])}
    figure = plots.reliability_panels(curves)
    assert ink(figure) > 0.005
    (axes,) = figure.axes
    assert axes.get_title("left") == "ring"
    assert len(axes.lines) == 1  # the diagonal: one prediction a step says too little for a line
    low, high = (segment[:, 1].tolist() for segment in axes.collections[0].get_segments())
    assert low == pytest.approx([0, 0.5])
    assert high == pytest.approx([0.5, 1])
    assert [t.get_text() for t in axes.texts] == ["error 0.100"]
    three = np.repeat([0.05, 0.15, 0.95], 12)
    figure = plots.reliability_panels({"ring": reliability_curve(three, three > 0.5)})
    assert len(figure.axes[0].lines) == 3  # two steps between three of twelve predictions
    many = {f"label {k}": reliability_curve([0.5], [1]) for k in range(20)}
    figure = plots.reliability_panels(many)
    assert ink(figure) > 0.005
    assert len(figure.axes) == 12
    with pytest.raises(ConfigError, match="no predictions with labels"):
        plots.reliability_panels({"bar": curves["bar"]})


def test_coverage_dots_stand_where_the_table_says():
    table = pd.DataFrame(
        {
            "question": ["shape", "bar", "shape", "bar"],
            "level": [0.5, 0.5, 0.9, 0.9],
            "n": [7, 0, 7, 0],
            "votes": [0.4, np.nan, 0.85, np.nan],
            "votes_plain": [0.6, np.nan, 0.95, np.nan],
        }
    )
    figure = plots.coverage_dots(table, titles={"shape": "Shape"})
    assert ink(figure) > 0.005
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Shape  (7)"]
    places = [c.get_offsets().tolist() for c in axes.collections]
    assert places == [[[0.6, 0]], [[0.4, 0]], [[0.95, 0]], [[0.85, 0]]]
    with pytest.raises(ConfigError, match="no question has votes"):
        plots.coverage_dots(table[table["n"] == 0])


def test_question_titles_drop_a_suffix_that_all_share():
    assert plots.question_titles(SCHEMA)[:2] == ["Smooth or featured", "Disk edge on"]
    shared = {
        title.rpartition(" ")[2] for title in plots.question_titles(schemas.get("gz_decals_all_campaigns"))
    }
    assert {"dr5", "dr8"} <= shared
    assert plots.question_titles(schemas.get("gz_rings")) == ["Ring"]


def test_drawing_needs_no_display_and_leaves_pyplot_alone(tmp_path):
    code = (
        "import sys, pandas as pd; from zoobot import plots\n"
        "log = pd.DataFrame({'epoch': [1, 2], 'train_loss': [2, 1], 'val_loss': [2, 1]})\n"
        "figure = plots.training_curves(log)\n"
        f"for ending in ('png', 'pdf', 'svg'): plots.save_figure(figure, {str(tmp_path / 'c.')!r} + ending)\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"MPLBACKEND": "TkAgg", "PATH": ""})
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "c.pdf").read_bytes()[:5] == b"%PDF-"
    assert b"/Type3" not in (tmp_path / "c.pdf").read_bytes()  # which journals refuse
    assert b"<svg" in (tmp_path / "c.svg").read_bytes()


@pytest.mark.parametrize("ending", ["PDF", "svg"])
def test_the_same_figure_is_the_same_file(tmp_path, ending):
    one, two = (plots.save_figure(plots.training_curves(log()), tmp_path / f"{n}.{ending}") for n in "ab")
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["c.jpg", "c", "c.pdf.gz", "png"])
def test_other_endings_are_refused(tmp_path, name):
    with pytest.raises(ConfigError, match=r"written as \.png, \.pdf, \.svg, got .*" + name):
        plots.save_figure(plots.training_curves(log()), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_one_panel_is_drawn_where_it_is_told():
    votes = np.full((3, len(SCHEMA.label_cols)), np.nan)
    votes[:, SCHEMA.questions[0].slice] = [[8, 2, 0], [1, 9, 0], [1, 0, 0]]
    counts = [np.zeros((len(q.answers),) * 2, int) for q in SCHEMA.questions]
    counts[0][0, 0] = 6
    values, labels = np.array([[0.9], [0.1]]), np.array([[1.0], [0.0]])
    coverage = pd.DataFrame(
        {"question": ["bar"], "level": [0.5], "n": [7], "votes": [0.4], "votes_plain": [0.6]}
    )
    strategies = pd.DataFrame({"strategy": "bald", "seed": 1, "labels": [10, 20], "accuracy": [0.5, 0.6]})
    draws = [
        lambda ax: plots.confusion_matrix(np.eye(2, dtype=int), ["a", "b"], ax=ax),
        lambda ax: plots.purity_completeness(values, labels, ["ring"], ax=ax),
        lambda ax: plots.regression_scatter(values, labels, ["T"], ax=ax),
        lambda ax: plots.fractions_scatter(np.full_like(votes, 0.3), votes, SCHEMA, ax=ax),
        lambda ax: plots.question_confusions(counts, SCHEMA, ax=ax),
        lambda ax: plots.reliability_panels({"ring": reliability_curve([0.1, 0.9], [0, 1])}, ax=ax),
        lambda ax: plots.coverage_dots(coverage, ax=ax),
        lambda ax: plots.label_curves({"kinds": (strategies, "accuracy")}, ax=ax),
        lambda ax: plots.training_curves(log(), ax=ax),
    ]
    mine = Figure()
    _, half = mine.subfigures(1, 2)
    for draw, ax in zip(draws, half.subplots(3, 3).flatten(), strict=True):
        assert draw(ax) is mine
        assert ax.has_data()
    assert len(mine.axes) == len(draws)


def test_several_panels_are_too_many_for_one():
    two = np.zeros((3, 2))
    with pytest.raises(ConfigError, match="ax= takes one panel, but there are 2 to draw"):
        plots.regression_scatter(two, two, ["T", "bar"], ax=Figure().add_subplot())
    with pytest.raises(ConfigError, match="but there are 2"):
        plots.training_curves(log(), scores=["accuracy"], ax=Figure().add_subplot())


def test_a_figure_shows_in_a_notebook():
    data, size = plots.training_curves(log())._repr_png_()
    assert Image.open(io.BytesIO(data)).size == (750, 540)
    assert size == {"width": 500, "height": 360}


def test_every_axis_says_what_it_shows():
    figure = plots.training_curves(log(), scores=["accuracy"])
    names = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert names == [("epoch", "loss (mean of galaxies)"), ("epoch", "score on validation galaxies")]


@pytest.mark.parametrize("kind", ["sheet", "examples"])
def test_no_caption_is_cut(kind):
    image, name = (
        np.zeros((8, 8, 3)),
        "12. SDSS J123456.78+001122.33 of the northern field\nits spiral arms: 2.3",
    )
    if kind == "sheet":
        figure = plots.contact_sheet([image] * 8, [name] * 8)
    else:
        figure = plots.example_galaxies([image] * 4, [[Bar("ring", 0.5)]] * 4, names=[name] * 4)
    figure.savefig(io.BytesIO(), dpi=100)
    width, height = figure.get_size_inches() * figure.dpi
    for axes in figure.axes:
        box = axes.title.get_window_extent()
        assert box.x0 >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
        assert axes.title.get_text().replace("\n", " ").replace("- ", "-") in ("", name.replace("\n", " "))


def test_a_picture_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = plots.save_figure(plots.training_curves(log()), tmp_path / "c.png")
    before = path.read_bytes()

    def full(self, place, **options):
        place.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(WriteError, match=r"c.png: No space left on device; the older file is kept"):
        plots.save_figure(plots.training_curves(log(3)), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.png"]
