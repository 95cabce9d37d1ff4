"""What a model is and how it learned, in sentences for papers and cards, with whom to cite: `[@key]`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from zoobot.shared import defaults, schemas
from zoobot.shared.models.encoder_source import Origin
from zoobot.shared.preprocessing import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from zoobot.shared.references import REFERENCES, key_of_architecture, keys_of_parent
from zoobot.shared.tasks import KINDS
from zoobot.shared.training.finetune_settings import IN_WORDS
from zoobot.shared.trees.surveys import CAMPAIGNS, find_campaign
from zoobot.workflow.account import TEACHING, UNNAMED, Account, ModelFacts, is_public_name
from zoobot.workflow.scores import number

if TYPE_CHECKING:
    from zoobot.shared.tasks import Task

_LOSSES = {
    "cross_entropy": "the cross-entropy",
    "focal": "the focal loss [@lin2017focal]",
    "mse": "the mean squared error",
    "mae": "the mean absolute error",
    "huber": "the Huber loss",
}
_MOST_NAMES = 20

#: How the origin of an encoder ends that had learned nothing yet.
RANDOM = " with random weights"


def cited(text: str) -> list[str]:
    """The keys of the works that a text cites, sorted."""
    keys = {key.removeprefix("@") for group in citations(text) for key in group.split("; ")}
    return sorted(keys & set(REFERENCES))


def citations(text: str) -> list[str]:
    """What stands in the brackets of a text's citations, such as "@a2001; @b2002"."""
    return re.findall(r"\[(@[a-z0-9]+(?:; @[a-z0-9]+)*)\]", text)


def cite(*keys: str | None) -> str:
    """A citation of works by their keys, with a space before it; empty without any."""
    known = [f"@{key}" for key in dict.fromkeys(keys) if key]
    return f" [{'; '.join(known)}]" if known else ""


def code(text: object) -> str:
    """A user's word as it can stand in Markdown, whatever is in it."""
    plain = " ".join(str(text).split()).replace("`", "'").replace("[@", "[ @")
    return f"`{plain}`" if plain else "(no name)"


def listed(words: Iterable[object], *, most: int = _MOST_NAMES) -> str:
    """Users' words in a row; of many the first, and how many there are."""
    names = [code(word) for word in words]
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} … ({len(names):,} in all)"


def plain(text: str) -> str:
    """A line that a run told, as it can stand in a sentence."""
    return " ".join(text.split()).replace("`", "'")


def count(n: Any, noun: str) -> str:
    """So many of something."""
    return f"{n:,g} {noun}{'' if n == 1 else 's'}"


