"""Fixtures that run each engine test once for every engine that is installed.

A test asks for `engine` (the package, with its modules) and for the few things whose words differ between
frameworks: `to_tensor`, `to_numpy`, `gradient`, `apply` and `set_linear`.
"""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:
    # one test process for each core: threads of their own would only wait for each other
    for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np
import pytest

from zoobot.shared.engine import ENGINES, load_engine
from zoobot.shared.files import whole
from zoobot.shared.schemas import Schema

if find_spec("tensorflow") and find_spec("triton"):
    import triton  # noqa: F401  TensorFlow loaded before it would end the process


def load_beside(name):
    """A module of helpers that lies beside this file."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


forks = load_beside("forks")


def pytest_addoption(parser):
    parser.addoption(
        "--require-engines",
        default="",
        help="engines, separated by commas, without which no test runs, instead of their tests being skipped",
    )


def pytest_configure(config):
    """Stop at once where a required engine is missing: whatever a test file skips by, nothing then passes."""
    for name in filter(None, config.getoption("--require-engines").split(",")):
        if name not in ENGINES:
            msg = f"--require-engines must name some of {list(ENGINES)}, got {name!r}"
            raise pytest.UsageError(msg)
        if find_spec(ENGINES[name]) is None:
            msg = f"engine {name!r} is required, but {ENGINES[name]!r} is not installed"
            raise pytest.UsageError(msg)


#: Files of few tests that take minutes.
LONG = ("test_site.py", "test_pages_run.py", "test_workflow_campaign.py")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left with it when the others have ended."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.path.name not in LONG, -tests[item.path]))


class PytorchWords:
    """What tests do to a framework's tensors, in PyTorch's words."""

    @staticmethod
    def to_tensor(array):
        import torch

        return torch.from_numpy(np.array(array))

    @staticmethod
    def to_numpy(tensor):
        return tensor.detach().cpu().numpy()

    @classmethod
    def gradient(cls, function, array):
        """The derivative of the sum of `function(tensor)` with respect to `array`."""
        tensor = cls.to_tensor(array).requires_grad_()
        function(tensor).sum().backward()
        return cls.to_numpy(tensor.grad)

    @classmethod
    def apply(cls, module, array, *, training=False):
        """What a layer or head makes of an array, as an array."""
        return cls.to_numpy(module.train(training)(cls.to_tensor(array)))

    @classmethod
    def set_linear(cls, linear, weight, bias):
        """Give a linear layer a weight (outputs, inputs) and a bias (outputs,)."""
        linear.load_state_dict({"weight": cls.to_tensor(weight), "bias": cls.to_tensor(bias)})


class TensorflowWords:
    """The same in TensorFlow's words."""

    @staticmethod
    def to_tensor(array):
        import tensorflow as tf

        return tf.constant(np.array(array))

    @staticmethod
    def to_numpy(tensor):
        return tensor.numpy()

    @classmethod
    def gradient(cls, function, array):
        """The derivative of the sum of `function(tensor)` with respect to `array`."""
        import tensorflow as tf

        tensor = cls.to_tensor(array)
        with tf.GradientTape() as tape:
            tape.watch(tensor)
            total = tf.reduce_sum(function(tensor))
        return cls.to_numpy(tape.gradient(total, tensor))

    @classmethod
    def apply(cls, module, array, *, training=False):
        """What a layer or head makes of an array, as an array."""
        return cls.to_numpy(module(cls.to_tensor(array), training=training))

    @staticmethod
    def set_linear(linear, weight, bias):
        """Give a linear layer a weight (outputs, inputs) and a bias (outputs,)."""
        linear.set_weights([np.asarray(weight).T, bias])


WORDS = {"pytorch": PytorchWords, "tensorflow": TensorflowWords}


def skip_without(name):
    if find_spec(ENGINES[name]) is None:
        pytest.skip(f"{ENGINES[name]} is not installed")


