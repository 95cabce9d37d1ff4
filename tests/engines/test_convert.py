"""Checkpoints of the public Zoobot 2.x predict in either engine what they predicted there."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("timm")

from zoobot import cli
from zoobot.shared import schemas, tasks
from zoobot.shared.checkpoint import read_checkpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.models.public_checkpoint import convert_checkpoint

_place = Path(__file__).parents[1] / "public_checkpoints.py"
_spec = importlib.util.spec_from_file_location("public_checkpoints", _place)
public = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(public)


def images(channels=3, size=64):
    return np.random.default_rng(0).random((4, channels, size, size), dtype=np.float32)


def predictions(engine, model, pixels):
    if engine.__name__ == "zoobot.pytorch":
        import torch

        with torch.no_grad():
            return model(torch.from_numpy(pixels)).numpy()
    return np.asarray(model(pixels.transpose(0, 2, 3, 1)))


def converted(path, folder, **options):
    return write_checkpoint(folder, convert_checkpoint(path, image_size_pix=64, **options).neutral)


@pytest.mark.parametrize("kind", public.KINDS)
def test_predictions_are_those_of_the_public_zoobot(engine, kind, tmp_path):
    expected = public.write_public(tmp_path / "old.ckpt", kind)(images())
    model = engine.checkpoint.load(converted(tmp_path / "old.ckpt", tmp_path / "new"))
    tolerance = 1e-6 if engine.__name__ == "zoobot.pytorch" else 1e-4
    largest = np.abs(expected).max()
    np.testing.assert_allclose(predictions(engine, model, images()), expected, atol=tolerance * largest)


@pytest.mark.parametrize("kind", ["classifier", "ZoobotTree"])
def test_grey_models(engine, kind, tmp_path):
    expected = public.write_public(tmp_path / "old.ckpt", kind, channels=1)(images(1))
    model = engine.checkpoint.load(converted(tmp_path / "old.ckpt", tmp_path / "new"))
    assert (model.preprocessing.channels, model.preprocessing.colour) == (1, "to-grey")
    np.testing.assert_allclose(predictions(engine, model, images(1)), expected, rtol=1e-4)


def test_a_converted_model_is_a_start_for_finetuning(engine, make_model, fit, tmp_path):
    public.write_public(tmp_path / "old.ckpt", "tree")
    folder = converted(tmp_path / "old.ckpt", tmp_path / "new")
    model = make_model("classification", name=str(folder), preprocessing={"image_size_pix": 32}, n_blocks=1)
    assert model.preprocessing.crop_fraction == pytest.approx(1 / 1.2)
    assert model.preprocessing.mean == (0.0, 0.0, 0.0)
    fit(model, tmp_path / "run", max_epochs=1)


def test_what_load_from_checkpoint_says_and_does(engine, make_model, fit, tmp_path):
    old = tmp_path / "old.ckpt"
    public.write_public(old, "classifier")
    model = fit(make_model("classification"), tmp_path / "run", max_epochs=1)
    kinds = engine.finetune
    with pytest.raises(CheckpointError, match=f"zoobot convert {old} --save-dir {tmp_path / 'old'}"):
        kinds.FinetuneableZoobotClassifier.load_from_checkpoint(old)
    with pytest.raises(CheckpointError, match=r"--resume, or fit.* best model is the folder .*checkpoint"):
        kinds.FinetuneableZoobotClassifier.load_from_checkpoint(tmp_path / "run" / "last.ckpt")
    with pytest.raises(CheckpointError, match="holds a FinetuneableZoobotClassifier, not a"):
        kinds.FinetuneableZoobotTree.load_from_checkpoint(tmp_path / "run")
    with pytest.raises(ConfigError, match="has no option 'map_location': leave it out"):
        kinds.FinetuneableZoobotClassifier.load_from_checkpoint(tmp_path / "run", map_location="cpu")
    for folder in (tmp_path / "run", tmp_path / "run" / "checkpoint"):
        loaded = kinds.FinetuneableZoobotClassifier.load_from_checkpoint(folder)
        assert loaded.task == model.task


def test_the_folder_of_a_run_stands_for_its_checkpoint(engine, make_model, fit, catalog_path, tmp_path):
    model = fit(make_model("classification"), tmp_path, max_epochs=1)
    assert engine.checkpoint.load(tmp_path).task == model.task
    by_folder = engine.predict.predict(catalog_path, tmp_path, progress=False).table
    in_memory = engine.predict.predict(catalog_path, model, progress=False).table
    np.testing.assert_array_equal(by_folder.iloc[:, 1:], in_memory.iloc[:, 1:])
    assert len(engine.represent.represent(catalog_path, tmp_path, progress=False).features)
    assert engine.encoders.load_encoder(tmp_path).num_features == model.encoder.num_features


def test_an_encoder_given_as_a_file_names_the_conversion(engine, make_model, tmp_path):
    (tmp_path / "old.ckpt").write_bytes(b"PK\3\4")
    with pytest.raises(ValueError, match=r"is a file.*zoobot convert .*old\.ckpt --save-dir"):
        make_model("classification", name=tmp_path / "old.ckpt")
    with pytest.raises(CheckpointError, match=r"is a file.*zoobot convert .*old\.ckpt --save-dir"):
        engine.checkpoint.load(tmp_path / "old.ckpt")


def test_a_trained_model_of_the_hub(engine, make_model, cached, catalog_path, tmp_path):
    model = make_model("classification")
    shutil.copytree(model.save(tmp_path / "model"), cached("me/rings"))
    loaded = engine.checkpoint.load("hf_hub:me/rings@main")
    assert loaded.task == model.task
    table = engine.predict.predict(catalog_path, "hf_hub:me/rings", progress=False).table
    expected = engine.predict.predict(catalog_path, model, progress=False).table
    np.testing.assert_array_equal(table.iloc[:, 1:], expected.iloc[:, 1:])


def test_other_models_of_the_hub_name_the_conversion(engine, cached):
    folder = cached("mwalmsley/zoobot-finetuned-is_tidal")
    with pytest.raises(CheckpointError, match=r"hf download mwalmsley/zoobot-finetuned-is_tidal .*convert"):
        engine.checkpoint.load("hf_hub:mwalmsley/zoobot-finetuned-is_tidal")
    folder.mkdir(parents=True)
    (folder / "FinetuneableZoobotClassifier.ckpt").write_bytes(b"PK")
    words = (
        rf"zoobot convert {folder / 'FinetuneableZoobotClassifier.ckpt'} --save-dir zoobot-finetuned-is_tidal"
    )
    with pytest.raises(CheckpointError, match=words):
        engine.checkpoint.load("hf_hub:mwalmsley/zoobot-finetuned-is_tidal")
    with pytest.raises(CheckpointError, match="can't get a trained model"):
        engine.checkpoint.load("hf_hub:nonsense")


@pytest.mark.parametrize(
    "words",
    [
        "predict {} --save-loc t.csv --catalog {catalog}",
        "info {}",
        "evaluate {} --catalog {catalog} --save-dir e",
        "represent {} --save-loc f.parquet --catalog {catalog}",
        "finetune --encoder {} --catalog {catalog} --labels edge_on --save-dir r",
    ],
)
def test_the_command_line_names_the_conversion(words, catalog_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "0.ckpt").write_bytes(b"PK\3\4")
    assert cli.main(words.format("0.ckpt", catalog=catalog_path).split()) == 2
    assert "zoobot convert 0.ckpt --save-dir 0" in capsys.readouterr().err


class TestWithoutAnEngine:
    """What a conversion finds, says and refuses."""

    @pytest.fixture(autouse=True)
    def only_once(self):
        """No engine is asked for."""

    def test_it_needs_neither_torch_nor_tensorflow(self, tmp_path):
        public.write_public(tmp_path / "old.ckpt", "tree")
        program = (
            "import sys; from zoobot.cli import main; "
            f"code = main(['convert', {str(tmp_path / 'old.ckpt')!r}, '--save-dir', "
            f"{str(tmp_path / 'new')!r}]); "
            "sys.exit(code or 9 * bool({'torch', 'tensorflow', 'keras'} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        for words in ("test_resnet", "recognised by the shapes", "converted, with the parents", "0.833"):
            assert words in done.stdout
        assert read_checkpoint(tmp_path / "new").training["epoch"] == 3

    @pytest.mark.parametrize("kind", ["tree", "ZoobotTree"])
    def test_parents_are_those_of_the_file(self, kind, tmp_path):
        public.write_public(tmp_path / "old.ckpt", kind)
        task = tasks.from_config(convert_checkpoint(tmp_path / "old.ckpt").neutral.task)
        assert [q.parents for q in task.schema.questions] == [(), ("shape_featured",)]
        assert task.schema.label_cols == ["shape_smooth", "shape_featured", "bar_yes", "bar_no"]

    def test_a_survey_keeps_its_name(self, tmp_path, monkeypatch):
        (question,) = schemas.get("gz_rings").questions
        pairs = {question.text: [f"_{answer.text}" for answer in question.answers]}
        hyper = {"question_answer_pairs": pairs, "dependencies": {question.text: None}}
        public.write_public(tmp_path / "old.ckpt", "ZoobotTree", hyper=hyper)
        with pytest.raises(CheckpointError, match="the head has 4 outputs, for a tree task of 2"):
            convert_checkpoint(tmp_path / "old.ckpt")
        _, *others = public.KINDS["ZoobotTree"]
        monkeypatch.setitem(public.KINDS, "ZoobotTree", (2, *others))
        public.write_public(tmp_path / "old.ckpt", "ZoobotTree", hyper=hyper)
        found = convert_checkpoint(tmp_path / "old.ckpt")
        assert tasks.from_config(found.neutral.task).schema == schemas.get("gz_rings")
        assert found.facts["schema"].startswith("gz_rings")

    def test_columns_and_classes(self, tmp_path):
        public.write_public(tmp_path / "old.ckpt", "classifier")
        neutral = convert_checkpoint(tmp_path / "old.ckpt").neutral
        assert tasks.from_config(neutral.task).output_columns[0] == "ring_0_probability"
        assert neutral.head == {"dropout_prob": 0.5}
        given = {"label_cols": ["kind"], "class_names": ["a", "b", "c"]}
        task = tasks.from_config(convert_checkpoint(tmp_path / "old.ckpt", **given).neutral.task)
        assert task.output_columns == ["kind_a_probability", "kind_b_probability", "kind_c_probability"]
        with pytest.raises(CheckpointError, match="the head has 3 outputs, for a classification task of 2"):
            convert_checkpoint(tmp_path / "old.ckpt", class_names=["a", "b"])

    def test_names_of_2_0(self, tmp_path):
        public.write_public(tmp_path / "old.ckpt", "classifier of 2.0")
        assert convert_checkpoint(tmp_path / "old.ckpt").neutral.head == {"dropout_prob": 0.25}

    def test_compiled_encoders(self, tmp_path):
        public.write_public(tmp_path / "old.ckpt", "ZoobotTree", prefix="encoder._orig_mod.")
        assert "conv1.0.weight" in convert_checkpoint(tmp_path / "old.ckpt").neutral.encoder

    def test_an_architecture_that_shapes_do_not_tell_is_asked_for(self, tmp_path):
        old = tmp_path / "old.ckpt"
        public.write_public(old, "regressor", architecture="efficientnet_b0")
        with pytest.raises(
            ConfigError, match=r"may be efficientnet_b0 or tf_efficientnet_b0.*--architecture"
        ):
            convert_checkpoint(old)
        assert convert_checkpoint(old, architecture="efficientnet_b0").facts["encoder"].endswith("(as asked)")
        with pytest.raises(ConfigError, match="not those of resnet18; by their shapes they are of efficient"):
            convert_checkpoint(old, architecture="resnet18")
        hub = {"name": "hf_hub:mwalmsley/zoobot-encoder-tf_efficientnet_b0"}
        public.write_public(old, "regressor", architecture="efficientnet_b0", hyper=hub)
        assert convert_checkpoint(old).neutral.architecture == "tf_efficientnet_b0"

    def test_weights_alone_become_an_encoder(self, tmp_path):
        import timm
        import torch

        model = timm.create_model("test_resnet", num_classes=7)
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        found = convert_checkpoint(tmp_path / "pytorch_model.bin")
        assert found.facts["task"] == "none: an encoder alone"
        assert found.neutral.task is None
        assert not any(name.startswith("fc.") for name in found.neutral.encoder)

    def test_what_is_no_file(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"expected a file to convert, and .* is a folder"):
            convert_checkpoint(tmp_path)
        with pytest.raises(CheckpointError, match=r"download the \.ckpt first: hf download"):
            convert_checkpoint("hf_hub:mwalmsley/zoobot-finetuned-is_tidal")

    @pytest.mark.parametrize(
        ("saved", "words"),
        [
            ({"epoch": 1}, "weights must be tensors"),
            ([1, 2], "holds no dictionary"),
            ({"state_dict": {}}, "holds no weights"),
            ({"state_dict": {"model.weight": "tensor"}}, r"none of its weights is called encoder\."),
            ({"state_dict": {"encoder.w": "tensor"}}, "a head of one linear layer"),
            ({"state_dict": {"encoder.w": "nan"}}, "NaN or infinite"),
            ({"loss_sums": "tensor", "state_dict": {}}, r"--resume.*needs no conversion"),
        ],
    )
    def test_other_files_are_refused(self, saved, words, tmp_path):
        import torch

        made = {"tensor": torch.ones(2, 2), "nan": torch.full((2,), torch.nan)}
        if isinstance(saved, dict):
            saved = {k: made.get(v, v) if isinstance(v, str) else v for k, v in saved.items()}
        if isinstance(saved, dict) and "state_dict" in saved:
            saved["state_dict"] = {k: made[v] for k, v in saved["state_dict"].items()}
        torch.save(saved, tmp_path / "old.ckpt")
        with pytest.raises(CheckpointError, match=words):
            convert_checkpoint(tmp_path / "old.ckpt")

    def test_nothing_that_a_checkpoint_says_is_run(self, tmp_path):
        import os

        import torch

        class Evil:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "canary"),)

        saved = {"state_dict": {"encoder.w": torch.ones(2)}, "hyper_parameters": {"schema": Evil()}}
        torch.save(saved, tmp_path / "old.ckpt")
        with pytest.raises(CheckpointError, match="which is not allowed"):
            convert_checkpoint(tmp_path / "old.ckpt")
        assert not (tmp_path / "canary").exists()
