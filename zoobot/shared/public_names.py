"""Answers to the option names of the public Zoobot: whoever types one is told what to write here."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, cast

from zoobot.shared.errors import ConfigError

__all__ = ["ANSWERS", "advise", "arguments_of", "spelled_out", "unknown_option"]

Callee = TypeVar("Callee", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")
Prepared = TypeVar("Prepared")
Made = TypeVar("Made")

_PIXELS = (
    "preprocessing={...} says how files become pixels, augmentation=Augmentation(...) how training varies"
)
_CHECKPOINT = (
    "name=FOLDER, an encoder's or checkpoint's; `zoobot convert FILE.ckpt --save-dir FOLDER` makes one of an "
    "old .ckpt"
)
_SCHEMA = "Schema.from_pairs(question_answer_pairs, dependencies), or a survey's name, as schema="
_OF_CHECKPOINT = "leave it out: a checkpoint's folder says how the model is built"

#: Name in the public Zoobot (2.0 to 2.9) and galaxy-datasets → what to write here. A name that a function has
#: itself is never looked up.
ANSWERS: dict[str, str] = {
    "training_mode": "n_blocks='all' trains everything ('full'), n_blocks=0 the head alone ('head_only')",
    "layer_decay": "it is lr_decay= here",
    "head_dropout_prob": "it is dropout_prob= here",
    "dropout_rate": "it is dropout_prob= here",
    "test_time_dropout": "predict(..., n_samples=5) samples the head's dropout",
    "label_col": "label_cols=[one column]",
    "label_cols": "leave it out: a trained model knows its columns, and a tree's are those of its schema",
    "checkpoint_loc": _CHECKPOINT,
    "zoobot_checkpoint_loc": _CHECKPOINT,
    "checkpoint_path": "give the checkpoint's folder first, by place",
    "map_location": _OF_CHECKPOINT,
    "strict": _OF_CHECKPOINT,
    "hparams_file": _OF_CHECKPOINT,
    "weights_only": "leave it out: no pickle is ever run",
    "architecture_name": "name=, which takes an architecture too",
    "output_dim": "leave it out: the schema says it",
    "question_answer_pairs": _SCHEMA,
    "dependencies": _SCHEMA,
    "channels": "preprocessing={'channels': 1, 'colour': 'to-grey'}, with the number of channels",
    "greyscale": "preprocessing={'channels': 1, 'colour': 'to-grey'}; a greyscale encoder needs nothing",
    "color": "preprocessing={'channels': 1, 'colour': 'to-grey'} for grey images; nothing for colour",
    "cosine_schedule": "schedule='cosine', which is the default, or schedule='constant'",
    "scheduler_kwargs": "schedule=, warmup_epochs= and min_lr_factor= say it here",
    "scheduler_params": "schedule=, warmup_epochs= and min_lr_factor= say it here",
    "max_cosine_epochs": "max_epochs= of get_trainer, by which the cosine ends",
    "max_learning_rate_reduction_factor": "it is min_lr_factor= here",
    "betas": "leave it out: AdamW with its usual betas",
    "timm_kwargs": "encoder=timm.create_model(NAME, num_classes=0, ...), an encoder in memory",
    "compile_encoder": "predict(..., compile=True); training is not compiled",
    "prog_bar": "progress= of get_trainer",
    "visualize_images": "callbacks=[...] of get_trainer, with a callback of your own",
    "from_scratch": "name=ARCHITECTURE, such as 'convnext_nano', starts from random weights; n_blocks='all'",
    "always_train_batchnorm": "leave it out: the norms of frozen blocks keep their statistics",
    "run_linear_sanity_check": "leave it out: n_blocks=0 starts at the best linear head",
    "n_layers": "it is n_blocks= here",
    "encoder_dim": "leave it out: the encoder says it",
    "file_template": "leave it out: the best model is in save_dir/checkpoint",
    "save_top_k": "leave it out: the best model alone is kept, in save_dir/checkpoint",
    "checkpoint_callback": "leave it out: the best model is in save_dir/checkpoint",
    "gpus": "devices= and accelerator='gpu'",
    "train_fraction": "give val_fraction= and test_fraction=; the rest is trained on",
    "predict_catalog": "predict(catalog, model), which needs no data module",
    "train_transform": _PIXELS,
    "test_transform": _PIXELS,
    "inference_transform": "leave it out: the checkpoint says how files become pixels",
    "custom_albumentation_transform": _PIXELS,
    "custom_torchvision_transform": _PIXELS,
    "custom_transform": _PIXELS,
    "album": _PIXELS,
    "resize_after_crop": "preprocessing={'image_size_pix': N}",
    "requested_img_size": "preprocessing={'image_size_pix': N}",
    "img_size": "preprocessing={'image_size_pix': N}",
    "crop_scale_bounds": "augmentation=Augmentation(zoom=...); preprocessing={'crop_fraction': ...}",
    "crop_ratio_bounds": "augmentation=Augmentation(...)",
    "prefetch_factor": "num_workers=, threads that read ahead by themselves",
    "use_memory": "cache_dir=FOLDER keeps decoded images",
    "datamodule_kwargs": "write them as options of their own: batch_size=, num_workers=, root=",
    "trainer_kwargs": "write them as options of their own",
    "crop_size": "preprocessing={'crop_fraction': ...}",
}


def advise(callee: Callee) -> Callee:
    """The same function or class; who calls it with what isn't there is answered by a ConfigError.

    Names of the public Zoobot are answered with ours, near names with the nearest, and values by place where
    only names are taken with how to write them. Its signature stays as it is.

    Example:
        >>> @advise
        ... def train(*, lr_decay=0.5):
        ...     return lr_decay
        >>> train(layer_decay=0.75)
        Traceback (most recent call last):
        zoobot.shared.errors.ConfigError: train has no option 'layer_decay': it is lr_decay= here
    """
    if not inspect.isclass(callee):
        check = _Check(callee)

        @functools.wraps(callee)
        def answering(*values: Any, **options: Any) -> Any:
            check(callee.__name__, values, options)
            return callee(*values, **options)

        return cast("Callee", answering)
    make = callee.__init__
    check = _Check(make, leave_out=1)

    @functools.wraps(make)
    def answering_init(self: Any, *values: Any, **options: Any) -> None:
        check(type(self).__name__, values, options)
        make(self, *values, **options)

    # what Keras asks, which looks behind no wrapper
    setattr(answering_init, "__signature__", inspect.signature(make))  # noqa: B010
    setattr(callee, "__init__", answering_init)  # noqa: B010
    return callee


def spelled_out(options: type) -> Callable[[Callee], Callee]:
    """What gives a function's `**options` a place of their own, each, in its signature.

    Args:
        options: A dataclass, whose fields they are. Editors see the same by `Unpack` of a `TypedDict`.

    Example:
        >>> from zoobot.shared.training.finetune_settings import FinetuneSettings
        >>> @spelled_out(FinetuneSettings)
        ... def train(name, **settings):
        ...     return FinetuneSettings(**settings)
        >>> list(inspect.signature(train).parameters)[:3]
        ['name', 'n_blocks', 'activation_views']
    """

    def spell(function: Callee) -> Callee:
        signature = inspect.signature(function)
        *named, _ = signature.parameters.values()
        spelled = signature.replace(parameters=[*named, *inspect.signature(options).parameters.values()])
        setattr(function, "__signature__", spelled)  # noqa: B010
        return function

    return spell


def arguments_of(
    prepare: Callable[Arguments, Prepared],
) -> Callable[[Callable[[Prepared], Made]], Callable[Arguments, Made]]:
    """What gives a function of one thing the arguments from which another makes that thing.

    They stand in its signature, and what the other's docstring says of them after its own.

    Example:
        >>> def read_size(width: int = 2, height: int = 3) -> tuple:
        ...     '''Both.
        ...
        ...     Args:
        ...         width: In pixels.
        ...         height: In pixels.
        ...     '''
        ...     return width, height
        >>> @arguments_of(read_size)
        ... def area(size) -> int:
        ...     '''Pixels.'''
        ...     return size[0] * size[1]
        >>> area(height=4), str(inspect.signature(area))
        (8, "(width: 'int' = 2, height: 'int' = 3) -> 'int'")
    """

    def give(make: Callable[[Prepared], Made]) -> Callable[Arguments, Made]:
        @functools.wraps(make)
        def preparing(*values: Arguments.args, **options: Arguments.kwargs) -> Made:
            return make(prepare(*values, **options))

        answer = inspect.signature(make).return_annotation
        signature = inspect.signature(prepare).replace(return_annotation=answer)
        setattr(preparing, "__signature__", signature)  # noqa: B010
        said = inspect.cleandoc(prepare.__doc__ or "").partition("\n\n")[2].partition("\n\nExample:")[0]
        preparing.__doc__ = f"{inspect.cleandoc(make.__doc__ or '')}\n\n{said}\n"
        return preparing

    return give


def unknown_option(name: object, known: Iterable[str]) -> str:
    """What to say of an option that is not known: what it is called here, a near name, or all of them."""
    if name in ANSWERS:
        return f"unknown option {name!r}: {ANSWERS[name]}"
    known = list(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the options are {known}"
    return f"unknown option {name!r}: {hint}"


class _Check:
    """Whether a function can be called so, other than by what its values are."""

    def __init__(self, function: Callable[..., Any], *, leave_out: int = 0) -> None:
        parameters = list(inspect.signature(function).parameters.values())[leave_out:]
        self.signature = inspect.Signature(parameters)
        self.by_place = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self.by_name = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
        self.takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def __call__(self, called: str, values: tuple[Any, ...], options: dict[str, Any]) -> None:
        named = self.by_place + self.by_name
        for name in options:
            if name in ANSWERS and name not in named:
                raise ConfigError(f"{called} has no option {name!r}: {ANSWERS[name]}")
            if name not in named and not self.takes_all:
                raise ConfigError(f"{called}: {unknown_option(name, named)}")
        try:
            self.signature.bind(*values, **options)
        except TypeError as error:
            raise ConfigError(self._misplaced(called, values, error)) from None

    def _misplaced(self, called: str, values: tuple[Any, ...], error: TypeError) -> str:
        """What to say of too many values by place, or one that is missing."""
        if len(values) <= len(self.by_place):
            return f"{called}: {error}"
        taken = f"{', '.join(self.by_place)} by place, and the rest" if self.by_place else "its options"
        example = f", such as {self.by_name[0]}=..." if self.by_name else ""
        return (
            f"{called} takes {taken} by name{example}; got {values[len(self.by_place)]!r} by place. "
            f"The options are {self.by_name}"
        )
