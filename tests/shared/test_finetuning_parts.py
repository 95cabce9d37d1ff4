"""The engine-neutral parts of finetuning: settings, schedule, label statistics, the epochs' table."""

import inspect
from dataclasses import fields
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight

from zoobot.shared import tasks
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.likelihood import dirichlet_multinomial_nll
from zoobot.shared.schemas import Schema
from zoobot.shared.training import targets
from zoobot.shared.training.epochs import EpochLog
from zoobot.shared.training.finetune_settings import (
    FinetuneKeywords,
    FinetuneSettings,
    TrainerPlan,
    TrainerSettings,
    learning_rate_factor,
    plan_trainer,
)


def test_what_editors_see_of_a_models_options_is_what_is_declared():
    declared = get_type_hints(FinetuneSettings)
    assert get_type_hints(FinetuneKeywords) == {
        field.name: declared[field.name] for field in fields(FinetuneSettings)
    }


def test_what_editors_see_of_a_trainers_options_is_what_is_declared():
    """And nothing that is asked for gets lost on the way into the plan."""
    keywords = inspect.signature(plan_trainer).parameters
    for field in fields(TrainerSettings):
        assert keywords[field.name].default == field.default
    planned = {field.name for field in fields(TrainerPlan)} - {"settings", "resumable", "others"}
    assert set(keywords) == planned | {field.name for field in fields(TrainerSettings)} | {"trainer_kwargs"}


def test_a_trainer_needs_a_folder():
    with pytest.raises(ConfigError, match="save_dir must be the path of a folder, got None"):
        plan_trainer(None)


@pytest.mark.parametrize("given", [{"gradient_clip_val": 0.5}, {"gradient_clip": 0.5}])
def test_a_trainers_options_have_lightnings_names_too(given):
    assert plan_trainer("run", **given).settings.gradient_clip == 0.5
    with pytest.raises(ConfigError, match="gradient_clip_val is gradient_clip here: give one of them"):
        plan_trainer("run", **{"gradient_clip": 0.7, "gradient_clip_val": 0.6} | given)


@pytest.mark.parametrize(
    "options",
    [
        {"n_blocks": -1},
        {"n_blocks": "some"},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"lr_decay": 1.5},
        {"dropout_prob": 1},
        {"weight_decay": -1},
        {"schedule": "linear"},
        {"min_lr_factor": 2},
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        FinetuneSettings(**options)


def test_a_misspelt_setting_gets_a_hint():
    with pytest.raises(ConfigError, match="did you mean 'dropout_prob'"):
        FinetuneSettings.from_config({"dropout": 0.1})


def test_the_schedule_rises_then_falls_to_its_floor():
    settings = FinetuneSettings(schedule="cosine", min_lr_factor=0.1)
    factors = [learning_rate_factor(settings, step, 100, 10) for step in range(101)]
    assert factors[9] == factors[10] == 1.0
    assert np.all(np.diff(factors[:10]) > 0)
    assert np.all(np.diff(factors[10:]) < 0)
    assert factors[-1] == pytest.approx(0.1)
    constant = FinetuneSettings(schedule="constant")
    assert {learning_rate_factor(constant, step, 100, 10) for step in range(10, 100)} == {1.0}


def test_a_run_shorter_than_its_warmup_still_learns():
    settings = FinetuneSettings()
    assert learning_rate_factor(settings, 2, 3, 50) == 1.0


def test_balanced_weights_are_scikit_learns():
    labels = np.array([0, 0, 0, 1, 2, 2])
    task = tasks.ClassificationTask(class_names=("a", "b", "c"))
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(targets.balanced_weights(labels[:, None], task), expected)


def test_balanced_yes_weights_make_yes_and_no_count_alike():
    task = tasks.MultiLabelTask(num_labels=1, label_cols=("ring",))
    labels = np.array([[1.0], [0.0], [0.0], [0.0], [np.nan]])
    assert targets.balanced_weights(labels, task).tolist() == [3.0]


def test_a_class_without_galaxies_cannot_be_balanced():
    task = tasks.ClassificationTask(class_names=("spiral", "ring"))
    with pytest.raises(LabelError, match="ring"):
        targets.balanced_weights(np.zeros((4, 1)), task)


def test_target_statistics_leave_missing_values_out():
    mean, std = targets.target_statistics(np.array([[1.0, 5.0], [np.nan, 5.0], [3.0, 5.0]]))
    assert mean.tolist() == [2.0, 5.0]
    assert std.tolist() == [1.0, 1.0]
    with pytest.raises(LabelError, match="no value"):
        targets.target_statistics(np.array([[1.0, np.nan], [2.0, np.nan]]))


def test_the_epoch_log_grows_and_replaces_what_a_killed_run_left(tmp_path):
    log = EpochLog(tmp_path / "run" / "metrics.csv")
    for epoch in range(3):
        log.append({"epoch": epoch, "val_loss": 1.0 - 0.1 * epoch})
    log.append({"epoch": 1, "val_loss": 0.5, "val_accuracy": 0.9})
    table = pd.read_csv(tmp_path / "run" / "metrics.csv")
    assert table["epoch"].tolist() == [0, 1]
    assert table["val_loss"].tolist() == [1.0, 0.5]
    assert np.isnan(table["val_accuracy"][0])
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["metrics.csv"]


def test_prior_concentrations_are_the_best_constant_prediction():
    rng = np.random.default_rng(0)
    schema = Schema.from_pairs(
        {"shape": ["smooth", "disk", "star"], "ring": ["yes", "no"]}, {"ring": "shape_disk"}
    )
    truth = np.array([6.0, 3.0, 1.5, 2.0, 12.0])
    votes = np.hstack(
        [
            np.array([rng.multinomial(40, rng.dirichlet(truth[part])) for _ in range(800)], dtype=float)
            for part in schema.question_slices
        ]
    )
    votes[::3, 3:] = np.nan
    best = targets.prior_concentrations(votes, schema)
    np.testing.assert_allclose(best, truth, rtol=0.25)

    def loss(concentrations):
        same = np.broadcast_to(concentrations, votes.shape)
        return dirichlet_multinomial_nll(same, votes, schema.question_slices).sum()

    assert loss(best) < min(loss(np.full(5, 51.0)), loss(best * 2), loss(best / 1.5))


def test_a_question_nobody_was_asked_starts_even():
    schema = Schema.from_pairs({"ring": ["yes", "no"]})
    best = targets.prior_concentrations(np.full((3, 2), np.nan), schema)
    assert best[0] == best[1]