def joined(parts: list[str]) -> str:
    """Parts of a sentence in a row, with "and" before the last."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def pixel_sentences(account: Account) -> list[str]:
    """How the model looks at images."""
    model = account.model
    pixels = model.pixels if model else None
    if pixels is None:
        return []
    size, crop = pixels.image_size_pix, pixels.crop_fraction
    part = {True: "The whole image"}.get(crop == 1, f"The central {100 * crop:.3g} % of each image (by side)")
    if crop > 1:
        part = f"Each image in a frame {crop:.3g} times as large"
    planes = {1: "one channel", 3: "three channels"}.get(pixels.channels, f"{pixels.channels} channels")
    sentences = [f"{part} was resampled to {size} × {size} px in {planes}."]
    if pixels.colour == "to-grey":
        sentences.append("Colour was averaged to grey.")
    sentences += _fits_sentences(pixels, account.options)
    sentences.append(_normalisation(pixels))
    if pixels.views > 1:
        sentences.append(f"Features are the mean over {pixels.views} turned copies of each image.")
    if pixels.pixel_scale_arcsec is not None:
        sentences.append(f"A pixel of the original images is {pixels.pixel_scale_arcsec:g} arcsec wide.")
    return sentences


def _fits_sentences(pixels: Preprocessing, options: dict[str, Any]) -> list[str]:
    """Of the stretch of FITS images, where anything tells that there were any."""
    asked = any(
        options.get(name) not in (None, [], ())
        for name in ("stretch", "limits", "percentiles", "bands", "hdu")
    )
    if not (asked or pixels.bands or options.get("mosaic")):
        return []
    bands = f" of the bands {listed(pixels.bands)}" if pixels.bands else ""
    if pixels.stretch == "none":
        return [f"FITS values{bands} were taken as they are, within [0, 1]."]
    if pixels.limits is not None:
        limits = f"from {pixels.limits[0]:g} to {pixels.limits[1]:g}"
    else:
        limits = f"from percentile {pixels.percentiles[0]:g} to {pixels.percentiles[1]:g} of each image"
    soft = f" (softness {pixels.asinh_softness:g})" if pixels.stretch in ("asinh", "lupton") else ""
    return [f"FITS values{bands} were mapped to [0, 1] by the {pixels.stretch} stretch {limits}{soft}."]


def _normalisation(pixels: Preprocessing) -> str:
    if (set(pixels.mean), set(pixels.std)) == ({0.0}, {1.0}):
        return "Pixel values, in [0, 1], were not normalised further."
    if (pixels.mean, pixels.std) == (IMAGENET_MEAN, IMAGENET_STD):
        return "Pixel values, in [0, 1], were normalised by the mean and standard deviation of ImageNet."
    mean, std = (", ".join(f"{v:.3g}" for v in dict.fromkeys(values)) for values in (pixels.mean, pixels.std))
    return f"Pixel values, in [0, 1], were normalised by mean {mean} and standard deviation {std}."


def model_sentences(account: Account) -> list[str]:
    """What the model is: task, encoder, and what it started from."""
    models = account.models
    if not models:
        return []
    named = [] if account.is_public or account.work in TEACHING else [m for m in models if m.name]
    names = (
        joined([f"{code(model.name)}{cite(*keys_of_parent(model.name))}" for model in named]) if named else ""
    )
    if len(models) > 1:
        first = [f"Predictions are the equal mixture of {len(models)} models{names and ': '}{names}."]
    else:
        first = [f"The model is {names}."] if names else []
    encoders = [
        sentence
        for model in models
        for sentence in (*encoder_sentences(model), *taught_sentences(account, model))
    ]
    return [*first, *task_sentences(models[0].task), *dict.fromkeys(encoders)]


def taught_sentences(account: Account, model: ModelFacts) -> list[str]:
    """By how many galaxies a model was taught that has no record of a run beside it."""
    counts = model.training.get("galaxies")
    if not isinstance(counts, dict) or account.work in TEACHING:
        return []
    return [
        f"It was trained on {counts.get('train', 0):,} galaxies and validated on {counts.get('val', 0):,}."
    ]


def task_sentences(task: Task | None) -> list[str]:
    """What is predicted."""
    if task is None:
        return []
    if task.tree is not None:
        questions, campaigns = len(task.tree.questions), campaigns_of(task)
        papers = [CAMPAIGNS[name].paper.key for name in campaigns]
        answers = sum(len(question.answers) for question in task.tree.questions)
        return [
            f"The model predicts the votes of volunteers on the {questions} questions ({answers} answers) of "
            f"the decision tree {code(task.tree.name)}{cite(*papers)}: one Dirichlet-multinomial "
            "distribution of the votes on each question [@walmsley2022decals; @walmsley2023desi]."
        ]
    if task.predicts == "classes":
        names: Any = getattr(task, "class_names", task.output_columns)
        column = f" of the column {listed(task.label_cols)}" if task.label_cols else ""
        return [f"The model predicts the probability of {len(names)} classes{column}: {listed(names)}."]
    if task.predicts == "labels":
        return [
            f"The model predicts the probability of each of {len(task.output_columns)} labels, which do not "
            f"exclude each other: {listed(task.label_cols)}."
        ]
    return [
        f"The model predicts {'the number' if len(task.output_columns) == 1 else 'the numbers'} "
        f"{listed(task.label_cols)}."
    ]


def campaigns_of(task: Task) -> list[str]:
    """The Galaxy Zoo campaigns whose trees a task has, by name; its columns are theirs, too."""
    if task.tree is None:
        return []
    names = [find_campaign(name) for name in (task.tree.name, *task.tree.campaigns)]
    columns = set(task.label_cols)
    return [
        name
        for name in dict.fromkeys(name for name in names if name is not None)
        if set(schemas.get(name).label_cols) <= columns
    ]


def encoder_sentences(model: ModelFacts) -> list[str]:
    """The architecture, and what training started from."""
    origin = Origin.from_config(model.facts.get("origin"))
    sentences = []
    if model.architecture:
        paper = cite(key_of_architecture(model.architecture))
        sentences.append(f"Its encoder is of the architecture {code(model.architecture)}{paper}.")
    if origin is None:
        return sentences
    if origin.encoder.endswith(RANDOM):
        return [*sentences, "Training started from random weights."]
    sha = f" (SHA-256 of its weights {origin.sha256[:12]}…)" if origin.sha256 else ""
    return [
        *sentences,
        f"Training started from {parent_name(origin.encoder)}{sha}{cite(*keys_of_parent(origin.encoder))}.",
    ]


def parent_name(encoder: str) -> str:
    """How an encoder that training started from is called, without the folders that lead to it."""
    if encoder == UNNAMED:
        return encoder
    if is_public_name(encoder):
        return f"the encoder {code(encoder)}"
    parts = [part for part in re.split(r"[\\/]", encoder) if part]
    kept = parts[-2:-1] if parts[-1:] == ["checkpoint"] else parts[-1:]
    return f"the checkpoint in the folder {code(*kept)}" if kept else UNNAMED


def training_sentences(account: Account) -> list[str]:
    """How the weights learned."""
    model = account.model
    if model is None or not (account.work in TEACHING or account.work == "model"):
        return []
    training, options = model.training, account.options
    settings = training.get("settings") or {}
    sentences = []
    what, _, weights = plain(account.told("learns")).partition(": ")
    if what:
        were = "was" if what.endswith("alone") else "were"
        of = f" ({weights})" if weights else ""
        sentences.append(f"{what[0].upper()}{what[1:]} {were} trained{of}.")
    elif "n_blocks" in settings:
        blocks = settings["n_blocks"]
        sentences.append(
            {0: "The head alone learned, on the frozen encoder."}.get(
                blocks, f"The head and {blocks} blocks of the encoder learned."
            )
        )
    loss = _loss(model.task, options)
    epochs = account.record.get("epochs")
    begun = _began_with_best_head(account, training, settings)
    if begun:
        sentences.append(
            f"Features were computed once, and the weights of the head that minimise {loss or 'the loss'} "
            f"with an L2 penalty were found by L-BFGS; {_penalty(training)} chosen by the loss of the "
            "validation galaxies."
        )
    if epochs or training.get("epoch"):
        sentences += _epoch_sentences(account, training, settings, loss)
    if begun and epochs and not training.get("epoch"):
        sentences.append("No epoch lessened that loss further: the head from before them was kept.")
    varied = plain(account.told("training").partition(":")[0])
    if varied:
        ways = varied.removeprefix("images ").removeprefix("are ")
        sentences.append(f"Training images were {'taken ' if ways == 'as they are' else 'varied: '}{ways}.")
    return sentences


def _penalty(training: dict[str, Any]) -> str:
    """What the validation galaxies chose, with its numbers where the checkpoint has them."""
    decay, factor = training.get("head_decay"), training.get("head_factor", 1.0)
    if decay is None:
        return "the penalty was"
    told = f"the penalty ({decay:.3g}, on weights of standardised features)"
    return f"{told} was" if factor == 1 else f"{told} and a factor of the logits ({factor:.3g}) were"


def _began_with_best_head(account: Account, training: dict[str, Any], settings: dict[str, Any]) -> bool:
    """Whether the best head on fixed features was found first, to be kept or for epochs to go on from."""
    if training.get("head_start") == "optimum" and not training.get("epoch"):
        return True
    alone = {account.options.get(name) for name in ("devices", "num_nodes")} == {1}
    asked = settings.get("head_start") == "optimum" and settings.get("cache_features") is True
    return account.work == "finetune" and alone and asked and settings.get("n_blocks") == 0


def _loss(task: Task | None, options: dict[str, Any]) -> str:
    """What was minimised; empty where the record does not say."""
    if task is None:
        return ""
    if task.predicts == "votes":
        return "the negative log-likelihood of the votes"
    if not options:
        return ""
    name = options.get("loss") or KINDS[task.kind].losses[0]
    weights, smoothing = options.get("class_weights"), options.get("label_smoothing")
    balanced = " with classes weighted to count alike" if weights == ["balanced"] else ""
    weighted = balanced or (f" with class weights {', '.join(map(str, weights))}" if weights else "")
    smooth = f" and label smoothing {smoothing:g} [@szegedy2016rethinking]" if smoothing else ""
    of = " of the numbers (each scaled to variance 1)" if task.predicts == "numbers" else ""
    of = " of each label" if task.predicts == "labels" else of
    return f"{_LOSSES.get(name, code(name))}{of}{weighted}{smooth}"


def _epoch_sentences(
    account: Account, training: dict[str, Any], settings: dict[str, Any], loss: str
) -> list[str]:
    options, epochs = account.options, account.record.get("epochs")
    known = {**options, **settings}
    told = [
        form.format(known[name])
        for name, (form, silent) in IN_WORDS.items()
        if isinstance(known.get(name), (int, float)) and known[name] != silent
        if name != "lr_decay" or settings.get("n_blocks") != 0
    ]
    if options.get("batch_size"):
        told.append(f"batches of {options['batch_size']}")
    if settings.get("schedule"):
        warm = settings.get("warmup_epochs")
        rise = f" after a rise over {count(warm, 'epoch')}" if warm else ""
        told.append(f"a {settings['schedule']} schedule{rise}")
    run = f" for {count(epochs, 'epoch')}" if epochs else ""
    start = "From there it" if _began_with_best_head(account, training, settings) else "It"
    minimised = f", to minimise {loss}" if loss else ""
    sentences = [f"{start} was trained{run} by AdamW [@loshchilov2019adamw]{minimised}: {', '.join(told)}."]
    most = options.get("max_epochs")
    limit = defaults.MAX_EPOCHS if most is None else most
    patience, that = options.get("patience"), "the loss of the validation galaxies"
    if epochs and patience and epochs < limit:
        ends = f"after {count(patience, 'epoch')} without a lower loss of the validation galaxies"
        sentences.append(f"It was to end {ends}, or after {count(limit, 'epoch')}.")
        that = "that loss"
    if training.get("epoch"):
        value = training.get("val_loss")
        by = f" ({number(value)})" if isinstance(value, (int, float)) else ""
        sentences.append(f"The weights of epoch {training['epoch']} were kept, where {that} was lowest{by}.")
    return sentences


def conformal_sentences(account: Account) -> list[str]:
    """From which errors a model's intervals and sets are made; of predictions, if they have any."""
    model = account.model
    counts = model.facts.get("conformal") if model else None
    asked = account.options.get("intervals") if account.work == "predict" else ()
    if (
        model is None
        or model.task is None
        or not counts
        or (asked in (None, [], ()) and account.work == "predict")
    ):
        return []
    sets = {"classes": "Sets of classes", "labels": "Sets of yes and no"}.get(model.task.predicts)
    what, papers = (sets, ("sadinle2019sets",)) if sets else ("Intervals", ())
    at = f" at {joined([f'{level:g} %' for level in asked])}" if asked else ""
    how = cite("angelopoulos2021conformal", *papers)
    return [
        f"{what}{at} are made by split conformal prediction{how}, from the errors on "
        f"{max(counts.values()):,} validation galaxies."
    ]


