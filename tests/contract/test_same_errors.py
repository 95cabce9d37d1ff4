"""For the same bad input both engines raise the same class with the same words."""

import numpy as np
import pandas as pd
import pytest

from zoobot.shared.errors import EncoderError, ZoobotError
from zoobot.shared.preprocessing import Preprocessing


def tensors(name, *arrays):
    """Arrays as an engine's tensors."""
    if name == "pytorch":
        import torch

        return [torch.from_numpy(np.asarray(array)) for array in arrays]
    import tensorflow as tf

    return [tf.constant(array) for array in arrays]


SLICES = [slice(0, 2), slice(2, 4)]
TABLE = np.ones((2, 4), "float32")
CLASSES = np.array([0, 1])

#: Name → what is asked of an engine with bad input.
LOSSES = {
    "slices": lambda losses, t, c: losses.dirichlet_multinomial_nll(t, t, [slice(0, 3)]),
    "gap": lambda losses, t, c: losses.dirichlet_multinomial_nll(t, t, [slice(0, 1), slice(2, 4)]),
    "kind": lambda losses, t, c: losses.classification_loss(t, c, kind="hinge"),
    "smoothing": lambda losses, t, c: losses.multilabel_loss(t, t, label_smoothing=2),
    "weights": lambda losses, t, c: losses.classification_loss(t, c, class_weights=[1.0, -1.0, 1.0, 1.0]),
    "float classes": lambda losses, t, c: losses.classification_loss(t, t[:, 0]),
    "shapes": lambda losses, t, c: losses.regression_loss(t, t[:1]),
    "delta": lambda losses, t, c: losses.regression_loss(t, t, kind="huber", huber_delta=-1.0),
}

HEADS = {
    "no features": lambda heads: heads.ClassificationHead(0, 2),
    "no outputs": lambda heads: heads.DirichletHead(8, 0),
    "dropout": lambda heads: heads.MultiLabelHead(8, 2, dropout_prob=1.0),
    "statistics": lambda heads: heads.RegressionHead(8, 2).set_target_statistics([0.0], [1.0]),
    "no spread": lambda heads: heads.RegressionHead(8, 1).set_target_statistics([0.0], [0.0]),
    "prior": lambda heads: heads.DirichletHead(8, 2).set_prior([0.5, 500.0]),
    "calibration": lambda heads: heads.DirichletHead(8, 2).set_calibration([1.0, -1.0]),
}

MODELS = {
    "n_blocks": ("classification", {"n_blocks": 99}),
    "name of an option": ("classification", {"learning_rat": 1.0}),
    "class weights": ("classification", {"class_weights": "even"}),
    "loss": ("classification", {"loss": "hinge"}),
    "classes": ("classification", {"num_classes": 3}),
    "no classes": ("classification", {"class_names": None, "label_cols": None}),
    "schema": ("tree", {"schema": "gz_nowhere"}),
    "targets": ("regression", {"num_targets": 5}),
    "preprocessing": ("tree", {"preprocessing": {"size": 3}}),
    "size": ("tree", {"preprocessing": {"image_size_pix": 0}}),
}

TRAINERS = {
    "epochs": {"max_epochs": 0},
    "patience": {"patience": 0},
    "logger": {"loggers": ["notebook"]},
    "clip": {"gradient_clip": 0},
    "average": {"ema_decay": 1},
    "accumulation": {"accumulate_batches": 0},
    "machines": {"num_nodes": 0},
}


@pytest.fixture
def same_error(both_engines):
    """Asks the same of both engines, and compares how they refuse."""

    def check(ask):
        raised = {}
        for name, engine in both_engines.items():
            with pytest.raises(ZoobotError) as caught:
                ask(name, engine)
            raised[name] = caught.value
        first, second = raised.values()
        assert type(first) is type(second)
        assert str(first) == str(second)
        return first

    return check


@pytest.mark.parametrize("case", LOSSES)
def test_losses(same_error, case):
    same_error(lambda name, engine: LOSSES[case](engine.losses, *tensors(name, TABLE, CLASSES)))


