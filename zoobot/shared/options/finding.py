"""How strange and interesting galaxies are found by their features."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar, Literal

from zoobot.shared import defaults
from zoobot.shared.errors import ConfigError
from zoobot.shared.options.galaxies import ImagePlaceOptions
from zoobot.shared.settings import setting

__all__ = ["AnomaliesOptions", "RateOptions"]


@dataclass(frozen=True, kw_only=True)
class ShownGalaxiesOptions(ImagePlaceOptions):
    """Which catalog says where the images of galaxies with features are."""

    title: ClassVar[str] = "Images, for the list and its picture"

    catalog: str | None = setting(
        None,
        "the catalog that the features are of, which says where the images are; without it, the one that the "
        "features remember",
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class AnomaliesOptions(ShownGalaxiesOptions):
    """Everything that `zoobot anomalies` can be told."""

    title: ClassVar[str] = "Features and list"

    features: str = setting(
        MISSING, "what `zoobot represent` wrote: a table, or a folder of parts", metavar="FEATURES"
    )
    save_loc: str = setting(MISSING, "the list to write: .csv", metavar="FILE")
    n: int = setting(500, "most galaxies to list", at_least=1)
    method: Literal["local-outlier-factor", "isolation-forest"] = setting(
        defaults.ANOMALY_METHOD, "how strangeness is told: by thin surroundings, or by few cuts that isolate"
    )
    components: int = setting(
        defaults.ANOMALY_COMPONENTS, "principal components of the features that count", at_least=1
    )
    neighbours: int = setting(
        defaults.ANOMALY_NEIGHBOURS,
        "local-outlier-factor: galaxies that make the surroundings; more alike than these are not strange",
        at_least=1,
    )
    fitted_to: int = setting(
        defaults.ANOMALY_SAMPLE, "most galaxies, at random, that the others are compared with", at_least=2
    )
    seed: int = setting(defaults.SEED, "seeds that choice, and the forest", at_least=0)
    picture: bool = setting(True, "also draw the first galaxies, beside the list as NAME.png")
    overwrite: bool = setting(False, "replace the list if it exists")


@dataclass(frozen=True, kw_only=True)
class RateOptions(ShownGalaxiesOptions):
    """Everything that `zoobot rate` can be told."""

    title: ClassVar[str] = "Session and ratings"

    session: str = setting(MISSING, "the session's folder", metavar="SESSION")
    features: str | None = setting(
        None,
        "start the session from these: what `zoobot represent` wrote, a table or a folder of parts",
        metavar="FEATURES",
    )
    rate: tuple[str, ...] = setting(
        (), f"ratings, from 0 (dull) to {defaults.TOP_RATING} (most interesting)", metavar="ID=RATING"
    )
    ratings: str | None = setting(
        None,
        "a table with the columns id_str and rating; next.csv in the session is read without a word",
        metavar="FILE",
    )
    ask: bool = setting(False, "ask for the ratings here and now, one galaxy after the other")
    n: int = setting(20, "galaxies to ask about next", at_least=1)
    ranked: int = setting(1000, "most galaxies in ranking.csv", at_least=1)
    model: Literal["gaussian-process", "ridge"] | None = setting(
        None,
        "what learns from the ratings; without a word, a Gaussian process from the first "
        f"{defaults.MOST_RATINGS_OF_PROCESS:,} and an ensemble of ridge regressions from more",
    )
    ask_for: Literal["upper-bound", "expected-improvement", "expected"] = setting(
        defaults.RATING_ACQUISITION,
        "which galaxies to ask about: those that might be rated high, those that would beat the best so far, "
        "or those expected to be rated high",
    )
    seed: int = setting(defaults.SEED, "a new session: seeds all that is drawn at random", at_least=0)
    picture: bool = setting(True, "also draw the galaxies to rate, next.png, and the best, ranking.png")

    def check(self) -> None:  # noqa: D102
        super().check()
        if self.catalog is not None and self.features is None:
            msg = "--catalog is for the start of a session: give --features too"
            raise ConfigError(msg)
        for one in self.rate:
            galaxy, equals, rating = one.rpartition("=")
            if not (galaxy and equals and rating):
                msg = f"--rate must be ID=RATING, such as J0001=5, got {one!r}"
                raise ConfigError(msg)
