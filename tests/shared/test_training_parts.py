"""What training whole models shares: parts of the loss, averages of weights, the checks of a trainer."""

import numpy as np
import pytest

from zoobot.shared import schemas
from zoobot.shared.errors import ConfigError
from zoobot.shared.schemas import Schema
from zoobot.shared.tasks import RegressionTask, TreeTask
from zoobot.shared.training.epochs import mean_losses, part_groups
from zoobot.shared.training.finetune_settings import plan_trainer
from zoobot.shared.training.steps import decay_at

BOTH = schemas.join(
    [
        Schema.from_pairs({"shape": ["smooth", "disk"], "arms": ["yes", "no"]}, name="first"),
        Schema.from_pairs({"ring": ["yes", "no"]}, name="second"),
    ]
)


def test_there_is_a_sum_for_each_question_and_each_campaign():
    names, members = part_groups(TreeTask(schema=BOTH))
    assert names == ["nll_shape", "nll_arms", "nll_ring", "nll_campaign_first", "nll_campaign_second"]
    np.testing.assert_array_equal(members[:, :3], np.eye(3))
    np.testing.assert_array_equal(members[:, 3:], [[1, 0], [1, 0], [0, 1]])


def test_a_tree_of_one_campaign_has_its_questions_and_other_tasks_nothing():
    names, members = part_groups(TreeTask(schema=schemas.get("gz_rings")))
    assert (names, members.tolist()) == (["nll_ring"], [[1.0]])
    names, members = part_groups(RegressionTask(label_cols=("size",)))
    assert (names, members.shape) == ([], (1, 0))


def test_means_are_over_those_who_were_asked():
    sums, galaxies = np.array([6.0, 0.0, 5.0]), np.array([3, 0, 2])
    assert mean_losses(["a", "b", "c"], sums, galaxies) == {"train_a": 2.0, "train_c": 2.5}


def test_an_average_forgets_its_start_soon_and_then_follows_slowly():
    decays = [decay_at(update, 0.99) for update in range(2000)]
    assert decays[0] == 0.1
    assert np.all(np.diff(decays) >= 0)
    assert decays[-1] == 0.99
    assert np.prod(decays[:100]) < 1e-10  # what is left of the first weights


def test_an_average_of_what_does_not_change_is_that():
    average = 0.0
    for update in range(200):
        average += (1 - decay_at(update, 0.9)) * (1.0 - average)
    assert average == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradient_clip": 0}, "gradient_clip must be above 0, got 0"),
        ({"gradient_clip": float("nan")}, "gradient_clip"),
        ({"ema_decay": 1}, "ema_decay must be at least 0 and below 1, got 1"),
        ({"ema_decay": -0.1}, "ema_decay"),
        ({"accumulate_batches": 0}, "accumulate_batches must be at least 1, got 0"),
        ({"num_nodes": 0}, "num_nodes must be at least 1, got 0"),
    ],
)
def test_a_trainer_that_can_not_be_made(options, words):
    with pytest.raises(ConfigError, match=words):
        plan_trainer("run", max_epochs=1, patience=1, loggers=(), **options)


def test_a_trainer_that_can_be_made():
    plan = plan_trainer(
        "run", max_epochs=1, patience=1, loggers=(), gradient_clip=0.1, ema_decay=0.999, accumulate_batches=4
    )
    assert plan.settings.accumulate_batches == 4
