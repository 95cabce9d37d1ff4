"""Catalogs split for training, checked against a task, and served as batches, without any framework."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoobot.shared import defaults
from zoobot.shared.augment import Augmentation, make_view
from zoobot.shared.catalog import Catalog, CatalogSource, read_catalog
from zoobot.shared.catalogs.splits import describe_split, own_split_column, split_catalog
from zoobot.shared.errors import CatalogError, ConfigError, ImageError, ZoobotError
from zoobot.shared.files.whole import replacing
from zoobot.shared.html import escape, facts_html, image_html
from zoobot.shared.loader import GalaxyLoader
from zoobot.shared.pixels.first_images import check_first_images, settle_bands
from zoobot.shared.pixels.images import read_image
from zoobot.shared.pixels.turned import several_views_need_head
from zoobot.shared.preprocessing import Preprocessing
from zoobot.shared.public_names import advise
from zoobot.shared.tasks import Task
from zoobot.shared.training.feature_loader import FeatureLoader, FrozenPart
from zoobot.shared.training.targets import usable_targets

logger = logging.getLogger(__name__)

_THUMBNAILS = 6


@advise
class GalaxyData:
    """Labelled galaxies for training, validation and test.

    Give one `catalog` to be split, or a catalog for each purpose. Nothing is read until `setup`.

    Args:
        catalog: Galaxies to split into train, validation and test.
        train_catalog: Galaxies to learn from. Without `val_catalog`, it is split like `catalog`.
        val_catalog: Galaxies that choose the best epoch.
        test_catalog: Galaxies kept for the final score.
        label_cols: The columns that hold the labels; None takes those the model was made for, or else those
            that a `Catalog` was read with.
        root: Folder that `file_loc` is relative to; None is the catalog's own folder.
        id_col: Column of the galaxy ids.
        file_col: Column of the image paths, or one for each band.
        split: How `catalog` is split: "random", "stratified", "sky", "group" or "column"; None takes the
            catalog's own column `split`, if it says train, val or test of each galaxy, and else "random".
        split_column: The column that "group" or "column" splits by.
        ra_col: Column of right ascension in degrees, for a split by sky.
        dec_col: Column of declination in degrees, for a split by sky.
        val_fraction: Share of the galaxies that validate.
        test_fraction: Share of the galaxies kept for test.
        batch_size: Galaxies in one step, over all devices together.
        augmentation: How training images vary; None shows them as they are. Others are never augmented.
        num_workers: Threads that read images.
        seed: Seeds the split, the order and the augmentation.
        preprocessing: How files become pixels; None uses the model's own record. It is needed only to look
            at batches without a model.
        max_failed_fraction: Share of unreadable images above which an epoch ends in an error.
        missing_values: Regression: numbers that mean a missing target, such as -99.
        suspect_targets: Regression: "refuse" raises an error where targets can hardly be meant, such as -99
            far from all others, or numbers over many decades; "keep" learns them as they are.
        cache_dir: Folder in which decoded training and validation images are kept, for later epochs and runs;
            the batches are the same. None decodes the files in each epoch.
    """

    def __init__(
        self,
        catalog: CatalogSource | None = None,
        *,
        train_catalog: CatalogSource | None = None,
        val_catalog: CatalogSource | None = None,
        test_catalog: CatalogSource | None = None,
        label_cols: Sequence[str] | None = None,
        root: str | Path | None = None,
        id_col: str = "id_str",
        file_col: str | Sequence[str] = "file_loc",
        split: str | None = None,
        split_column: str | None = None,
        ra_col: str = "ra",
        dec_col: str = "dec",
        val_fraction: float = defaults.VAL_FRACTION,
        test_fraction: float = 0.0,
        batch_size: int = defaults.BATCH_SIZE,
        augmentation: Augmentation | None = Augmentation(),  # noqa: B008  frozen: safe to share
        num_workers: int = defaults.NUM_WORKERS,
        seed: int = defaults.SEED,
        preprocessing: Preprocessing | None = None,
        max_failed_fraction: float = defaults.MAX_FAILED_FRACTION,
        missing_values: Sequence[float] = (),
        suspect_targets: str = "refuse",
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__()
        if (catalog is None) == (train_catalog is None):
            raise ConfigError("give either catalog, to be split, or train_catalog")
        if catalog is not None and (val_catalog is not None or test_catalog is not None):
            msg = "catalog is split by itself: give train_catalog beside val_catalog and test_catalog"
            raise ConfigError(msg)
        self._sources = {"train": train_catalog, "val": val_catalog, "test": test_catalog}
        self._whole = catalog
        self.label_cols = None if label_cols is None else tuple(label_cols)
        self._settled_for: int | None = None
        self._columns: dict[str, Any] = {"root": root, "id_col": id_col, "file_col": file_col}
        self._split: dict[str, Any] = {
            "method": split,
            "column": split_column,
            "ra_col": ra_col,
            "dec_col": dec_col,
            "val_fraction": val_fraction,
            "seed": seed,
        }
        self._test_fraction = test_fraction
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.num_workers = num_workers
        self.seed = seed
        self.preprocessing = preprocessing
        self.max_failed_fraction = max_failed_fraction
        self.missing_values, self.suspect_targets = tuple(missing_values), suspect_targets
        self.cache_dir = cache_dir
        self.galaxies: dict[str, Catalog] = {}
        self._left_out: dict[str, int] = {}
        self._split_by: str | None = None
        self._loaders: list[GalaxyLoader | FeatureLoader] = []
        self._encoded: dict[str, FeatureLoader] = {}

    def setup(self, stage: str | None = None) -> None:
        """Read, check and split the catalogs; a second call does nothing.

        Args:
            stage: Ignored; frameworks pass the purpose of the call.

        Raises:
            CatalogError: If a catalog can't be used, or one galaxy is in two of them.
        """
        if self.galaxies:
            return
        if self._whole is not None:
            self.galaxies = self._split_up(self._whole, self._test_fraction)
            return
        galaxies = {name: self._read(source) for name, source in self._sources.items() if source is not None}
        if "val" not in galaxies:
            galaxies = self._with_val(galaxies)
        elif (column := own_split_column(galaxies["train"])) is not None:
            words = "Column %r of %s is not looked at: another catalog says which galaxies validate"
            logger.info(words, column, galaxies["train"].name)
        _refuse_shared_galaxies(galaxies)
        self.galaxies = galaxies

    def _with_val(self, galaxies: dict[str, Catalog]) -> dict[str, Catalog]:
        """The training catalog split; galaxies that it keeps for test itself are never trained on."""
        parts = self._split_up(galaxies["train"], 0.0)
        if "test" in parts and "test" in galaxies:
            words = "Left out %s galaxies of %s that it keeps for test: %s is what is tested on"
            count = f"{len(parts['test']):,}"
            logger.warning(words, count, galaxies["train"].name, galaxies["test"].name)
            parts["test"] = galaxies["test"]
        return {**galaxies, **parts}

    def _read(self, source: CatalogSource) -> Catalog:
        return read_catalog(source, label_cols=self.label_cols or (), **self._columns)

    def _split_up(self, source: CatalogSource, test_fraction: float) -> dict[str, Catalog]:
        galaxies = self._read(source)
        self._split_by = describe_split(galaxies, self._split["method"], self._split["column"])
        return split_catalog(galaxies, test_fraction=test_fraction, **self._split)

    @property
    def train_galaxies(self) -> Catalog:
        """The galaxies to learn from."""
        return self._part("train")

    @property
    def val_galaxies(self) -> Catalog:
        """The galaxies that choose the best epoch."""
        return self._part("val")

    @property
    def test_galaxies(self) -> Catalog:
        """The galaxies kept for the final score."""
        return self._part("test")

    def _part(self, name: str) -> Catalog:
        self.setup()
        if name not in self.galaxies:
            raise CatalogError(f"there are no {name} galaxies: set {name}_fraction, or give {name}_catalog")
        return self.galaxies[name]

    def meet(self, task: Task) -> Task:
        """Bind a model's task to these galaxies, and check every label before work starts.

        Args:
            task: What the model learns; it may not know its label columns yet.

        Returns:
            The task, bound to the label columns of these galaxies.

        Raises:
            ConfigError: If the model was made for other columns.
            LabelError: If a label is not what the task needs.
        """
        if self.label_cols is None:
            self.label_cols = task.label_cols or self._label_cols_of_catalogs()
        if not self.label_cols:
            raise ConfigError("no label columns: give label_cols to the data module or to the model")
        task = task.bind(self.label_cols)
        self.setup()
        for name, galaxies in self.galaxies.items():
            if galaxies.labels is None or galaxies.label_cols != task.label_cols:
                self.galaxies[name] = read_catalog(galaxies, label_cols=task.label_cols, check_files=False)
        self._take_targets(task)
        for name in self.galaxies:
            task.check_labels(labels_of(self.galaxies[name]), self.galaxies[name].ids)
            task.check_learnable(labels_of(self.galaxies[name]), name)
        return task

    def _take_targets(self, task: Task) -> None:
        if task.predicts == "numbers":
            before = {name: len(galaxies) for name, galaxies in self.galaxies.items()}
            self.galaxies = usable_targets(
                self.galaxies, missing_values=self.missing_values, suspect_targets=self.suspect_targets
            )
            for name, galaxies in self.galaxies.items():
                self._left_out[name] = self._left_out.get(name, 0) + before[name] - len(galaxies)
        elif self.missing_values:
            raise ConfigError(f"missing_values is for a task of regression, got a {task.kind} task")

    def _label_cols_of_catalogs(self) -> tuple[str, ...]:
        """The label columns that the catalogs were read with, where they are `Catalog`s that agree."""
        sources = [self._whole, *self._sources.values()]
        known = {source.label_cols for source in sources if isinstance(source, Catalog)}
        return known.pop() if len(known) == 1 else ()

    def check_batch_size(self, devices: int) -> None:
        """Raise unless so many devices can share each batch out evenly.

        Raises:
            ConfigError: If they can't.
        """
        if self.batch_size % devices:
            msg = f"batch_size must be shared out evenly among {devices} devices, got {self.batch_size}"
            raise ConfigError(msg)

    def refuse_batches_of_one(self, devices: int) -> None:
        """Raise if a device would learn from one galaxy at a time: no batch norm that learns can.

        Its statistics are those of the batch, of which one galaxy has none worth keeping; call it for models
        whose batch norms learn.

        Raises:
            ConfigError: If a batch would be of one galaxy.
        """
        galaxies = len(self.train_galaxies)
        fewest, most = galaxies // devices, math.ceil(galaxies / devices)
        batches = max(1, math.ceil(most / (self.batch_size // devices)))
        if fewest // batches < 2:
            each = f" on each of {devices} devices" if devices > 1 else ""
            raise ConfigError(
                f"batch_size={self.batch_size} with {galaxies} training galaxies makes batches "
                f"of one galaxy{each}, and batch norms that learn need two or more: take a larger "
                "batch_size, or let the head alone learn (n_blocks=0)"
            )

    def train_dataloader(self) -> Any:
        """Shuffled, augmented `TensorBatches`; each epoch has its own order and warps."""
        return self._batches("train")

    def val_dataloader(self) -> Any:
        """`TensorBatches` in catalog order, never augmented."""
        return self._batches("val")

    def test_dataloader(self) -> Any:
        """`TensorBatches` in catalog order, never augmented."""
        return self._batches("test")

    def _batches(self, name: str) -> Any:
        """The batches of one part, in the engine's terms."""
        raise NotImplementedError

    def loader(
        self, name: str, *, preprocessing: Preprocessing | None = None, shard: tuple[int, int] = (0, 1)
    ) -> GalaxyLoader:
        """Batches of one part: shuffled and augmented for "train", in catalog order and plain otherwise.

        Args:
            name: "train", "val" or "test".
            preprocessing: The model's record, where there is a model.
            shard: (index, count): this device's share of the galaxies.

        Raises:
            ConfigError: If this data module and the model both say how pixels are made, and differ; or the
                batch can't be shared out evenly.
        """
        training = name == "train"
        self.check_batch_size(shard[1])
        loader = GalaxyLoader(
            self._part(name),
            self._agree_on(preprocessing),
            batch_size=self.batch_size // shard[1],
            augmentation=self.augmentation if training else None,
            shuffle=training,
            seed=self.seed,
            num_workers=self.num_workers,
            shard=shard,
            max_failed_fraction=self.max_failed_fraction,
            cache_dir=None if name == "test" else self.cache_dir,  # tested once: there is no later epoch
        )
        self._loaders.append(loader)
        return loader

    def feature_loader(
        self,
        name: str,
        part: FrozenPart,
        *,
        preprocessing: Preprocessing | None = None,
        progress: bool = False,
    ) -> FeatureLoader:
        """The same batches with what a frozen part makes of them in the place of images.

        Args:
            name: "train", "val" or "test".
            part: What encodes images, each view once, and how many views of training galaxies.
            preprocessing: The model's record, where there is a model.
            progress: Whether a progress bar is drawn.

        Raises:
            ConfigError: As for `loader`.
            ImageError: If too many images can't be read.
        """
        loader = self.loader(name, preprocessing=preprocessing)
        folder = None if self.cache_dir is None else str(self.cache_dir)
        features = FeatureLoader(loader, part, progress=progress, folder=folder)
        self._loaders.append(features)
        if part.ahead:
            self._encoded[name] = features
        return features

    def encoded(self, name: str) -> FeatureLoader | None:
        """The features of one part, where training with the head alone has encoded it.

        Args:
            name: "train", "val" or "test".
        """
        return self._encoded.get(name)

    def settle(self, model: Any) -> None:
        """Have a model that is to be trained say, and keep, which bands of these images it looks at.

        Raises:
            ConfigError: If it is to look at several views while its encoder learns.
            ImageError: If the first images can't be what its network looks at.
        """
        if self._settled_for == id(model):
            return
        views, n_blocks = model.preprocessing.views, model.settings.n_blocks
        if views > 1 and n_blocks != 0:
            raise ConfigError(several_views_need_head(views, n_blocks))
        self._settled_for = id(model)
        self.setup()
        paths = next(part.paths for part in self.galaxies.values())
        check_first_images(paths, model.preprocessing)
        if self.preprocessing is None:
            settle_bands(model, paths)

    def _agree_on(self, preprocessing: Preprocessing | None) -> Preprocessing:
        agreed = preprocessing or self.preprocessing
        if agreed is None:
            msg = "no preprocessing: give it to the data module, or use the data module with a model"
            raise ConfigError(msg)
        if self.preprocessing not in (None, agreed):
            raise ConfigError(
                "the data module and the model want different pixels; give preprocessing to the model alone: "
                f"{self.preprocessing} against {agreed}"
            )
        return agreed

    @property
    def failures(self) -> pd.DataFrame:
        """The images that could not be read so far: id_str, file_loc, reason; each galaxy once."""
        rows = [failure for loader in self._loaders for failure in loader.failures]
        table = pd.DataFrame(rows, columns=["id_str", "file_loc", "reason"])
        return table.drop_duplicates("id_str", ignore_index=True)

    def split_table(self, failures: pd.DataFrame | None = None) -> pd.DataFrame:
        """Where each galaxy went: `id_str`, and `split`: train, val, test, or failed where it can't be read.

        Args:
            failures: Images that could not be read besides those met so far: `id_str`.
        """
        ids = [one for part in self.galaxies.values() for one in part.ids]
        names = np.repeat(list(self.galaxies), [len(part) for part in self.galaxies.values()])
        table = pd.DataFrame({"id_str": ids, "split": names.astype(object)})
        failed = {*self.failures["id_str"], *(() if failures is None else failures["id_str"])}
        table.loc[table["id_str"].isin(failed), "split"] = "failed"
        return table

    def keep_split(self, save_dir: Path, failures: pd.DataFrame | None = None) -> None:
        """Write `split_table` into a run's folder as split.parquet, whole, in place of an earlier one.

        Args:
            save_dir: The folder.
            failures: As for `split_table`.

        Raises:
            WriteError: If it can't be written.
        """
        with replacing(save_dir / "split.parquet") as draft:
            self.split_table(failures).to_parquet(draft, index=False)

    def record(self) -> dict[str, Any]:
        """What a run's record says of each part: `Catalog.describe`, and how it was chosen."""
        self.setup()
        parts: dict[str, Any] = {}
        for name, part in self.galaxies.items():
            parts[name] = part.describe()
            if self._split_by is not None:
                parts[name]["split"] = self._split_by
            if self._left_out.get(name):
                parts[name]["without_target"] = self._left_out[name]
        return parts

    def __repr__(self) -> str:
        if not self.galaxies:
            return f"<{type(self).__name__}: not read yet>"
        sizes = ", ".join(f"{len(part):,} {name}" for name, part in self.galaxies.items())
        return f"<{type(self).__name__}: {sizes} of {self.train_galaxies.name}>"

    __str__ = __repr__  # Lightning's would make every loader to describe it

    def _repr_html_(self) -> str:
        """The parts, the labels, and a few galaxies as a network sees them."""
        try:
            self.setup()
        except ZoobotError as error:
            return f"<p>{escape(error)}</p>"
        train = self.train_galaxies
        facts = {name: f"{len(part):,} galaxies of {part.name}" for name, part in self.galaxies.items()}
        facts |= {"split": self._split_by or "", "labels": ", ".join(train.label_cols)}
        pixels = self.preprocessing or Preprocessing(colour="to-rgb")
        shown = "".join(_thumbnail(place, pixels) for place in train.paths[:_THUMBNAILS])
        return facts_html(type(self).__name__, facts) + f"<div>{shown}</div>"


def _thumbnail(place: str, pixels: Preprocessing) -> str:
    try:
        return image_html(make_view(read_image(place, pixels), pixels), side_pix=96)
    except ImageError as error:
        return f"<p>{escape(error)}</p>"


def labels_of(catalog: Catalog) -> np.ndarray:
    """The labels of a catalog, (galaxies, label columns).

    Raises:
        CatalogError: If it was read without label columns.
    """
    if catalog.labels is None:
        raise CatalogError(f"{catalog.name} was read without label columns: give label_cols")
    return catalog.labels


def _refuse_shared_galaxies(galaxies: dict[str, Catalog]) -> None:
    """A galaxy in two parts would make the score a lie."""
    seen: dict[str, str] = {}
    for name, part in galaxies.items():
        shared = [galaxy for galaxy in part.ids if galaxy in seen]
        if shared:
            raise CatalogError(
                f"{len(shared)} galaxies are in both the {seen[shared[0]]} and the {name} catalog; "
                f"the first: {shared[:10]}"
            )
        seen |= dict.fromkeys(part.ids, name)