@pytest.mark.parametrize("case", HEADS)
def test_heads(same_error, case):
    same_error(lambda _, engine: HEADS[case](engine.heads))


def test_features_of_another_encoder(same_error):
    def ask(name, engine):
        engine.heads.ClassificationHead(8, 2)(tensors(name, np.zeros((2, 9), "float32"))[0])

    same_error(ask)


@pytest.mark.parametrize("case", MODELS)
def test_models(same_error, make_model, case):
    kind, options = MODELS[case]
    same_error(lambda _, engine: make_model(engine, kind, **options))


def test_an_unknown_encoder(both_engines, make_model):
    """Each engine ends with the architectures that it has."""
    raised = []
    for engine in both_engines.values():
        with pytest.raises(EncoderError) as caught:
            make_model(engine, "tree", name="no-such-folder/encoder")
        raised.append(str(caught.value).partition(" (")[0])
    assert raised[0] == raised[1]


@pytest.mark.parametrize("case", TRAINERS)
def test_trainers(same_error, case, tmp_path):
    same_error(lambda _, engine: engine.finetune.get_trainer(tmp_path, **TRAINERS[case]))


@pytest.mark.parametrize(
    ("kind", "options", "data"),
    [
        ("classification", {"label_cols": ["axis_ratio"]}, {}),
        ("classification", {"label_cols": ["nowhere"]}, {}),
        ("classification", {}, {"label_cols": ["round"]}),
        ("tree", {}, {"preprocessing": Preprocessing(image_size_pix=99)}),
        ("regression", {}, {"val_fraction": 2.0}),
    ],
)
def test_training(same_error, make_model, catalog_path, tmp_path, kind, options, data):
    def ask(_, engine):
        galaxies = engine.data.GalaxyDataModule(catalog_path, **data)
        trainer = engine.finetune.get_trainer(tmp_path, progress=False, accelerator="cpu")
        trainer.fit(make_model(engine, kind, **options), galaxies)

    same_error(ask)


def test_a_batch_that_devices_can_not_share(same_error, catalog_path):
    def ask(_, engine):
        galaxies = engine.data.GalaxyDataModule(catalog_path, label_cols=["edge_on"], batch_size=9)
        galaxies.loader("train", preprocessing=Preprocessing(image_size_pix=32), shard=(1, 2))

    assert "shared out evenly among 2 devices" in str(same_error(ask))


@pytest.mark.parametrize("option", [{"learning_rat": 1.0}, {"schema": "gz_nowhere"}, {"warmup_epochs": -1}])
def test_whole_trees(same_error, option):
    small = {"schema": "gz_rings", "name": "test_resnet"}
    same_error(lambda _, engine: engine.models.ZoobotTree(**small | option))


def test_a_monitor_that_is_not_logged(same_error, make_model, catalog_path, tmp_path):
    def ask(name, engine):
        model = make_model(engine, "classification")
        options = {"monitor": "val_los", "max_epochs": 1, "progress": False, "accelerator": "cpu"}
        trainer = engine.finetune.get_trainer(tmp_path / name, **options)
        trainer.fit(model, engine.data.GalaxyDataModule(catalog_path))

    assert "val_loss" in str(same_error(ask))


def test_predicting(same_error, make_model, catalog_path, tmp_path):
    def predict(catalog=catalog_path, **options):
        def ask(_, engine):
            engine.predict.predict(catalog, make_model(engine, "classification"), progress=False, **options)

        return same_error(ask)

    predict(n_samples=0)
    predict(save_loc=tmp_path / "table.xlsx")
    predict(id_col="nowhere")
    predict(catalog=tmp_path / "nothing.csv")
    broken = pd.DataFrame({"id_str": ["a"], "file_loc": [str(catalog_path)]})  # a table is no image
    predict(catalog=broken)


def test_checkpoints(same_error, tmp_path):
    same_error(lambda _, engine: engine.checkpoint.load(tmp_path / "nothing"))
    same_error(lambda _, engine: engine.checkpoint.load(tmp_path))
