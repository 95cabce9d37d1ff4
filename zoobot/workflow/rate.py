"""The guided session of rating galaxies: take in ratings, rank all galaxies anew, say which to rate next."""

from __future__ import annotations

import logging
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from zoobot.rating.folder import as_rating, is_session
from zoobot.rating.session import RatingSession
from zoobot.shared import defaults
from zoobot.shared.catalog import check_columns
from zoobot.shared.catalogs.columns import is_missing, read_ids
from zoobot.shared.catalogs.tables import read_table
from zoobot.shared.errors import ConfigError, LabelError
from zoobot.shared.features.tables import read_features
from zoobot.shared.files.locks import lock_file, locked
from zoobot.shared.files.spreadsheets import write_csv
from zoobot.shared.files.whole import replacing
from zoobot.workflow.pictures import draw_sheet, find_images, picture_paths
from zoobot.workflow.reporting import Reported, quoted
from zoobot.workflow.run_folder import RECORD_FILE, open_record

if TYPE_CHECKING:
    import pandas as pd

    from zoobot.options.rate import RateOptions

logger = logging.getLogger("zoobot")

_NEXT, _RANKING = "next.csv", "ranking.csv"
_DRAWN = 30


@dataclass(frozen=True, kw_only=True, repr=False)
class RateResult(Reported):
    """Where a session stands.

    Args:
        session: The session.
        new: How many ratings are new.
        to_rate: The galaxies to rate next, the first first: `id_str`, `file_loc`, `expected`, `anomaly`.
        ranking: The most interesting galaxies, as `RatingSession.ranking` says.
        picture: The picture of the galaxies to rate, if there is one.
        place: The session's folder as it was given.
    """

    session: RatingSession
    new: int
    to_rate: pd.DataFrame
    ranking: pd.DataFrame
    picture: Path | None
    place: str

    def report(self) -> str:
        """What came out, as a text to read."""
        folder, galaxies = self.session.folder, len(self.session.table)
        return "\n".join(
            [
                f"{len(self.session.ratings):,} of {galaxies:,} galaxies are rated, {self.new:,} of them now",
                f"  {folder / 'ranking.csv'}: the most interesting galaxies",
                f"  {folder / 'next.csv'}: fill in ratings of these {len(self.to_rate):,}, and give: "
                f"zoobot rate {quoted(self.place)}",
            ]
        )


def rate(options: RateOptions, *, command: str = "zoobot.workflow.rate") -> RateResult:
    """Start a session or go on with one: keep new ratings, rank the galaxies, and choose what to rate next.

    With `ask`, the ratings of what is to rate next are asked for on the terminal, until none is given.

    New ratings are those filled into the session's next.csv, those of a table, and those of the options. They
    are safe on the disk before anything else is written, and none is kept if one is wrong. Then ranking.csv,
    ranking.png, next.csv and next.png are written anew; killed on the way, the same call does it again.

    Args:
        options: Everything that can be chosen.
        command: How the run was started, for its record.

    Raises:
        ZoobotError: If the features or a rating can't be used, or there is no session and no features.
    """
    result = _rate_once(options, command)
    going_on = replace(options, features=None, catalog=None, rate=(), ratings=None)
    new, wanted = result.new, options.ask
    while wanted and len(result.to_rate):
        answers, wanted = _ask(result)
        new += answers
        result = _rate_once(going_on, command)
    return replace(result, new=new)


def _rate_once(options: RateOptions, command: str) -> RateResult:
    session = _open(options)
    record = open_record(session.folder / RECORD_FILE, "rate", options, command=command)
    with locked(lock_file(session.folder)), record.running():
        new = session.rate(_filled_in(session) | _from_table(options.ratings) | _spoken(options.rate))
        ranking = session.ranking(model=options.model).head(options.ranked)
        to_rate = session.propose(options.n, model=options.model, ask_for=options.ask_for)
        with replacing(session.folder / _RANKING) as draft:
            write_csv(ranking, draft)
        with replacing(session.folder / _NEXT) as draft:
            write_csv(_with_empty_ratings(to_rate), draft)
        for name in ("ranking", "next"):
            for path in picture_paths(session.folder / name):
                path.unlink(missing_ok=True)  # it would be out of date
        picture = _draw(session, to_rate, ranking, options) if options.picture else None
        record.update(new=new, ratings=len(session.ratings))
    return RateResult(
        session=session,
        new=new,
        to_rate=to_rate,
        ranking=ranking,
        picture=picture,
        place=options.session,
    )


