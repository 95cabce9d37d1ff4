"""Both frameworks in one process, in any order, seen from clean interpreters."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

needs_tensorflow = pytest.mark.skipif(find_spec("tensorflow") is None, reason="needs TensorFlow")
needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs PyTorch")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")

#: What makes torch load triton, where it is installed.
USE_TORCH = "import torch, torch._inductor.runtime.triton_helpers"
REPORT = "try: {code}\nexcept Exception as error: print(type(error).__name__, error)"


def run(code, **environment):
    """What a clean interpreter says; its end must be a peaceful one."""
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended


@needs_tensorflow
@needs_torch
@pytest.mark.parametrize("order", [("pytorch", "tensorflow"), ("tensorflow", "pytorch")])
def test_both_engines_live_together(order):
    code = "\n".join(f"import zoobot.{name}" for name in order)
    helpers = f"\n{USE_TORCH}" if find_spec("triton") else ""
    assert "alive" in run(f"{code}{helpers}\nprint('alive')").stdout


@needs_tensorflow
@needs_torch
@needs_triton
def test_pytorch_refuses_to_come_after_a_bare_tensorflow():
    said = run("import tensorflow\n" + REPORT.format(code="import zoobot.pytorch")).stdout
    assert "ConfigError TensorFlow was imported before triton" in said
    assert "import zoobot.pytorch (or triton) before tensorflow" in said


@needs_tensorflow
def test_the_tensorflow_engine_comes_after_a_bare_tensorflow_too():
    assert "alive" in run("import tensorflow\nimport zoobot.tensorflow\nprint('alive')").stdout


@needs_tensorflow
def test_the_tensorflow_engine_works_where_there_is_no_torch():
    """And where the right Keras backend is said."""
    code = """
import sys
class NoTorch:
    def find_spec(name, path=None, target=None):
        if name in {"torch", "torchvision", "timm", "pytorch_lightning", "pyro"}:
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, NoTorch)
import numpy as np
import zoobot
engine = zoobot.load_engine("tensorflow")
options = {"name": "test_resnet", "preprocessing": {"image_size_pix": 32}}
model = engine.finetune.FinetuneableZoobotTree(schema="gz_rings", **options)
print(model.predict_images(np.zeros((3, 32, 32, 3), np.uint8)).shape)
"""
    assert run(code, KERAS_BACKEND="tensorflow").stdout.strip() == "(1, 3, 2)"


@needs_tensorflow
@pytest.mark.parametrize("backend", ["torch", "jax", "nonsense"])
def test_a_wrong_keras_backend_is_one_clear_error(backend):
    said = run(REPORT.format(code="import zoobot.tensorflow"), KERAS_BACKEND=backend).stdout
    assert said.startswith("ConfigError the TensorFlow engine needs Keras with its TensorFlow backend")
    assert f"Keras is set to '{backend}'" in said
    assert "KERAS_BACKEND=tensorflow" in said


@needs_tensorflow
def test_tensorflow_starts_without_a_word_and_our_wish_for_silence_does_not_stay(monkeypatch):
    names = ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    use = "import zoobot.tensorflow, tensorflow; tensorflow.ones(1) + 1"
    ended = run(f"import os\n{use}\nprint([os.environ.get(name) for name in {names}])")
    assert ended.stdout.strip() == "[None, None]"
    assert ended.stderr == ""