@pytest.fixture(params=list(ENGINES))
def engine_name(request):
    skip_without(request.param)
    return request.param


@pytest.fixture(scope="session")
def both_engines():
    """The engines by name, for tests that compare them."""
    for name in ENGINES:
        skip_without(name)
    return {name: load_engine(name) for name in ENGINES}


@pytest.fixture
def engine(engine_name):
    return load_engine(engine_name)


@pytest.fixture
def to_tensor(engine_name):
    return WORDS[engine_name].to_tensor


@pytest.fixture
def to_numpy(engine_name):
    return WORDS[engine_name].to_numpy


@pytest.fixture
def gradient(engine_name):
    return WORDS[engine_name].gradient


@pytest.fixture
def apply(engine_name):
    return WORDS[engine_name].apply


@pytest.fixture
def set_linear(engine_name):
    return WORDS[engine_name].set_linear


@pytest.fixture(scope="session")
def left_by_the_dead():
    """Names a file, or a folder, as a process that was killed would have left it unfinished."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    here = whole.this_host()

    def name(path, ending, *, host=here, pid=dead.pid):
        return path.with_name(f".{path.name}._{host}_{pid}_01234567_0123456789ab{ending}")

    return name


@pytest.fixture(scope="session")
def undrawn():
    """Within it pictures are composed and written, but white: to draw them is half of a tiny run's time.

    For runs whose pictures no test looks at; one of each kind is drawn by the tests that do.
    """
    from matplotlib.figure import Figure
    from PIL import Image

    def save_white(figure, file, **options):
        Image.new("L", (1, 1), 255).save(file, format="png")

    @contextmanager
    def within():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Figure, "savefig", save_white)
            yield

    return within


@pytest.fixture(scope="module")
def all_undrawn(undrawn):
    """Of a module whose tests look at no picture, all are white."""
    with undrawn():
        yield


@pytest.fixture(scope="session")
def tiny_survey(tmp_path_factory):
    """The catalog of 24 simulated galaxies of 32 pixels, with votes and labels."""
    from zoobot.simulate import simulate_survey

    return simulate_survey(tmp_path_factory.mktemp("tiny") / "survey", n_galaxies=24, image_size_pix=32)


def torch_zip(arrays):
    """The bytes of arrays by name as `torch.save` writes a state dict, made without torch."""
    kinds = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}

    def text(words):
        return b"X" + struct.pack("<I", len(words)) + words.encode()

    def whole(numbers):
        return b"(" + b"".join(b"J" + struct.pack("<i", n) for n in numbers) + b"t"

    body, stream = b"\x80\x02ccollections\nOrderedDict\n)R(", io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for key, (name, given) in enumerate(arrays.items()):
            array = np.asarray(given, order="C")
            kind = b"ctorch\n" + kinds[array.dtype.name].encode() + b"\n"
            words = text("storage") + kind + text(str(key)) + text("cpu")
            storage = b"(" + words + b"J" + struct.pack("<i", array.size) + b"tQ"
            steps = [step // array.itemsize for step in array.strides]
            view = b"K\x00" + whole(array.shape) + whole(steps) + b"\x89ccollections\nOrderedDict\n)R"
            body += text(name) + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + view + b"tR"
            archive.writestr(f"pytorch_model/data/{key}", array.tobytes())
        archive.writestr("pytorch_model/data.pkl", body + b"u.")
        archive.writestr("pytorch_model/byteorder", b"little")
        archive.writestr("pytorch_model/version", b"3\n")
    return stream.getvalue()


@pytest.fixture
def publish():
    """Writes an encoder's folder as timm published them in 2024: config.json and pytorch_model.bin."""

    def publish(folder, architecture, arrays, *, size=224, first_conv="conv1", classifier="fc"):
        folder.mkdir(parents=True)
        config = {
            "architecture": architecture,
            "num_classes": 0,
            "num_features": 640,
            "global_pool": "avg",
            "pretrained_cfg": {
                "tag": "in12k",
                "custom_load": False,
                "input_size": [3, size, size],
                "fixed_input_size": False,
                "interpolation": "bicubic",
                "crop_pct": 0.95,
                "crop_mode": "center",
                "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225],
                "num_classes": 0,
                "pool_size": [7, 7],
                "first_conv": first_conv,
                "classifier": classifier,
            },
        }
        (folder / "config.json").write_text(json.dumps(config, indent=2))
        (folder / "pytorch_model.bin").write_bytes(torch_zip(arrays))
        card = f"---\ntags:\n- timm\nlibrary_name: timm\n---\n# Model card for {folder.name}\n"
        (folder / "README.md").write_text(card)
        return folder

    return publish


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The Hugging Face client with an empty cache of its own and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.fixture
def loopback_hub(tmp_path, monkeypatch):
    """A Hub on the loopback that the Hugging Face client asks, with a token and an empty cache of its own."""
    constants = pytest.importorskip("huggingface_hub.constants")
    helpers = load_beside("loopback_hub")
    with helpers.LoopbackHub().running() as there:
        endpoint = there.endpoint
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        template = endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_TOKEN", helpers.TOKEN)
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        yield there


