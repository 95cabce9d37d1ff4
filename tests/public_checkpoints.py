"""Checkpoints as zoobot 2.9 (under Lightning 2.6) leaves them, and what it predicts with them."""

import importlib
from unittest import mock

import timm
import torch

PAIRS = {"shape": ["_smooth", "_featured"], "bar": ["_yes", "_no"]}
PARENTS = {"shape": None, "bar": "shape_featured"}
COMMON = {  # FinetuneableZoobotAbstract's arguments
    "name": None,
    "zoobot_checkpoint_loc": None,
    "training_mode": "full",
    "layer_decay": 0.75,
    "weight_decay": 0.05,
    "learning_rate": 1e-4,
    "head_dropout_prob": 0.5,
    "scheduler_kwargs": None,
    "timm_kwargs": {},
    "greyscale": False,
    "prog_bar": True,
    "visualize_images": False,
    "seed": 42,
}
OF_2_0 = {  # the same of 2.0
    "name": None,
    "zoobot_checkpoint_loc": "old/tree.ckpt",
    "n_blocks": 0,
    "lr_decay": 0.75,
    "weight_decay": 0.05,
    "learning_rate": 1e-4,
    "dropout_prob": 0.25,
    "always_train_batchnorm": False,
    "cosine_schedule": False,
    "max_cosine_epochs": 100,
    "max_learning_rate_reduction_factor": 0.01,
    "from_scratch": False,
    "prog_bar": True,
    "visualize_images": False,
    "seed": 42,
}
CLASSIFIER = {"num_classes": 3, "label_col": "ring", "label_smoothing": 0.0, "class_weights": None}
REGRESSOR = {"label_col": "T", "loss": "mse"}
ZOOBOT_TREE = {
    "output_dim": 4,
    "question_answer_pairs": PAIRS,
    "dependencies": PARENTS,
    "architecture_name": "test_resnet",
    "channels": 3,
    "test_time_dropout": False,
    "compile_encoder": False,
    "timm_kwargs": {},
    "dropout_rate": 0.2,
    "learning_rate": 1e-3,
    "betas": (0.9, 0.999),
    "weight_decay": 0.01,
    "scheduler_params": {},
}
#: Kind → outputs, where the head's layer is, its arguments, and what makes predictions of its outputs.
KINDS = {
    "classifier": (3, "head.linear", COMMON | CLASSIFIER, lambda raw: raw.softmax(1)),
    "classifier of 2.0": (3, "head.linear", OF_2_0 | CLASSIFIER, lambda raw: raw.softmax(1)),
    "regressor": (1, "head.linear", COMMON | REGRESSOR | {"unit_interval": False}, lambda raw: raw),
    "unit interval": (1, "head.linear", COMMON | REGRESSOR | {"unit_interval": True}, torch.sigmoid),
    "tree": (4, "head.1.0", COMMON | {"schema": None}, lambda raw: 1 + 100 * torch.sigmoid(raw)),
    "ZoobotTree": (4, "head.1.0", ZOOBOT_TREE, lambda raw: 1 + 100 * torch.sigmoid(raw)),
}


class Schema:
    """The public one as far as it is pickled: questions and answers that hold each other."""

    def __init__(self):
        self.question_answer_pairs = PAIRS
        self.label_cols = [q + a for q, answers in PAIRS.items() for a in answers]
        self.dependencies = PARENTS
        self.questions = [Question(q, self.label_cols) for q in PAIRS]


class Question:
    def __init__(self, text, label_cols):
        self.text = text
        self.answers = [Answer(text + a, self, label_cols.index(text + a)) for a in PAIRS[text]]
        self.start_index, self.end_index = self.answers[0].index, self.answers[-1].index
        self._asked_after = None


class Answer:
    def __init__(self, text, question, index):
        self.text, self.question, self.index, self._next_question = text, question, index, None


def write_public(path, kind, *, architecture="test_resnet", channels=3, prefix="encoder.", hyper=None):
    """A checkpoint of the public Zoobot, and a function from images, (n, channels, h, w), to predictions."""
    outputs, layer, arguments, activation = KINDS[kind]
    torch.manual_seed(3)
    encoder = timm.create_model(architecture, num_classes=0, in_chans=channels).eval()
    with torch.no_grad():
        for array in (*encoder.parameters(), *encoder.buffers()):
            if array.dtype.is_floating_point:
                array.add_(0.05 * torch.rand_like(array))
    head = torch.nn.Linear(encoder.num_features, outputs)
    state = {prefix + name: array for name, array in encoder.state_dict().items()}
    state |= {f"{layer}.{name}": array for name, array in head.state_dict().items()}
    arguments = dict(arguments, **(hyper or {}))
    if "schema" in arguments:
        arguments["schema"] = Schema()
    moments = {i: {"step": torch.tensor(2.0), "exp_avg": p.clone()} for i, p in enumerate(head.parameters())}
    groups = [{"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.05, "params": [0, 1]}]
    best = "ModelCheckpoint{'monitor': 'finetuning/val_loss', 'mode': 'min', 'every_n_epochs': 1}"
    saved = {
        "epoch": 3,
        "global_step": 8,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": torch.nn.modules.module.OrderedDict(state),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4, "completed": 3}}}},
        "callbacks": {best: {"best_model_score": torch.tensor(0.3), "best_model_path": "checkpoints/3.ckpt"}},
        "optimizer_states": [{"state": moments, "param_groups": groups}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": arguments,
    }
    named = importlib.import_module("zoobot.shared.schemas")
    classes = {cls.__name__: cls for cls in (Schema, Question, Answer)}
    for name, cls in classes.items():
        cls.__module__, cls.__qualname__ = named.__name__, name
    with mock.patch.multiple(named, **classes):
        torch.save(saved, path)

    @torch.no_grad()
    def predict(images):
        return activation(head(encoder(torch.from_numpy(images)))).numpy()

    return predict
