"""The heads of every engine, against the same arithmetic in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special

from zoobot.shared import schemas
from zoobot.shared.checkpoint import read_checkpoint, write_checkpoint
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 8)).astype("float32")
WEIGHT = RNG.normal(size=(3, 8)).astype("float32")
BIAS = RNG.normal(size=3).astype("float32")
LINEAR = FEATURES.astype("float64") @ WEIGHT.T.astype("float64") + BIAS

HEADS = ["ClassificationHead", "MultiLabelHead", "RegressionHead", "DirichletHead"]


@pytest.fixture
def trained(engine, set_linear):
    """Makes a head of three outputs that has learnt the linear layer above."""

    def make(name, **options):
        head = getattr(engine.heads, name)(8, 3, **options)
        set_linear(head.linear, WEIGHT, BIAS)
        return head

    return make


@pytest.fixture
def outputs(apply, to_tensor, to_numpy):
    """The raw outputs of a head for the features above, and its predictions."""

    def both(head):
        raw = apply(head, FEATURES)
        return raw, to_numpy(head.to_predictions(to_tensor(raw)))

    return both


def test_classification_head(trained, outputs):
    logits, probabilities = outputs(trained("ClassificationHead"))
    np.testing.assert_allclose(logits, LINEAR, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, special.softmax(LINEAR, axis=1), rtol=1e-5, atol=1e-6)


def test_multilabel_head(trained, outputs):
    logits, probabilities = outputs(trained("MultiLabelHead"))
    np.testing.assert_allclose(logits, LINEAR, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, special.expit(LINEAR), rtol=1e-5, atol=1e-6)


def test_dirichlet_head(trained, outputs):
    concentrations, predictions = outputs(trained("DirichletHead"))
    np.testing.assert_allclose(concentrations, 1 + 100 * special.expit(LINEAR), rtol=1e-5)
    np.testing.assert_array_equal(predictions, concentrations)


def test_calibration_changes_predictions_but_not_what_the_loss_takes(trained, outputs):
    head = trained("DirichletHead")
    before, _ = outputs(head)
    head.set_calibration([0.5, 2.0, 1.0])
    raw, predictions = outputs(head)
    np.testing.assert_array_equal(raw, before)
    np.testing.assert_allclose(predictions, before * [0.5, 2.0, 1.0], rtol=1e-6)


def test_a_temperature_changes_how_sure_probabilities_are_and_nothing_else(trained, outputs):
    head = trained("ClassificationHead")
    head.set_calibration([0.25])
    logits, probabilities = outputs(head)
    np.testing.assert_allclose(logits, LINEAR, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, special.softmax(LINEAR / 4, axis=1), rtol=1e-5, atol=1e-6)
    head = trained("MultiLabelHead")
    head.set_calibration([0.25, 1.0, 3.0])
    logits, probabilities = outputs(head)
    np.testing.assert_allclose(logits, LINEAR, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(probabilities, special.expit(LINEAR * [0.25, 1, 3]), rtol=1e-5, atol=1e-6)
    assert head.get_calibration().tolist() == [0.25, 1.0, 3.0]


@pytest.mark.parametrize("factors", [[1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 1.0, np.nan]])
def test_calibration_that_can_not_work(engine, factors):
    with pytest.raises(LabelError, match="need 3 finite factors above 0"):
        engine.heads.DirichletHead(8, 3).set_calibration(factors)


@pytest.mark.parametrize(
    ("kind", "options", "factors"),
    [
        ("Tree", {"schema": "gz_rings"}, [0.25, 4.0]),
        ("Classifier", {"class_names": ["a", "b", "c"]}, [0.5]),
        ("Classifier", {"num_classes": 2, "multi_label": True}, [0.5, 2.0]),
    ],
)
def test_calibration_is_saved_and_an_older_checkpoint_has_none(
    kind, options, factors, engine, both_engines, tmp_path
):
    make = {"name": "resnet10t", "preprocessing": {"image_size_pix": 32}, **options}
    model = getattr(engine.finetune, f"FinetuneableZoobot{kind}")(**make)
    model.head.set_calibration(factors)
    folder = engine.checkpoint.save(model, tmp_path / "new")
    for other in both_engines.values():
        assert other.checkpoint.load(folder).head.get_calibration().tolist() == factors
    neutral = read_checkpoint(folder)
    neutral.head_tensors.pop("calibration")
    write_checkpoint(tmp_path / "old", neutral)
    assert set(engine.checkpoint.load(tmp_path / "old").head.get_calibration()) == {1.0}


def test_concentrations_stay_in_their_range_however_sure_the_network_is(engine, apply, set_linear):
    head = engine.heads.DirichletHead(8, 2)
    set_linear(head.linear, np.zeros((2, 8), "float32"), np.array([1e6, -1e6], "float32"))
    np.testing.assert_array_equal(apply(head, FEATURES), [[101.0, 1.0]] * 5)


def test_regression_head_speaks_standardised_values_inside_and_the_targets_units_outside(
    trained, outputs, to_tensor, to_numpy
):
    head = trained("RegressionHead")
    mean, std = np.array([20.0, -3.0, 0.1]), np.array([4.0, 0.5, 100.0])
    head.set_target_statistics(mean, std)
    raw, values = outputs(head)
    np.testing.assert_allclose(raw, LINEAR, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(values, LINEAR * std + mean, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(to_numpy(head.standardise(to_tensor(values))), raw, rtol=1e-3, atol=1e-4)
    assert np.isnan(to_numpy(head.standardise(to_tensor(np.full((1, 3), np.nan, "float32"))))).all()


def test_unit_interval_head_stays_inside(trained, outputs, to_tensor, to_numpy):
    head = trained("RegressionHead", unit_interval=True)
    mean, std = np.array([0.5, 0.9, 0.0]), np.array([0.2, 0.05, 0.001])
    head.set_target_statistics(mean, std)
    raw, values = outputs(head)
    want = special.expit(LINEAR + special.logit(np.clip(mean, 1e-3, 1 - 1e-3)))
    np.testing.assert_allclose(values, want, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(raw, (want - mean) / std, rtol=1e-3, atol=1e-3)
    extreme = to_tensor(np.array([[1e4] * 3, [-1e4] * 3], "float32"))
    np.testing.assert_array_equal(to_numpy(head.to_predictions(extreme)), [[1.0] * 3, [0.0] * 3])


@pytest.mark.parametrize(
    ("name", "options", "start"),
    [
        ("ClassificationHead", {}, 1 / 3),
        ("MultiLabelHead", {}, 0.5),
        ("RegressionHead", {}, 0.0),
        ("RegressionHead", {"unit_interval": True}, 0.5),
        ("DirichletHead", {}, 51.0),
    ],
)
def test_training_starts_from_the_prior(engine, outputs, name, options, start):
    _, predictions = outputs(getattr(engine.heads, name)(8, 3, **options))
    np.testing.assert_allclose(predictions, start, rtol=1e-6)


@pytest.mark.parametrize("unit_interval", [False, True])
def test_an_untrained_regression_head_predicts_the_mean_target(engine, outputs, unit_interval):
    head = engine.heads.RegressionHead(8, 2, unit_interval=unit_interval)
    head.set_target_statistics([0.2, 0.7], [0.1, 0.3])
    raw, values = outputs(head)
    np.testing.assert_allclose(raw, 0, atol=1e-5)
    np.testing.assert_allclose(values, [[0.2, 0.7]] * 5, rtol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_one_galaxy_keeps_its_batch_axis(engine, apply, to_tensor, name):
    head = getattr(engine.heads, name)(8, 1)
    raw = apply(head, FEATURES[:1])
    assert raw.shape == (1, 1)
    assert tuple(head.to_predictions(to_tensor(raw)).shape) == (1, 1)


@pytest.mark.parametrize("name", HEADS)
def test_dropout_acts_in_training_only(trained, apply, name):
    head = trained(name, dropout_prob=0.5)
    np.testing.assert_array_equal(apply(head, FEATURES), apply(head, FEATURES))
    assert not np.array_equal(apply(head, FEATURES, training=True), apply(head, FEATURES, training=True))
    kept = trained(name, dropout_prob=0.0)
    np.testing.assert_array_equal(apply(kept, FEATURES, training=True), apply(kept, FEATURES))


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(
    ("sizes", "dropout_prob", "words"),
    [
        ((0, 3), 0.5, "num_features of a head must be at least 1, got 0"),
        ((8, 0), 0.5, "number of outputs of a head must be at least 1, got 0"),
        ((8, 3), 1.0, r"dropout_prob must be in \[0, 1\), got 1.0"),
        ((8, 3), -0.1, "dropout_prob"),
    ],
)
def test_heads_that_can_not_work(engine, name, sizes, dropout_prob, words):
    with pytest.raises(ConfigError, match=words):
        getattr(engine.heads, name)(*sizes, dropout_prob=dropout_prob)


@pytest.mark.parametrize("shape", [(5, 7), (8,), (5, 8, 1)])
def test_features_of_another_encoder(engine, apply, shape):
    with pytest.raises(ConfigError, match="made for 8 features"):
        apply(engine.heads.ClassificationHead(8, 3), np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ([0.0], [1.0, 1.0], "each of 2 targets"),
        ([0.0, np.nan], [1.0, 1.0], "finite mean"),
        ([0.0, 0.0], [1.0, 0.0], "std above 0"),
    ],
)
def test_target_statistics_that_can_not_work(engine, mean, std, words):
    with pytest.raises(LabelError, match=words):
        engine.heads.RegressionHead(8, 2).set_target_statistics(mean, std)


def test_build_head_gives_each_task_its_own(engine, outputs):
    tasks = {
        "ClassificationHead": ClassificationTask(class_names=("smooth", "spiral", "ring")),
        "MultiLabelHead": MultiLabelTask(num_labels=2),
        "RegressionHead": RegressionTask(num_targets=2, unit_interval=True),
        "DirichletHead": TreeTask(schema=schemas.get("gz_decals_dr5")),
    }
    for name, task in tasks.items():
        head = engine.heads.build_head(task, 8, dropout_prob=0.1)
        assert type(head) is getattr(engine.heads, name)
        assert outputs(head)[1].shape == (5, task.num_outputs)
    assert engine.heads.build_head(tasks["RegressionHead"], 8).unit_interval
