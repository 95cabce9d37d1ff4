"""Galaxies for scikit-learn: an encoder as a transformer, a classifier and a regressor of images.

They take part in pipelines, cross-validation and searches like any estimator; only their `X` are images: a
list of paths (or places inside of archives), of arrays, (height, width) or (height, width, channels), or of
pictures of Pillow; one array of images of one size, (galaxies, height, width) or (galaxies, height, width,
channels); or a DataFrame with a column `file_loc`. A fitted estimator that is pickled (`joblib.dump`) holds
its network as the files of a checkpoint, which either engine loads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.utils import check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from zoobot.shared import defaults
from zoobot.shared.catalog import Catalog, read_catalog
from zoobot.shared.engine import Engine, load_engine
from zoobot.shared.errors import CatalogError, ConfigError, ImageError, LabelError

__all__ = ["GalaxyClassifier", "GalaxyEncoder", "GalaxyRegressor"]


def read_images(X: Any) -> Catalog:  # noqa: N803 - so scikit-learn calls them
    """A catalog of the images of an estimator's `X`, in their order; their ids are their numbers from 0.

    Raises:
        CatalogError: If there are no images, or these are no images.

    Example:
        >>> read_images(np.zeros((3, 32, 32, 3), np.uint8)).ids
        ['0', '1', '2']
    """
    if isinstance(X, pd.DataFrame):
        if "file_loc" not in X and X.shape[1] != 1:
            raise CatalogError(f"a DataFrame of images needs a column 'file_loc', got {list(X.columns)}")
        X = X["file_loc"] if "file_loc" in X else X.iloc[:, 0]  # noqa: N806
    if isinstance(X, (str, bytes, Path)) or not hasattr(X, "__len__"):
        raise CatalogError(f"expected a list of images, of one also, got {type(X).__name__} {str(X)[:80]!r}")
    if isinstance(X, np.ndarray) and X.dtype.kind in "OUS" and X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]  # noqa: N806 - as column transformers hand on a column
    if isinstance(X, np.ndarray) and X.ndim < 3 and X.dtype.kind not in "OUS":
        raise CatalogError(
            "expected images: paths, or arrays (galaxies, height, width) or (galaxies, height, width, "
            f"channels), got numbers of the shape {X.shape}"
        )
    images = list(X)
    if not images:
        raise CatalogError("expected at least one image, got none")
    if all(isinstance(one, (str, Path)) for one in images):
        numbers = [str(number) for number in range(len(images))]
        images = pd.DataFrame({"id_str": numbers, "file_loc": [str(one) for one in images]})
        images.attrs["name"] = "X"
    return read_catalog(images).decoded_whole()  # a file gives what the array of its pixels does


class _GalaxyEstimator(BaseEstimator):
    """What the estimators have in common: a model of an engine, which pickles as a checkpoint's files."""

    encoder: str | Path
    backend: str | None
    preprocessing: dict[str, Any] | None
    batch_size: int | None
    num_workers: int
    progress: bool

    def _make(self, kind: str, engine: Engine, **options: Any) -> Any:
        """A new model of the engine, by the name of its class."""
        name = str(self.encoder)
        changes = None if self.preprocessing is None else dict(self.preprocessing)
        return getattr(engine.finetune, kind)(name=name, preprocessing=changes, **options)

    def _represent(self, engine: Engine, model: Any, galaxies: Catalog) -> NDArray[np.float32]:
        """Features, (galaxies, features); every image must be readable, for rows are what others count on."""
        found = engine.represent.represent(
            galaxies,
            model,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            progress=self.progress,
        )
        failed = found.failures
        if len(failed):
            first = f"number {failed['id_str'].iloc[0]}, {failed['file_loc'].iloc[0]}"
            raise ImageError(
                f"{len(failed):,} of {len(galaxies):,} images could not be read, and scikit-learn counts on "
                f"every row: leave them out; the first: {first}: {failed['reason'].iloc[0]}"
            )
        return np.asarray(found.features)

    def _keep(self, engine: Engine, model: Any) -> None:
        self._network, self._files = (engine, model), None

    def _live(self) -> tuple[Engine, Any]:
        """The engine and the fitted model, loaded from its files where it was pickled."""
        check_is_fitted(self)
        if self._network is None:
            engine = load_engine(self.backend)
            with tempfile.TemporaryDirectory(prefix="zoobot-") as folder:
                for name, data in self._files.items():
                    (Path(folder) / name).write_bytes(data)
                self._network = engine, engine.checkpoint.load(folder)
        return self._network

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_network")

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if state.get("_network") is not None:
            engine, model = state["_network"]
            with tempfile.TemporaryDirectory(prefix="zoobot-") as folder:
                place = engine.checkpoint.save(model, Path(folder) / "checkpoint")
                files = {file.name: file.read_bytes() for file in sorted(place.iterdir())}
            state |= {"_network": None, "_files": files}
        return state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # a table of numbers holds no images
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        return tags


