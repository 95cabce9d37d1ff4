"""Targets of regression, looked at before they are learned, and labels that only look like classes."""

import logging

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.catalog import read_catalog
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.tasks import ClassificationTask, RegressionTask
from zoobot.shared.training.targets import refuse_measurements, usable_targets

RNG = np.random.default_rng(0)
T_TYPES = RNG.integers(-6, 12, 200).astype(float)
MAGNITUDES = RNG.normal(18, 1.5, 200)


def catalog(*columns, name="T"):
    names = [name] if len(columns) == 1 else [f"{name}{i}" for i in range(len(columns))]
    table = pd.DataFrame(dict(zip(names, columns, strict=True)))
    table["id_str"], table["file_loc"] = [f"g{i}" for i in range(len(table))], "a.jpg"
    return read_catalog(table, label_cols=names, check_files=False)


def usable(values, **options):
    return usable_targets({"catalog": catalog(values)}, **options)["catalog"]


def with_some(values, *others):
    return np.concatenate([values, others])


def test_galaxies_without_a_target_are_left_out_and_counted(caplog):
    values = np.where(np.arange(200) % 10 == 0, np.nan, T_TYPES)
    with caplog.at_level(logging.INFO):
        kept = usable(values)
    assert len(kept) == 180
    assert "g0" not in kept.ids
    assert "Left out 20 of 200 galaxies, which have no value in column 'T'" in caplog.text


def test_a_galaxy_with_one_target_of_several_stays(caplog):
    first, second = T_TYPES.copy(), MAGNITUDES.copy()
    first[:4] = np.nan
    second[2:6] = np.nan
    with caplog.at_level(logging.INFO):
        kept = usable_targets({"train": catalog(first, second)})["train"]
    assert kept.ids[:4] == ["g0", "g1", "g4", "g5"]
    assert np.isnan(kept.labels).sum() == 4
    assert "Left out 2 of 200 galaxies, which have no value in any of the columns ['T0', 'T1']" in caplog.text


def test_a_catalog_without_any_target_is_refused():
    with pytest.raises(LabelError, match=r"none of the 3 galaxies .* has a value in column 'T'"):
        usable(np.full(3, np.nan))


@pytest.mark.parametrize(
    ("values", "suspects"),
    [
        (with_some(T_TYPES, -99, -99), ["-99 (2 galaxies)"]),
        (with_some(T_TYPES, -99, -999, -9999), ["-9999 (1", "-999 (1", "-99 (1"]),
        (with_some(MAGNITUDES, 99.0, 99.0, 99.0), ["99 (3 galaxies)"]),
        (with_some(MAGNITUDES, 99.99, -99.9), ["99.99 (1", "-99.9 (1"]),
        (with_some(MAGNITUDES, np.float32(-99.9)), ["-99.9 (1"]),
        (with_some(RNG.uniform(50, 400, 99), -99), ["-99 (1"]),  # velocity dispersions: none is below 0
        (with_some(RNG.uniform(0, 1, 99), -999), ["-999 (1"]),
        (with_some(RNG.uniform(0, 9, 99), -32768, -2147483648), ["-32768 (1"]),
        (np.full(9, -99.0), ["-99 (9 galaxies); there are no others"]),
    ],
)
def test_values_that_stand_for_nothing_are_asked_about(values, suspects):
    with pytest.raises(LabelError, match="may stand for missing ones") as caught:
        usable(values)
    for words in (*suspects, "column 'T' of the DataFrame", "missing_values=(", "suspect_targets='keep'"):
        assert words in str(caught.value)
    assert len(usable(values, suspect_targets="keep")) == len(values)


def test_the_advice_works(caplog):
    values = with_some(T_TYPES, -99, -999, np.float32(-99.9))
    with pytest.raises(LabelError) as caught:
        usable(values)
    assert "missing_values=(-999, -99.9, -99)" in str(caught.value)
    with caplog.at_level(logging.INFO):
        assert len(usable(values, missing_values=(-999.0, -99.9, -99.0))) == 200
    assert "Left out 3 of 203" in caplog.text
    with pytest.raises(LabelError, match=r"-99\.9 \(1"):
        usable(values, missing_values=(-999.0, -99.0))


