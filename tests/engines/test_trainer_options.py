"""What a trainer takes besides its own options, and what it says to the public Zoobot's, in every engine."""

import pandas as pd
import pytest

from zoobot.shared.checkpoint import read_checkpoint
from zoobot.shared.errors import ConfigError


def test_lightning_names_of_our_options_are_taken(make_model, fit, tmp_path):
    options = {"enable_progress_bar": False, "gradient_clip_val": 0.5, "accumulate_grad_batches": 2}
    fit(make_model("classification"), tmp_path, progress=True, logger=None, max_epochs=1, **options)
    assert (tmp_path / "checkpoint").is_dir()
    assert (tmp_path / "last.ckpt").is_file()


def test_without_checkpointing_the_best_model_is_left_and_nothing_to_resume(make_model, fit, tmp_path):
    fit(make_model("classification"), tmp_path, enable_checkpointing=False, logger=False)
    assert (tmp_path / "checkpoint").is_dir()
    assert not (tmp_path / "last.ckpt").exists()
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"save_top_k": 1}, "save_dir/checkpoint"),
        ({"file_template": "{epoch}"}, "save_dir/checkpoint"),
        ({"default_root_dir": "x"}, "is save_dir here"),
        ({"gradient_clip_val": 0.5, "gradient_clip": 1.0}, "give one of them"),
        ({"max_epoch": 5}, "did you mean 'max_epochs'"),
        ({"max_epochs": 0}, "max_epochs must be at least 1"),
        ({"patience": 2.5}, "patience must be a whole number"),
    ],
)
def test_what_a_trainer_can_not_take(engine, tmp_path, options, words):
    with pytest.raises(ConfigError, match=words):
        engine.finetune.get_trainer(tmp_path, **options)


def test_options_by_place(engine, tmp_path):
    with pytest.raises(
        ConfigError, match=r"get_trainer takes save_dir by place, .* got '\{epoch\}' by place"
    ):
        engine.finetune.get_trainer(tmp_path, "{epoch}")
    with pytest.raises(ConfigError, match=r"by name, such as num_classes=\.\.\."):
        engine.finetune.FinetuneableZoobotClassifier(2)
    with pytest.raises(ConfigError, match="FinetuneableZoobotTree: missing a required argument: 'schema'"):
        engine.finetune.FinetuneableZoobotTree()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("training_mode", "n_blocks='all'"),
        ("layer_decay", "lr_decay"),
        ("head_dropout_prob", "dropout_prob"),
        ("label_col", "label_cols"),
        ("checkpoint_loc", "zoobot convert"),
        ("zoobot_checkpoint_loc", "zoobot convert"),
        ("greyscale", "'to-grey'"),
        ("cosine_schedule", "schedule='cosine'"),
        ("max_learning_rate_reduction_factor", "min_lr_factor"),
        ("timm_kwargs", "timm.create_model"),
        ("prog_bar", "progress="),
        ("visualize_images", "callbacks"),
        ("from_scratch", "random weights"),
        ("always_train_batchnorm", "leave it out"),
        ("max_cosine_epochs", "max_epochs"),
        ("run_linear_sanity_check", "n_blocks=0"),
        ("n_layers", "n_blocks"),
    ],
)
def test_options_of_the_public_models(engine, name, words):
    models = [engine.finetune.FinetuneableZoobotClassifier, engine.finetune.FinetuneableZoobotRegressor]
    for model in (*models, engine.finetune.FinetuneableZoobotTree, engine.models.ZoobotTree):
        with pytest.raises(ConfigError, match=f"{model.__name__} has no option '{name}': .*{words}"):
            model(**{name: 1})


def test_the_public_tree_takes_a_schema(engine):
    pairs = {"question_answer_pairs": {"a": ["_x"]}, "dependencies": {"a": None}, "output_dim": 1}
    with pytest.raises(ConfigError, match=r"Schema\.from_pairs"):
        engine.models.ZoobotTree(**pairs)


@pytest.mark.parametrize(
    "name",
    [
        "train_fraction",
        "predict_catalog",
        "train_transform",
        "test_transform",
        "resize_after_crop",
        "crop_scale_bounds",
        "greyscale",
        "prefetch_factor",
        "custom_albumentation_transform",
    ],
)
def test_options_of_the_public_data_module(engine, name):
    with pytest.raises(ConfigError, match=f"GalaxyDataModule has no option '{name}': "):
        engine.data.GalaxyDataModule("galaxies.csv", **{name: 1})


@pytest.mark.parametrize("name", ["label_cols", "inference_transform", "datamodule_kwargs", "trainer_kwargs"])
def test_options_of_the_public_predict(engine, name):
    with pytest.raises(ConfigError, match=f"predict has no option '{name}': "):
        engine.predict.predict("galaxies.csv", "results/rings", **{name: 1})


class TestLightning:
    """What only PyTorch's trainer takes."""

    @pytest.fixture(autouse=True)
    def only_pytorch(self, engine):
        if engine.__name__ != "zoobot.pytorch":
            pytest.skip("Lightning's own")

    def test_a_logger_of_the_user_sees_the_scores(self, make_model, fit, tmp_path):
        from pytorch_lightning.loggers.logger import Logger

        class Diary(Logger):
            name, version = "diary", 0
            rows: list = []  # noqa: RUF012

            def log_metrics(self, metrics, step=None):
                self.rows.append(metrics)

            def log_hyperparams(self, *arguments, **options):
                pass

        diary = Diary()
        fit(make_model("classification"), tmp_path, logger=diary)
        assert any("val_loss" in row for row in diary.rows)

    def test_anything_else_that_lightning_takes(self, make_model, fit, tmp_path):
        from pytorch_lightning.callbacks import Timer

        model = make_model("classification")
        fit(model, tmp_path, max_steps=2, callbacks=Timer(), detect_anomaly=True, plugins=None)
        assert model.trainer.global_step == 2

    def test_the_last_weights_are_kept_where_nothing_was_validated(self, make_model, fit, tmp_path, caplog):
        with caplog.at_level("WARNING", logger="zoobot"):
            fit(make_model("classification", n_blocks=1), tmp_path, check_val_every_n_epoch=5)
        assert "before any validation" in caplog.text
        assert (tmp_path / "checkpoint" / "config.json").is_file()

    def test_a_head_starts_at_its_best_where_validation_comes_later(self, make_model, fit, tmp_path):
        fit(make_model("classification"), tmp_path, check_val_every_n_epoch=5)
        assert read_checkpoint(tmp_path / "checkpoint").training["head_start"] == "optimum"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"strategy": "nowhere"}, "Lightning can't make such a trainer"),
            ({"barebones": True}, "Lightning can't make such a trainer"),
            ({"precision": "17"}, "Lightning can't make such a trainer"),
            ({"limit_val_batches": 0}, "limit_val_batches must be above 0"),
            ({"max_step": 3}, "did you mean 'max_steps'"),
        ],
    )
    def test_what_lightning_can_not_take(self, engine, tmp_path, options, words):
        with pytest.raises(ConfigError, match=words):
            engine.finetune.get_trainer(tmp_path, accelerator="cpu", **options)
