import inspect
import json
from dataclasses import fields

import numpy as np
import pytest

from zoobot import options as config
from zoobot.options import FinetuneOptions, ImageOptions, TurnOptions
from zoobot.shared import defaults
from zoobot.shared.augment import Augmentation
from zoobot.shared.errors import ConfigError
from zoobot.shared.galaxy_data import GalaxyData
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.training.finetune_settings import FinetuneSettings, TrainerSettings, TrainSettings

RINGS = {"catalog": "rings.csv", "labels": "ring", "save_dir": "results/rings"}
VOTES = {"catalog": "votes.csv", "task": "tree", "schema": "gz2", "save_dir": "results/gz2"}


def test_the_shortest_requests_work():
    assert FinetuneOptions(**RINGS).kind == "classification"
    assert FinetuneOptions(**VOTES).labels == ()
    assert config.DemoOptions().save_dir == "results/demo"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ()}, "nothing to learn yet: give --labels: .*; of a tree of votes, --task tree"),
        ({"labels": (), "task": "regression"}, "--task regression needs --labels: the column"),
        ({"labels": ("a", "b")}, "for several yes/no columns say --task multi-label"),
        ({"schema": "gz2"}, "--schema is for --task tree, got --task classification"),
        ({"task": "tree"}, "--task tree needs --schema"),
        ({"task": "tree", "schema": "gz2"}, "leave out --labels"),
        ({"missing_values": (-99,)}, "--missing-values is for --task regression"),
        ({"loss": "mse"}, r"must be one of \['cross_entropy', 'focal'\], got 'mse'"),
        ({"task": "regression", "loss": "focal"}, r"must be one of \['mse', 'mae', 'huber'\], got 'focal'"),
        ({"task": "regression", "class_names": ("a", "b")}, "--class-names is for --task classification"),
        ({"task": "regression", "class_weights": "balanced"}, "is for --task classification or multi-label"),
        ({"task": "tree", "schema": "gz2", "labels": (), "loss": "mse"}, r"must be one of \[\], got 'mse'"),
        ({"class_weights": ("balanced", 1.0)}, "either `balanced` or numbers"),
        ({"split": "group"}, "--split group needs --split-column"),
        ({"split_column": "plate"}, "--split-column is for --split group or column"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, r"must leave galaxies to train on, got 0\.5 \+ 0\.5"),
        ({"test_catalog": "t.csv", "test_fraction": 0.1}, "not both"),
        ({"resume": True, "overwrite": True}, "--resume or --overwrite"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"n_blocks": "most"}, "n_blocks must be one of 'all', a whole number, got 'most'"),
    ],
)
def test_what_cannot_work_together_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        FinetuneOptions(**RINGS | changes)


def test_image_options_are_those_of_preprocessing():
    names = {f.name for kind in (ImageOptions, TurnOptions) for f in fields(kind)}
    known = {f.name for f in fields(Preprocessing)}
    assert (names - {"normalisation"}) | {"band_numbers", "degraded"} == known  # it stands for mean and std
    assert ImageOptions(image_size_pix=64, hdu=1).image_changes() == {"image_size_pix": 64, "hdu": 1}
    pixels = Preprocessing(channels=1, mean=(0.1,), std=(0.2,)).with_changes(normalisation="imagenet")
    assert (pixels.mean, pixels.std) == (pytest.approx((0.449,)), pytest.approx((0.226,)))
    with pytest.raises(ConfigError, match="must be one of"):
        pixels.with_changes(normalisation="zscore")


def test_augmentation_defaults_are_the_library_s():
    options, library = config.AugmentationOptions(), Augmentation()
    for f in fields(Augmentation):
        assert getattr(options, f.name) == getattr(library, f.name), f.name


@pytest.mark.parametrize(
    ("options", "library"),
    [
        (config.LearningOptions, FinetuneSettings),
        (config.LearningOptions, TrainerSettings),
        (config.WholeModelOptions, TrainSettings),
    ],
)
def test_what_python_and_the_command_line_share_is_declared_once(options, library):
    """Help, limits and type are those of one declaration; a default may differ where it is said again."""
    ours, theirs = ({f.name: f for f in fields(cls)} for cls in (options, library))
    shared = set(ours) & set(theirs)
    assert len(shared) >= 8
    for name in shared:
        assert ours[name].metadata is theirs[name].metadata, name
        assert ours[name].type == theirs[name].type, name


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": "1e-4"},
        {"dropout_prob": None},
        {"n_blocks": True},
        {"weight_decay": float("inf")},
        {"max_epochs": "10"},
        {"patience": 1.5},
        {"seed": "a"},
        {"activation_views": 2, "n_blocks": 0},
    ],
)
def test_python_refuses_what_the_command_line_refuses_in_the_same_words(wrong):
    library = TrainerSettings if set(wrong) & {"max_epochs", "patience"} else FinetuneSettings
    with pytest.raises(ConfigError) as said:
        library(**wrong)
    with pytest.raises(ConfigError) as said_there:
        FinetuneOptions(**RINGS, **wrong)
    assert str(said.value) == str(said_there.value)
    assert next(iter(wrong)) in str(said.value)


def test_numbers_of_numpy_are_numbers():
    settings = FinetuneSettings(learning_rate=np.float32(0.5), n_blocks=np.int64(2), seed=np.uint8(3))
    assert (settings.learning_rate, settings.n_blocks, settings.seed) == (0.5, 2, 3)
    assert json.loads(json.dumps(settings.to_config()))["n_blocks"] == 2
    assert type(FinetuneSettings(learning_rate=np.float64(0.5)).learning_rate) is float
    assert type(FinetuneOptions(**RINGS, select=np.str_("split=train")).select) is str


def test_data_defaults_are_the_library_s():
    library = inspect.signature(GalaxyData).parameters
    options = FinetuneOptions(**RINGS)
    assert options.files() == library["file_col"].default
    same = ("id_col", "split", "val_fraction", "test_fraction", "batch_size", "num_workers")
    for name in (*same, "missing_values", "suspect_targets"):
        assert getattr(options, name) == library[name].default, name
    assert options.max_epochs is None
    assert options.encoder == defaults.ENCODER


def test_every_option_has_help_and_every_group_a_title():
    for name in (name for name in dir(config) if name.endswith("Options")):
        cls = getattr(config, name)
        assert cls.__doc__
        assert any(vars(base).get("title") for base in cls.__mro__)
        for f in fields(cls):
            assert len(f.metadata["help"]) > 5, f.name


def test_json_and_back():
    options = FinetuneOptions(**RINGS, zoom=(0.9, 1.1), n_blocks="all", class_weights="balanced")
    assert FinetuneOptions.from_config(options.to_config()) == options
