"""Predict over a catalog with a trained PyTorch model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoobot.pytorch import checkpoint
from zoobot.pytorch.data import network_input, turned
from zoobot.pytorch.devices import BestDevice, to_numpy
from zoobot.pytorch.finetune import FinetuneableZoobot
from zoobot.shared import defaults
from zoobot.shared.catalog import CatalogSource
from zoobot.shared.catalogs.stream import CatalogStream
from zoobot.shared.pixels.turned import Turn, mean_of_views
from zoobot.shared.predicting.batches import PredictOnDevice
from zoobot.shared.predicting.rows import Names
from zoobot.shared.predicting.run import predict_with
from zoobot.shared.predictions import Predictions
from zoobot.shared.public_names import advise
from zoobot.shared.tables.part_folder import ShardSource

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

    Images are read as the model's checkpoint says, without augmentation, so the same call gives the same
    numbers. Memory holds a few batches, whatever the size of the catalog, when `save_loc` is given.

    Args:
        catalog: Whatever `read_catalog` takes: a table of ids and images, a folder, "shards/*.tar"; labels
            are not needed. Into a folder also a folder of Parquet tables, or a `CatalogStream`.
        model: A trained model, the folder of its checkpoint, or an .onnx file that was exported; or a list of
            these, of one task, for an ensemble: a row for each galaxy and member, numbered through in
            `sample`.
        save_loc: Write the table there (.parquet, .csv, .hdf5, .fits, .vot) as predictions come. A name
            without such an ending is a folder, for any number of galaxies: see `part_rows`.
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
        compile: Whether the network is compiled (by torch): the same numbers in less time. None does it where
            it pays: where, by the time that the first batches took, it is expected to save more than the
            minute that it takes. It is given up where it turns out slower, or predicts other numbers.
        part_rows: Where `save_loc` is a folder: it gets a Parquet file for each so many galaxies, whole or
            not at all, and the catalog is read a part at a time. The same call goes on after a kill, and
            gives the same bytes; nothing is compiled unless asked. None is a number that suits.
        shard: Where `save_loc` is a folder: "1/8" to "8/8" share its parts among eight processes.
        max_failures: How many images may fail, or, below 1, which fraction of them; None allows any.
        columns: Columns of the catalog that are carried along into the table: ra, dec, z …
        intervals: Levels, in percent (90, or 68 and 95), of intervals of each number or vote fraction, or
            sets of classes or labels, which hold the truth so often. They are made by the errors on the
            validation galaxies that the checkpoint keeps (`zoobot.shared.conformal`).
        names: "plain" has columns called by letters, digits and underscores alone, which expressions of
            TOPCAT take as they are; the table says which stands for what.
        class_column: Whether the most likely class and its probability have columns, too; of several samples
            those of their mean. `zoobot predict` writes them unless told otherwise.
        progress: Whether a progress bar is drawn.

    Returns:
        Probabilities for classes, concentrations for trees, values in the targets' units for regression.

    Raises:
        ConfigError: If the models of a list predict different things, or an option can't work.
        CheckpointError: If a folder or file holds no model.
        CatalogError: If the catalog can't be used.
        ImageError: If not one image could be read, or more failed than may.
        NonFiniteError: If a prediction is NaN or infinite.
        PredictionsError: If a folder holds those of another run.
        WriteError: If they can't be written.

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
    """PyTorch's part of a prediction run."""

    load, to_numpy = staticmethod(checkpoint.load), staticmethod(to_numpy)

    def __init__(self, precision: str) -> None:
        super().__init__()
        self._dtype = _half_precision(precision, self.device)
        self.computed_in = str(self._dtype or torch.float32)

    def network(
        self, model: FinetuneableZoobot, n_samples: int
    ) -> tuple[PredictOnDevice, Callable[[Tensor], PredictOnDevice]]:
        device, dtype = self.device, self._dtype

        def autocast() -> torch.autocast:
            return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)

        def plain(images: Tensor) -> Tensor:
            with autocast():
                return model.predict_images(images, n_samples=n_samples)

        @torch.inference_mode()
        def compile_it(first: Tensor) -> PredictOnDevice:
            # weights that no longer change are folded and laid out for the device
            options: dict[str, Any] | None = {"freezing": True} if device.type == "cpu" else None
            encode = torch.compile(
                lambda images: model.features_of_view(network_input(images)), options=options
            )
            with autocast():
                encode(first)

            @torch.inference_mode()
            def compiled(images: Tensor) -> Tensor:
                with autocast():
                    features = mean_of_views(encode, images, model.preprocessing.views, _turned_in_place)
                return model.predict_features(features, n_samples=n_samples)

            return compiled

        return plain, compile_it

    @contextmanager
    def seeded(self, models: Mapping[int, FinetuneableZoobot], seed: int) -> Iterator[None]:
        del models  # they draw from one generator
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield

    def seed_dropout(self, model: FinetuneableZoobot) -> Callable[[int], object]:
        del model
        return torch.manual_seed


def _turned_in_place(images: Tensor, turn: Turn) -> Tensor:
    """Turned images laid out as all others: for another layout the network would be compiled anew."""
    return turned(images, turn).contiguous()


def _half_precision(precision: str, device: torch.device) -> torch.dtype | None:
    """What a network computes in besides float32; None is float32 alone.

    A GPU predicts in float16, which has three more bits than bfloat16; nothing is learned here that would
    need bfloat16's range.
    """
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else None
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(precision)