@pytest.fixture
def cached(hub):
    """The place in the client's cache of a model's revision, which `refs` name."""

    def cached(repository, *, revision="a" * 40, refs=("main",)):
        place = hub / f"models--{repository.replace('/', '--')}"
        for ref in refs:
            (place / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
            (place / "refs" / ref).write_text(revision)
        return place / "snapshots" / revision

    return cached


@pytest.fixture
def load_benchmark(monkeypatch):
    """Loads a script of `benchmarks` by its name, as a module for the length of a test."""
    folder = Path(__file__).parents[1] / "benchmarks"
    if not folder.exists():
        pytest.skip("the tests were moved away from the benchmarks")

    def load(name):
        monkeypatch.syspath_prepend(str(folder))
        spec = spec_from_file_location(name, folder / f"{name}.py")
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def quick_record(tmp_path):
    """What a script of `benchmarks` records with `--quick`, the first engine there is, and further words."""

    def results_of(name, *words):
        script = Path(__file__).parents[1] / "benchmarks" / f"{name}.py"
        backend = next((engine for engine, framework in ENGINES.items() if find_spec(framework)), None)
        if backend is None:
            pytest.skip("no engine is installed")
        record = tmp_path / "record.json"
        done = subprocess.run(
            [sys.executable, str(script), "--quick", "--backend", backend, "--json", str(record), *words],
            env={**os.environ, "PYTHONPATH": str(script.parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(record.read_text())
        assert found["machine"]["cores"] == os.cpu_count()
        return found["results"]

    return results_of


@pytest.fixture(scope="session")
def start_zoobot(tmp_path_factory):
    """Begins a command line in a process of its own, which has the engine of that name loaded."""
    begun = {}

    def start(engine_name, words):
        if engine_name not in begun:
            begun[engine_name] = forks.Forks(engine_name, tmp_path_factory.mktemp(f"forks_{engine_name}"))
        return begun[engine_name].start(words)

    yield start
    for one in begun.values():
        one.close()


@pytest.fixture(scope="session")
def tree_checkpoint(tmp_path_factory):
    """A small tree model's checkpoint by the name of its engine, made when first asked for."""
    schema = Schema.from_pairs({"shape": ["edge-on", "round"], "bar": ["yes", "no"]}, {"bar": "shape_round"})
    made = {}

    def checkpoint(engine_name):
        if engine_name not in made:
            engine = load_engine(engine_name)
            model = engine.finetune.FinetuneableZoobotTree(
                name="test_resnet", schema=schema, dropout_prob=0.5, preprocessing={"image_size_pix": 32}
            )
            made[engine_name] = tmp_path_factory.mktemp("model") / engine_name
            engine.checkpoint.save(model, made[engine_name])
        return made[engine_name]

    return checkpoint
