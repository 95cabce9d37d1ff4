"""What is TensorFlow's own in training: natural Keras, devices, precision, and last.ckpt."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf

import zoobot.tensorflow as engine
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.tensorflow.devices import totals_of
from zoobot.tensorflow.losses import _dense_loss, _voted_loss

SIZE_PIX = 32


@pytest.fixture
def tiny():
    """A model with a tiny encoder of its own."""

    def make(**options):
        layers = [
            keras.layers.Conv2D(4, 3, strides=2, name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.ReLU(),
            keras.layers.Conv2D(8, 3, strides=2, name="second"),
            keras.layers.GlobalAveragePooling2D(),
        ]
        return engine.finetune.FinetuneableZoobotClassifier(
            encoder=keras.Sequential(layers),
            class_names=["round", "edge-on"],
            label_cols=["edge_on"],
            preprocessing={"image_size_pix": SIZE_PIX},
            **({"n_blocks": "all", "learning_rate": 1e-2} | options),
        )

    return make


@pytest.fixture
def train(catalog_path, tmp_path):
    def run(model, *, ckpt_path=None, galaxies=None, **options):
        options = {"max_epochs": 1, "progress": False, "accelerator": "cpu"} | options
        trainer = engine.finetune.get_trainer(tmp_path / "run", **options)
        data = engine.data.GalaxyDataModule(catalog_path, batch_size=8) if galaxies is None else galaxies
        trainer.fit(model, data, ckpt_path=ckpt_path)
        return tmp_path / "run"

    return run


def test_it_is_a_keras_model(tiny):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (16, SIZE_PIX, SIZE_PIX, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, (16, 1)).astype("float32")
    images[labels[:, 0] == 1] //= 4
    model = tiny(dropout_prob=0.0)
    model.compile()
    history = model.fit(images, labels, batch_size=8, epochs=10, verbose=0)
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]
    assert model.evaluate(images, labels, verbose=0) < history.history["loss"][0]
    np.testing.assert_allclose(model.predict(images, verbose=0), model(images), atol=1e-5)
    floats = images.astype("float32") / 255
    np.testing.assert_allclose(model(floats), model(images), atol=1e-6)
    np.testing.assert_allclose(model.predict_images(images)[0], model(images), atol=1e-6)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_learns_and_is_undone(tiny, train, precision):
    model = tiny()
    run = train(model, precision=precision, max_epochs=2)
    scores = pd.read_csv(run / "metrics.csv")
    assert np.isfinite(scores[["train_loss", "val_loss"]].to_numpy()).all()
    assert {layer.compute_dtype for layer in model.encoder._flatten_layers()} == {"float32"}
    assert {v.dtype for v in model.encoder.timm_variables().values() if "num_batches" not in v.name} == {
        "float32"
    }
    assert model(np.zeros((1, SIZE_PIX, SIZE_PIX, 3), np.uint8)).dtype == tf.float32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accelerator": "tpu"}, "accelerator must be 'auto', 'cpu' or 'gpu'"),
        ({"devices": 4}, "TensorFlow sees 1 of kind CPU"),
        ({"devices": "many"}, "devices must be 'auto', -1 for all, or how many"),
        ({"num_nodes": 2}, "this process is one of 1"),
        ({"precision": "64-true"}, "precision must be one of"),
        ({"log_every_n_steps": 5}, "unknown option 'log_every_n_steps'.* need the PyTorch engine"),
        ({"logger": object()}, "is Lightning's"),
        ({"epochs": 5}, "did you mean 'max_epochs'"),
    ],
)
def test_what_this_engine_can_not_do_is_refused(options, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        engine.finetune.get_trainer(tmp_path, **options)


def test_a_gpu_that_is_not_there(tmp_path):
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    with pytest.raises(ConfigError, match="sees no GPU"):
        engine.finetune.get_trainer(tmp_path, accelerator="gpu")


def test_callbacks_of_the_user_see_the_scores(tiny, train):
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
    train(tiny(), callbacks=[callback])
    assert {"train_loss", "val_loss", "val_accuracy"} <= set(seen[0])


def test_scores_are_logged_to_tensorboard(tiny, train):
    pytest.importorskip("tensorboard")
    assert list(train(tiny(), loggers=["tensorboard"]).rglob("events.out.tfevents.*"))


def test_last_checkpoints_that_do_not_fit(tiny, train, tmp_path, caplog):
    with caplog.at_level("WARNING", logger="zoobot"):
        run = train(tiny(), ckpt_path="last")
    assert "starts anew" in caplog.text
    with pytest.raises(CheckpointError, match="other parameters learn"):
        train(tiny(n_blocks=0), ckpt_path="last", max_epochs=2)
    (tmp_path / "other.ckpt").write_bytes(b"PK\3\4 a pickle of Lightning's")
    with pytest.raises(CheckpointError, match=r"no last\.ckpt of the TensorFlow engine"):
        train(tiny(), ckpt_path=tmp_path / "other.ckpt")
    assert (run / "last.ckpt").exists()


def test_steps_count_batches_not_attempts(tiny, train):
    """Keras finds the end of the data by one attempt too many, which must not count."""
    scores = pd.read_csv(train(tiny(), max_epochs=3) / "metrics.csv")
    assert scores["step"].tolist() == [3, 6, 9]


def test_both_forms_of_the_vote_loss_agree():
    rng = np.random.default_rng(0)
    concentrations = tf.constant(rng.uniform(1, 101, (5, 6)))
    votes = tf.constant(np.round(rng.uniform(0, 30, (5, 6)) * (rng.random((5, 6)) < 0.5)))
    question = np.array([0, 0, 0, 1, 1, 2])
    results = []
    for loss_of in (_voted_loss, _dense_loss):
        with tf.GradientTape() as tape:
            tape.watch(concentrations)
            loss = loss_of(concentrations, votes, question, 3)
        results.append((loss, tape.gradient(loss, concentrations)))
    for first, second in zip(*results, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_vote_loss_in_a_graph_of_any_batch_size(jit_compile):
    """The dense form is XLA's; the other is made for CPUs, where a graph keeps the batch size open."""
    question = np.array([0, 0, 1, 1])
    loss_of = _dense_loss if jit_compile else _voted_loss
    spec = tf.TensorSpec((None, 4), tf.float64)
    graph = tf.function(
        lambda c, v: loss_of(c, v, question, 2), input_signature=[spec, spec], jit_compile=jit_compile
    )
    rng = np.random.default_rng(0)
    for batch in (1, 3):
        concentrations, votes = rng.uniform(1, 50, (batch, 4)), rng.integers(0, 9, (batch, 4)).astype(float)
        want = _dense_loss(tf.constant(concentrations), tf.constant(votes), question, 2)
        np.testing.assert_allclose(graph(concentrations, votes), want, rtol=1e-9, atol=1e-10)


def test_sums_of_an_epoch_are_read_without_a_word(caplog):
    """TensorFlow warns of graphs that are traced again and again."""
    variable = keras.Variable(2.5)
    logger = logging.getLogger("tensorflow")
    logger.addHandler(caplog.handler)
    try:
        assert [float(totals_of([variable])[0]) for _ in range(8)] == [2.5] * 8
    finally:
        logger.removeHandler(caplog.handler)
    assert not caplog.records
