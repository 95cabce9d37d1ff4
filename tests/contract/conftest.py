"""What contract tests need besides the engines: the checker of signatures, and small models of both."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from zoobot.shared.schemas import Schema


def load(name, folder=Path(__file__).parent):
    """A module of helpers that lies beside the tests."""
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


galaxies = load("galaxies", Path(__file__).parents[1] / "engines")

SCHEMA = Schema.from_pairs(
    {"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"}, name="tiny"
)

#: The class in `finetune` and the options of a small model of each kind.
MODELS = {
    "classification": (
        "FinetuneableZoobotClassifier",
        {"class_names": ["round", "edge-on"], "label_cols": ["edge_on"]},
    ),
    "multi-label": (
        "FinetuneableZoobotClassifier",
        {"multi_label": True, "label_cols": ["edge_on", "round"]},
    ),
    "regression": ("FinetuneableZoobotRegressor", {"label_cols": ["axis_ratio", "flux"]}),
    "tree": ("FinetuneableZoobotTree", {"schema": SCHEMA}),
}


@pytest.fixture(scope="session")
def mirror():
    """The checker of signatures."""
    return load("mirror")


@pytest.fixture(scope="session")
def catalog_path(tmp_path_factory):
    return galaxies.write_galaxies(tmp_path_factory.mktemp("survey"))


@pytest.fixture(scope="session")
def make_model():
    """A small untrained model of an engine."""

    def make(engine, kind, **options):
        name, usual = MODELS[kind]
        small = {"name": "test_resnet", "preprocessing": {"image_size_pix": galaxies.SIZE_PIX}}
        return getattr(engine.finetune, name)(**(small | usual | options))

    return make


@pytest.fixture(scope="session")
def twins(make_model, both_engines, tmp_path_factory):
    """A model of each engine, with the same weights: those of a head that has learnt something."""

    def make(kind, **options):
        folder = tmp_path_factory.mktemp("twins") / kind
        first = make_model(both_engines["pytorch"], kind, **options)
        second = make_model(both_engines["tensorflow"], kind, **options)
        checkpoint = importlib.import_module("zoobot.shared.checkpoint")
        both_engines["pytorch"].checkpoint.save(first, folder)
        neutral = checkpoint.read_checkpoint(folder)
        rng = np.random.default_rng(0)
        for name in ("linear.weight", "linear.bias"):
            shape = neutral.head_tensors[name].shape
            neutral.head_tensors[name] = rng.normal(0, 0.1, shape).astype("float32")
        for model in (first, second):
            model.take_weights(neutral)
        return {"pytorch": first, "tensorflow": second}

    return make
