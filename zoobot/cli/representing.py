"""Commands on what an encoder makes of galaxies: represent, similar, reduce."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from zoobot.cli.command import Command
from zoobot.cli.saying import missing_lines, say, table_failure_lines
from zoobot.shared import config

__all__ = ["COMMANDS"]

_REPRESENT_DESCRIPTION = """\
What an encoder makes of every galaxy: its features, for similarity, clustering, or a model of your own.

The table has a row for each galaxy: id_str, feature_0000, feature_0001 … In Python,
zoobot.shared.features.tables.read_features reads it.
"""

_REPRESENT_EPILOG = """\
examples:
  zoobot represent zoobot-mini --catalog new.csv --save-loc results/features.parquet
  a whole survey, into a folder: give the same command again after a kill, and it goes on
    zoobot represent results/rings --catalog survey.parquet --save-loc results/features --dtype float16
  the same by eight jobs at once, of which this is the third
    zoobot represent results/rings --catalog survey.parquet --save-loc results/features --shard 3/8
  an encoder without any training on galaxies; the features of a lower block
    zoobot represent imagenet-lite0 --catalog new.csv --save-loc imagenet.parquet
    zoobot represent zoobot-mini --block stages.2 --catalog new.csv --save-loc lower.parquet

An image that can't be read is listed in NAME.failures.csv, or in the folder's _failures, and the run goes on.
"""


_SIMILAR_DESCRIPTION = """\
More galaxies like this one: those whose features point in the same direction, the most similar first.

An ID is a galaxy that has features; anything else is an IMAGE, which is encoded by the model that the
features are of. Each gets a list: query, rank, id_str, similarity (the cosine between features, less their
mean: 1 is the same), file_loc. The first call makes an index beside the features, which later ones use.
"""

_SIMILAR_EPILOG = """\
examples:
  zoobot represent zoobot-mini --catalog survey.parquet --save-loc results/features
  zoobot similar results/features --like J100005.28+152828.6 -k 20 --save-loc results/like_it.csv
  an image that is in no catalog; two galaxies, and what is like both of them
    zoobot similar results/features --like my_merger.jpg --save-loc results/mergers.csv
    zoobot similar results/features --like J0001 J0002 --together
  many millions, by 64 principal components
    zoobot similar results/features --pca 64 --search approximate --like J0001
"""

_REDUCE_EPILOG = """\
examples:
  zoobot reduce results/features --pca 40 --save-loc results/pca.parquet
  the same for galaxies that came later
    zoobot reduce results/new --projection results/pca.projection.safetensors --save-loc results/new_pca.csv
  a map of them to look at (pip install 'zoobot[umap]')
    zoobot reduce results/features --pca 40 --umap 2 --save-loc results/map.csv
"""

_ROWS_SHOWN = 40


def _represent(given: dict[str, Any], command: str) -> None:
    options = config.RepresentOptions.from_config(given)
    from zoobot import workflow

    result = workflow.represent(options, command=command)
    say(f"features of {result.galaxies:,} galaxies: {result.save_loc}")
    say(*table_failure_lines(result), *missing_lines(result.save_loc, result.missing_parts))


def _similar(given: dict[str, Any], command: str) -> None:
    options = config.SimilarOptions.from_config(given)
    from zoobot import workflow

    result = workflow.similar(options, command=command)
    how = "" if result.exact else ", nearly always the most similar ones"
    say(f"of {result.looked_at:,} galaxies{how}:", "")
    shown = result.table.drop(columns="file_loc").head(_ROWS_SHOWN)
    say(shown.to_string(index=False, float_format=lambda number: f"{number:.4f}"))
    if len(shown) < len(result.table):
        say(f"and {len(result.table) - len(shown):,} more")
    if result.save_loc is None:
        say("", "With --save-loc NAME.csv they become a table and a picture.")
        return
    say("", f"the whole list: {result.save_loc}")
    if result.picture is not None:
        say(f"a picture: {result.picture}")


def _reduce(given: dict[str, Any], command: str) -> None:
    options = config.ReduceOptions.from_config(given)
    from zoobot import workflow

    result = workflow.reduce(options, command=command)
    say(
        f"{len(result.columns):,} numbers for each of {result.galaxies:,} galaxies, with "
        f"{result.explained:.1%} of the variance: {result.save_loc}",
        "for other galaxies of the same model, the same again:",
        f"  zoobot reduce OTHERS --projection {shlex.quote(str(result.projection))} --save-loc FILE",
    )


def _add_k(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-k", dest="k", type=int, default=argparse.SUPPRESS, help=argparse.SUPPRESS)


COMMANDS = (
    Command(
        name="represent",
        meaning="write an encoder's features of the galaxies of a catalog",
        run=_represent,
        options=config.RepresentOptions,
        description=_REPRESENT_DESCRIPTION,
        epilog=_REPRESENT_EPILOG,
        usage="zoobot represent MODEL --catalog FILE --save-loc FILE [options]",
        place=("checkpoint", "MODEL"),
    ),
    Command(
        name="similar",
        meaning="find more galaxies like one, by its id or an image",
        run=_similar,
        options=config.SimilarOptions,
        description=_SIMILAR_DESCRIPTION,
        epilog=_SIMILAR_EPILOG,
        usage="zoobot similar FEATURES --like ID|IMAGE … [-k N] [options]",
        place=("features", "FEATURES"),
        add_more=_add_k,
    ),
    Command(
        name="reduce",
        meaning="standardise features, or reduce them to principal components or a map",
        run=_reduce,
        options=config.ReduceOptions,
        epilog=_REDUCE_EPILOG,
        usage="zoobot reduce FEATURES --save-loc FILE [--pca N] [options]",
        place=("features", "FEATURES"),
    ),
)