def calibration_sentences(account: Account) -> list[str]:
    """How sure the model may be, and how that was found."""
    model = account.model
    kept = model.training.get("calibration") if model else None
    if not isinstance(kept, dict) or not isinstance(kept.get("factors"), dict) or len(account.models) > 1:
        return []
    factors, counts = kept["factors"], kept.get("galaxies") or {}
    changed = {name: factor for name, factor in factors.items() if factor != 1}
    asked = max(counts.values(), default=0)
    on = f" on {asked:,} galaxies" if asked else ""
    of_tree = model is not None and model.task is not None and model.task.tree is not None
    what = "questions" if of_tree else "probabilities"
    if not changed:
        few = "the galaxies were too few, or it would not have made the labels of others likelier"
        return [f"A calibration was tried{on} and not applied: {few}."]
    if of_tree:
        low, high = min(changed.values()), max(changed.values())
        return [
            f"The concentrations of {len(changed)} of {len(factors)} {what} were multiplied by factors of "
            f"{low:.3g} to {high:.3g}, fitted{on} (objective: {kept.get('objective', 'not recorded')}), as "
            "temperature scaling does [@guo2017calibration]."
        ]
    named = ", ".join(
        f"{1 / f:.3g}" + ("" if len(factors) == 1 else f" ({code(name)})") for name, f in changed.items()
    )
    return [
        f"Probabilities were calibrated by temperature scaling [@guo2017calibration], fitted{on}: "
        f"temperature {named}."
    ]