class GalaxyEncoder(TransformerMixin, _GalaxyEstimator):
    """Features of galaxies, (galaxies, features), float32, from a pretrained encoder, which learns nothing.

    `transform` raises an ImageError where an image can't be read: rows stay those of `X`. There is no
    `n_features_in_`: images have no columns.

    Args:
        encoder: A bundled name, `hf_hub:owner/name`, a run's or checkpoint's folder, or an architecture.
        backend: "pytorch" or "tensorflow"; None is the usual one.
        preprocessing: Changes to how the encoder's record says that images are read, by the names of
            `zoobot.shared.preprocessing.Preprocessing`, such as {"views": 4} or {"crop_fraction": 0.5}.
        batch_size: Images at once; None is a number that suits the device.
        num_workers: Threads that read images.
        progress: Whether a progress bar is drawn.

    Example:
        >>> import numpy as np
        >>> images = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
        >>> GalaxyEncoder().fit_transform(images).shape
        (4, 1280)
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> make_pipeline(GalaxyEncoder(), LogisticRegression()).fit(images, list("abab")).predict(images)
        array(['a', 'b', 'a', 'b'], dtype='<U1')
    """

    def __init__(
        self,
        encoder: str | Path = defaults.ENCODER,
        *,
        backend: str | None = None,
        preprocessing: dict[str, Any] | None = None,
        batch_size: int | None = None,
        num_workers: int = defaults.NUM_WORKERS,
        progress: bool = False,
    ) -> None:
        self.encoder = encoder
        self.backend = backend
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.progress = progress

    def fit(self, X: Any, y: Any = None) -> GalaxyEncoder:  # noqa: N803
        """Load the encoder; `X` is looked at only to see that it holds images.

        Raises:
            CatalogError: If it does not.
            EncoderError: If the encoder can't be had.
        """
        del y
        read_images(X)
        engine = load_engine(self.backend)
        self._keep(engine, self._make("FinetuneableZoobotRegressor", engine))  # for its encoder
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Features of the images, (galaxies, features), float32, in their order.

        Raises:
            CatalogError: If these are no images.
            ImageError: If one can't be read.
        """
        engine, model = self._live()
        return self._represent(engine, model, read_images(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]  # whatever images are of
        return tags

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """What the columns are called: feature_0000, feature_0001, …, (features,)."""
        del input_features
        width = self._live()[1].encoder.num_features
        return np.array([f"feature_{number:04d}" for number in range(width)], dtype=object)


class _Learner(_GalaxyEstimator):
    """What classifier and regressor have in common: how a model learns."""

    n_blocks: int | Literal["all"]
    max_epochs: int | None
    learning_rate: float | None
    validation_fraction: float
    random_state: Any

    def _learn(
        self, kind: str, galaxies: Catalog, labels: NDArray, *, weights: ArrayLike | None, **task: Any
    ) -> None:
        """Train a model of a class of the engine, and keep it.

        Args:
            kind: The class.
            galaxies: The images.
            labels: (galaxies, label columns).
            weights: How much each galaxy counts.
            task: What the class is told of its task.
        """
        if weights is not None and self.n_blocks != 0:
            raise ConfigError(
                f"sample_weight is for n_blocks=0, a head alone, got n_blocks={self.n_blocks!r}"
            )
        if len(galaxies) < 2:
            raise ConfigError(f"learning needs two galaxies or more, got n_samples={len(galaxies)}")
        engine, seed = load_engine(self.backend), self._seed()
        options = {"learning_rate": self.learning_rate} if self.learning_rate is not None else {}
        model = self._make(kind, engine, n_blocks=self.n_blocks, seed=seed, **task, **options)
        if self.n_blocks == 0:
            features = self._represent(engine, model, galaxies)
            given = None if weights is None else np.asarray(weights, np.float64)
            engine.represent.fit_head(features, labels, model, weights=given, seed=seed)
        else:
            self._train(engine, model, galaxies.with_labels(labels, model.task.label_cols), seed)
        self._keep(engine, model)

    def _train(self, engine: Engine, model: Any, labelled: Catalog, seed: int) -> None:
        """Train an encoder's blocks with the head, in a temporary folder; the model is then the best one."""
        own = {} if self.batch_size is None else {"batch_size": self.batch_size}
        data = engine.data.GalaxyDataModule(
            catalog=labelled,
            label_cols=labelled.label_cols,
            val_fraction=self.validation_fraction,
            num_workers=self.num_workers,
            max_failed_fraction=0.0,
            seed=seed,
            **own,
        )
        epochs = {} if self.max_epochs is None else {"max_epochs": self.max_epochs}
        with tempfile.TemporaryDirectory(prefix="zoobot-") as folder:
            trainer = engine.finetune.get_trainer(folder, progress=self.progress, **epochs)
            trainer.fit(model, data)

    def _seed(self) -> int:
        if self.random_state is None:
            return defaults.SEED
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _outputs(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """What the model predicts, (galaxies, outputs)."""
        engine, model = self._live()
        features = self._represent(engine, model, read_images(X))
        return engine.represent.predict_features(features, model)[0].astype(np.float64)


class GalaxyClassifier(ClassifierMixin, _Learner):
    """A classifier of galaxies: a pretrained encoder with a head that learns; with `n_blocks`, both learn.

    With `n_blocks=0` the features are computed once, and the head is the best one there is on them, with a
    weight decay that cross-validation chooses. Else it is trained as `zoobot finetune` does, on augmented
    images, in a temporary folder; a part of the galaxies chooses the best epoch. There is no
    `n_features_in_`: images have no columns.

    Args:
        encoder: A bundled name, `hf_hub:owner/name`, a run's or checkpoint's folder, or an architecture.
        backend: "pytorch" or "tensorflow"; None is the usual one.
        n_blocks: How many blocks of the encoder learn, from the top; "all" is all of them.
        max_epochs: With `n_blocks`, most epochs; None is the usual number.
        learning_rate: With `n_blocks`, the largest step; None is the usual one.
        validation_fraction: With `n_blocks`, the share of galaxies that chooses the best epoch.
        class_weight: "balanced" has rare classes count as much as others; or weights by class, 1 where a
            class is not named.
        preprocessing: Changes to how the encoder's record says that images are read, by the names of
            `zoobot.shared.preprocessing.Preprocessing`.
        batch_size: Images at once; None is a number that suits.
        num_workers: Threads that read images.
        random_state: Seeds weights, folds, split and augmentation; None is always the same seed.
        progress: Whether progress bars are drawn.

    Attributes:
        classes_: The classes, in the order of `predict_proba`.

    Example:
        >>> import numpy as np
        >>> images = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
        >>> model = GalaxyClassifier().fit(images, ["ring", "none"] * 4)
        >>> model.classes_.tolist(), model.predict_proba(images).shape
        (['none', 'ring'], (8, 2))
    """

    def __init__(
        self,
        encoder: str | Path = defaults.ENCODER,
        *,
        backend: str | None = None,
        n_blocks: int | Literal["all"] = 0,
        max_epochs: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = defaults.VAL_FRACTION,
        class_weight: Literal["balanced"] | dict[Any, float] | None = None,
        preprocessing: dict[str, Any] | None = None,
        batch_size: int | None = None,
        num_workers: int = defaults.NUM_WORKERS,
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        self.encoder = encoder
        self.backend = backend
        self.n_blocks = n_blocks
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GalaxyClassifier:  # noqa: N803
        """Learn the classes of images.

        Args:
            X: The images.
            y: The class of each, text or numbers, (galaxies,).
            sample_weight: With `n_blocks=0`, how much each galaxy counts, (galaxies,).

        Raises:
            CatalogError: If these are no images.
            ImageError: If one can't be read.
            ConfigError: If there is but one class, or an option can't work.
            EncoderError: If the encoder can't be had.
        """
        galaxies, y = read_images(X), column_or_1d(y, warn=True)
        check_consistent_length(galaxies.ids, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            msg = f"a classifier needs two classes or more, got 1 class: {self.classes_.tolist()}"
            raise ConfigError(msg)
        self._learn(
            "FinetuneableZoobotClassifier",
            galaxies,
            codes[:, None].astype(np.float64),
            weights=sample_weight,
            class_names=[str(name) for name in self.classes_],
            label_cols=["class"],
            class_weights=self._class_weights(),
        )
        return self

    def _class_weights(self) -> Literal["balanced"] | Sequence[float] | None:
        """In the house's words: in the order of the classes."""
        given = self.class_weight
        if not isinstance(given, dict):
            return given
        unknown = [name for name in given if name not in set(self.classes_.tolist())]
        if unknown:
            raise ConfigError(f"class_weight names {unknown}, but the classes are {self.classes_.tolist()}")
        return [float(given.get(name, 1.0)) for name in self.classes_.tolist()]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The probability of each class, (galaxies, classes), in the order of `classes_`."""
        found = self._outputs(X)
        return found / found.sum(axis=1, keepdims=True)  # to double precision

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The most likely class of each galaxy, (galaxies,)."""
        likeliest = self.predict_proba(X).argmax(axis=1)
        found: NDArray[Any] = self.classes_[likeliest]
        return found


class GalaxyRegressor(RegressorMixin, _Learner):
    """A regressor of galaxies: it measures one number or several; else as `GalaxyClassifier`.

    Of several targets those that are NaN are left out of the loss, where a galaxy has others.

    Args:
        encoder: A bundled name, `hf_hub:owner/name`, a run's or checkpoint's folder, or an architecture.
        backend: "pytorch" or "tensorflow"; None is the usual one.
        n_blocks: How many blocks of the encoder learn, from the top; "all" is all of them.
        max_epochs: With `n_blocks`, most epochs; None is the usual number.
        learning_rate: With `n_blocks`, the largest step; None is the usual one.
        validation_fraction: With `n_blocks`, the share of galaxies that chooses the best epoch.
        preprocessing: Changes to how the encoder's record says that images are read, by the names of
            `zoobot.shared.preprocessing.Preprocessing`.
        batch_size: Images at once; None is a number that suits.
        num_workers: Threads that read images.
        random_state: Seeds weights, folds, split and augmentation; None is always the same seed.
        progress: Whether progress bars are drawn.

    Example:
        >>> import numpy as np
        >>> images = np.random.default_rng(0).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
        >>> GalaxyRegressor().fit(images, images.mean(axis=(1, 2, 3))).predict(images).shape
        (8,)
    """

    def __init__(
        self,
        encoder: str | Path = defaults.ENCODER,
        *,
        backend: str | None = None,
        n_blocks: int | Literal["all"] = 0,
        max_epochs: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = defaults.VAL_FRACTION,
        preprocessing: dict[str, Any] | None = None,
        batch_size: int | None = None,
        num_workers: int = defaults.NUM_WORKERS,
        random_state: Any = None,
        progress: bool = False,
    ) -> None:
        self.encoder = encoder
        self.backend = backend
        self.n_blocks = n_blocks
        self.max_epochs = max_epochs
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.random_state = random_state
        self.progress = progress

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> GalaxyRegressor:  # noqa: N803
        """Learn numbers of images.

        Args:
            X: The images.
            y: Their numbers, (galaxies,) or (galaxies, targets).
            sample_weight: With `n_blocks=0`, how much each galaxy counts, (galaxies,).

        Raises:
            CatalogError: If these are no images.
            ImageError: If one can't be read.
            LabelError: If a number can't be one to learn.
            EncoderError: If the encoder can't be had.
        """
        galaxies, numbers = read_images(X), np.asarray(y, dtype=np.float64)
        check_consistent_length(galaxies.ids, numbers)
        if numbers.ndim not in (1, 2) or not numbers.size:
            msg = f"numbers to learn have the axes (galaxies,) or (galaxies, targets), got {numbers.shape}"
            raise LabelError(msg)
        self._is_one = numbers.ndim == 1
        labels = numbers[:, None] if self._is_one else numbers
        columns = ["target"] if labels.shape[1] == 1 else [f"target_{k}" for k in range(labels.shape[1])]
        kind = "FinetuneableZoobotRegressor"
        self._learn(kind, galaxies, labels, weights=sample_weight, label_cols=columns)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The numbers of each galaxy, (galaxies,) or (galaxies, targets), as they were learned."""
        found = self._outputs(X)
        return found[:, 0] if self._is_one else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