def _ask(result: RateResult) -> tuple[int, bool]:
    """Ask for ratings of the galaxies to rate next: how many there were, and whether to go on after them."""
    shown = f"the galaxies are shown in {result.picture}\n" if result.picture is not None else ""
    sys.stdout.write(f"{shown}a rating from 0 to 5 for each; Enter skips a galaxy, q ends\n")
    answers = 0
    for row in result.to_rate.itertuples():
        answered = _ask_about(str(row.id_str), str(row.file_loc), result.session)
        if answered is None:
            return answers, False
        answers += answered
    return answers, answers > 0


def _ask_about(galaxy: str, place: str, session: RatingSession) -> bool | None:
    """Whether a galaxy was rated, which is on the disk then; None ends the questions."""
    while True:
        sys.stdout.write(f"{galaxy} {place}".rstrip() + ": ")
        sys.stdout.flush()
        line = sys.stdin.readline()
        if not line or line.strip().lower() == "q":
            return None
        if not line.strip():
            return False
        try:
            session.rate({galaxy: line.strip()})
        except LabelError as error:
            sys.stdout.write(f"{error}\n")
        else:
            return True


def _open(options: RateOptions) -> RatingSession:
    folder = Path(options.session).expanduser().absolute()
    if options.features is None:
        if not is_session(folder):
            raise ConfigError(
                f"there is no session in {folder}: start one with --features, which `zoobot represent` writes"
            )
        return RatingSession(folder)
    features = read_features(options.features)
    if is_session(folder):
        session = RatingSession(folder)
        session.check_same(features.ids, features.features)
        return session
    file_locs = find_images(features.ids, options, features.origin)
    logger.info("Starting a session with %s galaxies in %s", f"{len(features):,}", folder)
    origin = {"features": options.features, **features.origin}
    return RatingSession.start(
        folder, features.ids, features.features, file_locs=file_locs, origin=origin, seed=options.seed
    )


def _filled_in(session: RatingSession) -> dict[str, float]:
    """What was filled into next.csv; it asks for galaxies without rating, so for others it is out of date."""
    place = session.folder / _NEXT
    if not place.is_file():
        return {}
    given = _from_table(str(place))
    stale = {galaxy for galaxy, rating in given.items() if session.ratings.get(galaxy, rating) != rating}
    if stale:
        logger.warning(
            "%s: galaxies that were rated otherwise since are passed over: %s", place, sorted(stale)
        )
    return {galaxy: rating for galaxy, rating in given.items() if galaxy not in stale}


def _from_table(path: str | None) -> dict[str, float]:
    """The ratings in a table; those left empty are none.

    Raises:
        CatalogError: If it lacks a column, or a galaxy comes twice.
        LabelError: If one is no rating.
    """
    if path is None:
        return {}
    table = read_table(path, text_cols=("id_str", "rating"))
    check_columns(table, ("id_str", "rating"), path)
    found = {}
    for galaxy, rating in zip(read_ids(table["id_str"], path), table["rating"], strict=True):
        if is_missing(rating) or not str(rating).strip():
            continue
        try:
            found[galaxy] = as_rating(rating)
        except LabelError as error:
            raise LabelError(f"{path}: galaxy {galaxy!r}: {error}") from error
    return found


def _spoken(ratings: tuple[str, ...]) -> dict[str, float]:
    """Ratings said as ID=RATING; an id may hold "=" itself."""
    parts = [one.rpartition("=") for one in ratings]
    return {galaxy: as_rating(rating) for galaxy, _, rating in parts}


def _with_empty_ratings(to_rate: pd.DataFrame) -> pd.DataFrame:
    table = to_rate.assign(rating="")
    return table[["id_str", "rating", "expected", "anomaly", "file_loc"]]


def _draw(
    session: RatingSession, to_rate: pd.DataFrame, ranking: pd.DataFrame, options: RateOptions
) -> Path | None:
    """Both pictures anew: that of the galaxies to rate is returned."""
    asked = [f"{row.id_str}\n{_told(math.nan, row.expected)}" for row in to_rate.itertuples()]
    best = ranking.head(_DRAWN)
    told = [f"{row.rank}. {row.id_str}\n{_told(row.rating, row.expected)}" for row in best.itertuples()]
    origin = session.settings["origin"]
    formats, web = options.figures, options.web_access()
    draw_sheet(session.folder / "ranking", formats, best["file_loc"].tolist(), told, origin, web=web)
    return draw_sheet(session.folder / "next", formats, to_rate["file_loc"].tolist(), asked, origin, web=web)


def _told(rating: float, expected: float) -> str:
    """What is known of how interesting a galaxy is."""
    if rating == rating:
        return f"rated {rating:g} of {defaults.TOP_RATING}"
    return f"{expected:.1f} expected" if expected == expected else ""
