"""Records of runs, ONNX files and options, as they are after an accident or from a stranger."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
from fuzz_inputs import (
    attempt,
    extreme_numbers,
    fresh_folder,
    fuzz,
    hostile_text,
    json_values,
    mutated,
    mutated_config,
    refused,
    write,
)
from hypothesis import strategies as st

from zoobot import options as config
from zoobot.shared.onnx.model import METADATA_KEY, OnnxModel
from zoobot.shared.predictions import Parts
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.settings import add_arguments
from zoobot.shared.tables.manifest import FORMAT
from zoobot.shared.tables.part_folder import MANIFEST_FILE
from zoobot.shared.tasks import RegressionTask
from zoobot.shared.training.epochs import EpochLog
from zoobot.workflow.run_folder import RECORD_FILE, check_run_folder, open_run

RECORD = {
    "work": "finetune",
    "status": "interrupted",
    "command": "zoobot finetune",
    "options": {},
    "resumed": ["x"],
}


@fuzz(100, record=mutated_config([RECORD]) | json_values)
def test_a_damaged_record_is_resumed_or_refused(record):
    folder = fresh_folder()
    (folder / RECORD_FILE).write_text(json.dumps(record))
    if not refused(attempt(check_run_folder, folder, "finetune", resume=True)):
        options = config.FinetuneOptions(catalog="t.csv", labels=("ring",), save_dir=str(folder))
        attempt(open_run, folder, "finetune", options, command="again", resume=True)


@fuzz(80, content=mutated([b"epoch,val_loss\n0,0.5\n1,0.25\n2,0.2\n"]) | st.binary(max_size=60))
def test_a_damaged_log_is_continued_or_refused(content):
    log = EpochLog(write("metrics.csv", content))
    before = attempt(log.read)
    if not refused(before):
        assert isinstance(before, pd.DataFrame)
        outcome = attempt(log.append, {"epoch": 3, "val_loss": 0.1})
        assert refused(outcome) or log.read()["val_loss"].iloc[-1] == 0.1


OPTIONS = [config.FinetuneOptions, config.TrainOptions, config.PredictOptions, config.EvaluateOptions]
OPTIONS += [config.CalibrateOptions, config.ExportOptions, config.DemoOptions]


@cache
def names_of(options):
    parser = argparse.ArgumentParser()
    add_arguments(parser, options)
    return [action.dest for action in parser._actions if action.dest != "help"]


@st.composite
def option_values(draw):
    options = draw(st.sampled_from(OPTIONS))
    names = draw(st.lists(st.sampled_from(names_of(options)), max_size=3, unique=True))
    values = {name: draw(json_values | extreme_numbers | hostile_text) for name in names}
    texts = {"catalog": "c.csv", "checkpoint": "m", "save_loc": "p.csv", "save_dir": "r", "labels": ["ring"]}
    texts |= {"schema": ["gz2"]} if options is config.TrainOptions else {}
    given = {name: value for name, value in texts.items() if name in names_of(options)} | values
    return options, given


@fuzz(200, chosen=option_values())
def test_options_of_any_value_are_kept_or_refused(chosen):
    options, given = chosen
    made = attempt(options.from_config, given)
    if refused(made):
        return
    assert options.from_config(json.loads(json.dumps(made.to_config()))) == made
    assert all(math.isfinite(v) for v in made.to_config().values() if isinstance(v, float))


@fuzz(40, given=st.dictionaries(st.integers() | hostile_text | st.none(), json_values, max_size=3))
def test_options_of_any_name_are_refused(given):
    attempt(config.PredictOptions.from_config, given)


@fuzz(100, chosen=option_values(), words=st.lists(hostile_text, max_size=3))
def test_a_command_line_of_any_words_is_read_or_refused(chosen, words):
    options, given = chosen
    parser = argparse.ArgumentParser()
    add_arguments(parser, options)
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            namespace = parser.parse_args([*flags, *words])
        except SystemExit:  # argparse's own way to refuse
            return
    attempt(options.from_config, vars(namespace))


MANIFEST = {
    "format": FORMAT,
    "models": ["0" * 64],
    "task": RegressionTask().to_config(),
    "preprocessing": [Preprocessing().to_config()],
    "options": {"part_rows": 2, "n_samples": 1},
    "catalog": {"name": "c.csv", "galaxies": 4, "fingerprint": "0" * 64},
    "versions": {"zoobot": "1"},
}


@fuzz(60, content=mutated_config([MANIFEST]).map(json.dumps) | json_values.map(json.dumps))
def test_a_damaged_manifest_is_read_or_refused(content):
    folder = fresh_folder()
    (folder / MANIFEST_FILE).write_text(content)
    outcome = attempt(Parts, folder)
    if not refused(outcome):
        attempt(outcome.require_all)


TOLD = {
    "format": 1,
    "task": RegressionTask(num_targets=3, label_cols=("r", "g", "b")).to_config(),
    "preprocessing": Preprocessing(image_size_pix=8).to_config(),
    "versions": {"zoobot": "1"},
}


def onnx_file(told):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    axes = helper.make_tensor("axes", onnx.TensorProto.INT64, [2], (1, 2))
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images", "axes"], ["predictions"], keepdims=0)],
        "colours",
        [helper.make_tensor_value_info("images", kind, ["batch", 8, 8, 3])],
        [helper.make_tensor_value_info("predictions", kind, ["batch", 3])],
        [axes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: told})
    return model.SerializeToString()


def check_onnx(content):
    pytest.importorskip("onnxruntime")
    model = attempt(OnnxModel, write("m.onnx", content), on_cpu=True)
    if not refused(model):
        outcome = attempt(model.predict_images, np.ones((2, 8, 8, 3), np.float32))
        assert refused(outcome) or outcome.shape == (2, model.task.num_outputs)


@fuzz(60, content=st.deferred(lambda: mutated([onnx_file(json.dumps(TOLD))])))
def test_a_damaged_onnx_file_predicts_or_is_refused(content):
    check_onnx(content)


@fuzz(60, told=mutated_config([TOLD]) | json_values)
def test_odd_metadata_of_an_onnx_file_are_refused(told):
    check_onnx(onnx_file(json.dumps(told)))
