"""Predict over a catalog with a trained Keras model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.models.compiling import MaybeCompiled, PredictOnDevice
from zoobot.shared.models.weights import hash_model
from zoobot.shared.onnx.prediction import is_exported, onnx_member
from zoobot.shared.pixels.first_images import with_views
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.predicting.members import Member, Start, as_members
from zoobot.shared.predicting.run import (
    check_request,
    choose_batch_size,
    choose_compile,
    expected_agreement,
    predict_catalog,
)
from zoobot.shared.predictions import Predictions
from zoobot.shared.public_names import advise
from zoobot.shared.tables.part_folder import ShardSource
from zoobot.tensorflow import checkpoint
from zoobot.tensorflow.data import turned
from zoobot.tensorflow.devices import choose_precision, in_precision
from zoobot.tensorflow.finetune import FinetuneableZoobot

__all__ = ["predict"]


@advise
def predict(
    catalog: CatalogSource | CatalogStream,
    model: FinetuneableZoobot | str | Path | Sequence[FinetuneableZoobot | str | Path],
    *,
    save_loc: str | Path | None = None,
    n_samples: int = 1,
    views: int | None = None,
    root: str | Path | None = None,
    id_col: str = "id_str",
    file_col: str | Sequence[str] = "file_loc",
    batch_size: int | None = None,
    num_workers: int = defaults.NUM_WORKERS,
    seed: int = defaults.SEED,
    precision: str = "auto",
    compile: bool | None = None,  # noqa: A002
    part_rows: int | None = None,
    shard: ShardSource | None = None,
    max_failures: float | None = None,
    progress: bool = True,
) -> Predictions:
    """Predictions for every galaxy of a catalog, in its order: a table and the images that failed.

    Images are read as the model's checkpoint says, without augmentation, so the same call gives the same
    numbers. Memory holds a few batches, whatever the size of the catalog, when `save_loc` is given.

    Args:
        catalog: Whatever `read_catalog` takes: a table of ids and images, a folder, "shards/*.tar"; labels
            are not needed. Into a folder also a folder of Parquet tables, or a `CatalogStream`.
        model: A trained model, the folder of its checkpoint, or an .onnx file that was exported; or a list of
            these, of one task, for an ensemble: a row for each galaxy and member, numbered through in
            `sample`.
        save_loc: Write the table there (.parquet, .csv, .hdf5, .fits) as predictions come. A name without
            such an ending is a folder, for any number of galaxies: see `part_rows`.
        n_samples: More than 1 samples the head's dropout (MC dropout): a row for each galaxy and `sample`.
            Of an ensemble, every member is sampled so often.
        views: In how many turned copies each image is looked at: 1, 2, 4 (right angles) or 8 (mirrored, too);
            the head gets the mean of their features. The time grows as their number. None is what each
            model's record says.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        batch_size: Galaxies predicted at once; None is 32 on a CPU and 256 on a GPU.
        num_workers: Threads that read images.
        seed: Seeds dropout where `n_samples` is more than 1.
        precision: What the network computes in: "auto" is "16-mixed" where a GPU is and "32-true" elsewhere;
            or these, or "bf16-mixed", which is less exact but knows no overflow.
        compile: Whether the network is compiled (by XLA): the same numbers in less time. None does it where
            it pays: where, by the time that the first batches took, it is expected to save more than the
            minute that it takes. It is given up where it turns out slower, or predicts other numbers.
        part_rows: Where `save_loc` is a folder: it gets a Parquet file for each so many galaxies, whole or
            not at all, and the catalog is read a part at a time. The same call goes on after a kill, and
            gives the same bytes; nothing is compiled unless asked. None is a number that suits.
        shard: Where `save_loc` is a folder: "1/8" to "8/8" share its parts among eight processes.
        max_failures: How many images may fail, or, below 1, which fraction of them; None allows any.
        progress: Whether a progress bar is drawn.

    Returns:
        Probabilities for classes, concentrations for trees, values in the targets' units for regression.

    Raises:
        ConfigError: If the models of a list predict different things, or an option can't work.
        CheckpointError: If a folder or file holds no model.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a prediction is NaN or infinite.
        PredictionsError: If they can't be written, or a folder holds those of another run.

    Example:
        >>> predict("new.csv", "results/rings/checkpoint").table  # doctest: +SKIP
    """
    parts: dict[str, Any] = {"part_rows": part_rows, "shard": shard, "max_failures": max_failures}
    check_request(save_loc, n_samples, precision, **parts)
    compile = choose_compile(compile, save_loc)  # noqa: A001
    policy = choose_precision(precision, "auto", learns=False)
    batch_size = choose_batch_size(batch_size, on_gpu=bool(tf.config.list_physical_devices("GPU")))
    members = []
    with ExitStack() as stack:
        for number, one in enumerate(as_members(model)):
            if is_exported(one):
                members.append(onnx_member(one, n_samples, views))
                continue
            m = checkpoint.load(one) if isinstance(one, (str, Path)) else one
            stack.enter_context(with_views(m, views))
            stack.enter_context(in_precision(m, policy))
            stack.enter_context(m.seeded_dropout(seed + number))
            maybe_compiled = MaybeCompiled(
                *_predict_batch(m, n_samples=n_samples),
                _to_numpy,
                asked=compile,
                batch_size=batch_size,
                agreement=expected_agreement(n_samples, computed_in=policy),
            )
            members.append(Member(m, _start(maybe_compiled), "tensorflow", _hash(m), m.seed_dropout))
        decisive = {"seed": seed, "precision": policy, "compile": bool(compile)}
        return predict_catalog(
            catalog,
            members,
            save_loc=save_loc,
            n_samples=n_samples,
            root=root,
            id_col=id_col,
            file_col=file_col,
            batch_size=batch_size,
            num_workers=num_workers,
            progress=progress,
            decisive=decisive,
            **parts,
        )


def _hash(model: FinetuneableZoobot) -> Callable[[], str]:
    return lambda: hash_model(model.to_neutral())


def _predict_batch(
    model: FinetuneableZoobot, *, n_samples: int
) -> tuple[PredictOnDevice, Callable[[np.ndarray], PredictOnDevice]]:
    """From a batch of images to its predictions, and what makes the compiled form of that."""

    def plain(images: np.ndarray) -> tf.Tensor:
        return model.predict_images(images, n_samples=n_samples)

    def compile_it(first: np.ndarray) -> PredictOnDevice:
        encode = tf.function(model.features_of_view, jit_compile=True)
        try:
            encode(tf.convert_to_tensor(first))
        except tf.errors.OpError as error:
            raise RuntimeError(str(error)) from error

        def compiled(images: np.ndarray) -> tf.Tensor:
            views = model.preprocessing.views
            features = mean_of_views(encode, tf.convert_to_tensor(images), views, turned)
            return model.predict_features(features, n_samples=n_samples)

        return compiled

    return plain, compile_it


def _start(predict_batch: MaybeCompiled) -> Start:
    """What has a batch predicted without waiting for the device: operations wait for each other there."""

    def start(images: np.ndarray, remaining: int) -> Callable[[], np.ndarray]:
        predictions = predict_batch(images, remaining)
        return lambda: _to_numpy(predictions)

    return start


def _to_numpy(predictions: tf.Tensor) -> np.ndarray:
    return predictions.numpy()
