"""Predict over a catalog with a trained Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import numpy as np
import tensorflow as tf

from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.pixels.turned import mean_of_views
from zoobot.shared.predicting.batches import PredictOnDevice
from zoobot.shared.predicting.rows import Names
from zoobot.shared.predicting.run import predict_with
from zoobot.shared.predictions import Predictions
from zoobot.shared.public_names import advise
from zoobot.shared.tables.part_folder import ShardSource
from zoobot.tensorflow import checkpoint
from zoobot.tensorflow.data import turned
from zoobot.tensorflow.devices import BestDevice, choose_precision, in_precision
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
    columns: Sequence[str] = (),
    intervals: float | Sequence[float] | None = None,
    names: Names = "full",
    class_column: bool = False,
    progress: bool = True,
) -> Predictions:
    """Predictions for every galaxy of a catalog, in its order: a table and the images that failed.

    All is as told in `zoobot.pytorch.predict.predict`, but that XLA compiles the network.

    Example:
        >>> predict("new.csv", "results/rings/checkpoint").table  # doctest: +SKIP
    """
    return predict_with(
        _Predictor,
        catalog,
        model,
        n_samples=n_samples,
        views=views,
        seed=seed,
        precision=precision,
        compile=compile,
        save_loc=save_loc,
        root=root,
        id_col=id_col,
        file_col=file_col,
        batch_size=batch_size,
        num_workers=num_workers,
        part_rows=part_rows,
        shard=shard,
        max_failures=max_failures,
        columns=columns,
        intervals=intervals,
        names=names,
        class_column=class_column,
        progress=progress,
    )


class _Predictor(BestDevice):
    """TensorFlow's part of a prediction run."""

    load = staticmethod(checkpoint.load)

    def __init__(self, precision: str) -> None:
        super().__init__()
        self.computed_in = choose_precision(precision, "auto", learns=False)

    def ready(self, model: FinetuneableZoobot) -> AbstractContextManager[None]:
        return in_precision(model, self.computed_in)

    def network(
        self, model: FinetuneableZoobot, n_samples: int
    ) -> tuple[PredictOnDevice, Callable[[np.ndarray], PredictOnDevice]]:
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

    def to_numpy(self, predictions: tf.Tensor) -> np.ndarray:
        return predictions.numpy()

    @contextmanager
    def seeded(self, models: Mapping[int, FinetuneableZoobot], seed: int) -> Iterator[None]:
        with ExitStack() as stack:
            for number, model in models.items():
                stack.enter_context(model.seeded_dropout(seed + number))
            yield

    def seed_dropout(self, model: FinetuneableZoobot) -> Callable[[int], None]:
        return model.seed_dropout