@pytest.mark.parametrize(
    "values",
    [
        T_TYPES,
        MAGNITUDES,
        RNG.uniform(0, 100, 200).round(),  # percentages may be 99
        with_some(RNG.uniform(0, 98, 200), 99),
        RNG.normal(0, 300, 200).round(),  # velocities of both signs
        with_some(RNG.uniform(-300, 300, 200), -99, 99),
        RNG.exponential(5, 5000),
        RNG.beta(0.1, 2, 5000),  # fractions of votes
        RNG.normal(0, 1, 5000) ** 2,
        RNG.lognormal(0, 1, 5000),
        RNG.integers(0, 2, 200).astype(float),
        np.zeros(5),
        np.full(5, 3.0),
        -RNG.exponential(5, 500),
    ],
)
def test_plausible_values_are_learned_without_a_question(values):
    assert len(usable(values)) == len(values)


@pytest.mark.parametrize(
    "values",
    [
        10 ** RNG.uniform(8, 12, 500),
        10 ** RNG.uniform(-17, -11, 500),
        -(10 ** RNG.uniform(-17, -11, 500)),
        10 ** np.linspace(6, 12, 7),
        with_some(MAGNITUDES, 1e30),
        with_some(T_TYPES, -3.4e38),
        RNG.normal(0, 1, 500) * 10 ** RNG.uniform(0, 6, 500),
    ],
)
def test_many_decades_are_asked_about(values):
    with pytest.raises(LabelError, match=r"column 'T' .* decades.*logarithms.*suspect_targets='keep'"):
        usable(values)
    assert len(usable(values, suspect_targets="keep")) == len(values)
    assert len(usable(values, ask_about_ranges=False)) == len(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suspect_targets": "learn"}, "suspect_targets must be one of"),
        ({"missing_values": (np.inf,)}, "missing_values must be finite"),
    ],
)
def test_options_that_can_not_work(options, message):
    with pytest.raises(ConfigError, match=message):
        usable(T_TYPES, **options)


def test_a_data_module_leaves_out_and_asks(caplog):
    values = np.where(np.arange(200) % 10 == 0, -99, MAGNITUDES)
    task = RegressionTask(label_cols=("T",))
    with pytest.raises(LabelError, match=r"-99 \(20 galaxies\)"):
        GalaxyData(catalog(values)).meet(task)
    data = GalaxyData(catalog(values), missing_values=[-99])
    with caplog.at_level(logging.INFO):
        data.meet(task)
        data.meet(task)
    assert sum(len(part) for part in data.galaxies.values()) == 180
    assert caplog.text.count("Left out 20 of 200") == 1
    assert sum(part["without_target"] for part in data.record().values()) == 20
    with pytest.raises(ConfigError, match="missing_values is for a task of regression"):
        GalaxyData(catalog(np.arange(200) % 2), missing_values=[-99]).meet(
            ClassificationTask(class_names=("a", "b"), label_cols=("T",))
        )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0, 2.0], r"fractions such as 0\.5; say task='regression'"),
        (T_TYPES.tolist(), r"18 different whole numbers, from -6 to 11; .*or task='classification'"),
        ([str(i) for i in range(11)], "11 different whole numbers"),
        ([0, 1, -99, 1, -99], r"-99 may stand for a missing one \(2 galaxies\); leave those galaxies out"),
    ],
)
def test_labels_that_look_measured(values, message):
    with pytest.raises(LabelError, match=f"column 'T' of c.csv look like measurements.*{message}"):
        refuse_measurements(values, "T", "c.csv")


@pytest.mark.parametrize(
    "values", [[0, 1, 0], list("abc") * 9, list(range(10)), [-1, 0, 1], [True, False], ["1", "x"]]
)
def test_labels_that_may_be_classes(values):
    refuse_measurements(values, "T", "c.csv")


def test_a_classifier_says_where_measurements_belong():
    task = ClassificationTask(class_names=("a", "b"), label_cols=("T",))
    with pytest.raises(LabelError, match=r"measured numbers are for a task of regression.*got 0\.5"):
        task.check_labels(np.array([[0.5]]), ["g"])
