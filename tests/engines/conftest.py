"""One small survey, and one trained model of each kind, for all engine tests."""

import importlib.util
from pathlib import Path

import pytest

from zoobot.shared.schemas import Schema

_spec = importlib.util.spec_from_file_location("galaxies", Path(__file__).with_name("galaxies.py"))
galaxies = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(galaxies)

SMALL = {"name": galaxies.ENCODER, "preprocessing": {"image_size_pix": galaxies.SIZE_PIX}}

SCHEMA = Schema.from_pairs(
    {"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"}, name="tiny"
)


@pytest.fixture(scope="session")
def catalog_path(tmp_path_factory):
    return galaxies.write_galaxies(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def write_galaxies():
    return galaxies.write_galaxies


@pytest.fixture
def make_model(engine):
    """A small untrained model of a kind, with any further options."""

    def make(kind, **options):
        options = SMALL | options
        if kind == "classification":
            return engine.finetune.FinetuneableZoobotClassifier(
                **({"class_names": ["round", "edge-on"], "label_cols": ["edge_on"]} | options)
            )
        if kind == "multi-label":
            return engine.finetune.FinetuneableZoobotClassifier(
                multi_label=True, label_cols=["edge_on", "round"], **options
            )
        if kind == "regression":
            return engine.finetune.FinetuneableZoobotRegressor(
                **({"label_cols": ["axis_ratio", "flux"]} | options)
            )
        return engine.finetune.FinetuneableZoobotTree(schema=SCHEMA, **options)

    return make


@pytest.fixture
def make_galaxies(engine, catalog_path):
    def make(catalog=None, **options):
        options = {"batch_size": 8, "num_workers": 2} | options
        return engine.data.GalaxyDataModule(catalog_path if catalog is None else catalog, **options)

    return make


@pytest.fixture
def fit(engine, make_galaxies):
    """Train a model for a few epochs and return it."""

    def run(model, save_dir, *, galaxies=None, ckpt_path=None, **options):
        options = {"max_epochs": 2, "progress": False, "accelerator": "cpu"} | options
        trainer = engine.finetune.get_trainer(save_dir, **options)
        trainer.fit(model, make_galaxies() if galaxies is None else galaxies, ckpt_path=ckpt_path)
        return model

    return run
