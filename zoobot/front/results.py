"""What the functions of the front door return: what was made, its model, scores, tables and figures."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from zoobot.shared.errors import ConfigError
from zoobot.shared.html import escape, png_html, table_html
from zoobot.shared.speech import in_keywords

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from zoobot.front.model import ZoobotModel
    from zoobot.shared.settings import Options
    from zoobot.workflow import Evaluation

_ROWS_SHOWN, _COLUMNS_SHOWN = 8, 10

#: What results have here; the rest is that of what was made.
_OWN = ("model", "evaluation", "table")

#: What figures are called here, by the names of their files.
_CALLED = {
    "training_curves": "curves",
    "confusion_matrix": "confusion",
    "question_confusions": "confusion",
    "purity_completeness": "purity",
    "regression_scatter": "scatter",
    "fractions_scatter": "fractions",
    "reliability": "calibration",
    "predictions": "examples",
}


class Figures:
    """The figures that there are of a result, each drawn by a function: `result.plot.confusion()`.

    Where a figure has one panel, it can be drawn into axes of your own, `ax=`. `dir` lists what there is.

    Args:
        drawings: What draws each, by the name of its file, which is another name for it.

    Example:
        >>> figures = Figures({"reliability": lambda: "a figure"})
        >>> figures, figures.calibration()
        (<figures: calibration()>, 'a figure')
    """

    def __init__(self, drawings: Mapping[str, Callable[..., Figure]]) -> None:
        self._drawings = dict(drawings)
        self._called = {_CALLED.get(name, name): name for name in reversed(self._drawings)}

    def __getattr__(self, name: str) -> Callable[..., Figure]:
        if name.startswith("_"):
            raise AttributeError(name)
        draw = self._drawings.get(self._called.get(name, name))
        if draw is None:
            raise AttributeError(f"there is no figure {name!r} of this result; there are: {self._listed()}")

        def drawn(**options: Any) -> Figure:
            if "ax" in options and "ax" not in inspect.signature(draw).parameters:
                raise ConfigError(f"{name} is a figure of several panels, for which ax= has no room")
            return draw(**options)

        return drawn

    def __dir__(self) -> list[str]:
        return sorted(self._called)

    def __repr__(self) -> str:
        return f"<figures: {self._listed()}>"

    def _listed(self) -> str:
        return ", ".join(f"{name}()" for name in dir(self)) or "none"


class Result:
    """What a command made, and what can be looked at from here.

    All that the workflow's own result has is here too: `save_dir`, `failures` … .

    Args:
        verb: The command.
        options: What it was told.
        made: What it made.

    Attributes:
        model: The model that was trained or used, as `zoobot.load` gives it; loaded when it is looked at.
        evaluation: Its scores.
        table: The predictions, or the list that was made, as a DataFrame; read when it is looked at.
        plot: The figures.
    """

    def __init__(self, verb: str, options: Options, made: Any) -> None:
        self._verb, self._options, self.made = verb, options, made

    @cached_property
    def model(self) -> ZoobotModel:  # noqa: D102
        place = self._model_place()
        if place is None:
            raise self._absent("model")
        from zoobot.front.model import load  # late: who looks at no model needs no engine

        return load(place, backend=getattr(self._options, "backend", None))

    @property
    def evaluation(self) -> Evaluation:  # noqa: D102
        found = self._evaluation()
        if found is None:
            raise self._absent("evaluation")
        return found

    @cached_property
    def table(self) -> pd.DataFrame:  # noqa: D102
        found = self._table()
        if found is None:
            raise self._absent("table")
        if not isinstance(found, Path):
            return found
        from zoobot.shared.predictions import read_predictions  # late: with it comes pandas

        return read_predictions(found)

    def report(self) -> str:
        """What came out, as it was printed."""
        return self._in_keywords(self.made.report())

    @property
    def plot(self) -> Figures:  # noqa: D102
        return Figures(getattr(self._trained, "pictures", {}))

    @property
    def _trained(self) -> Any:
        """What holds a model and its scores."""
        return getattr(self.made, "training", self.made)

    def _model_place(self) -> Any:
        trained = getattr(self._trained, "checkpoint", None)
        place = getattr(self._options, "checkpoint", None) if trained is None else trained
        others = getattr(self._options, "ensemble", ())
        return [place, *others] if place is not None and others else place

    def _evaluation(self) -> Any:
        trained = self._trained
        return trained if hasattr(trained, "scores_for_json") else getattr(trained, "evaluation", None)

    def _table(self) -> Any:
        """The table, or the file that it is in."""
        for name in ("table", "curves", "ranking"):
            found = getattr(self.made, name, None)
            if hasattr(found, "columns"):
                return found
        predicted = getattr(self.made, "predictions", self.made)
        if hasattr(predicted, "missing_parts") or self._verb == "merge":
            return Path(predicted.save_loc)
        evaluation = self._evaluation()
        return None if evaluation is None else evaluation.save_dir / "predictions.parquet"

    def _absent(self, name: str) -> AttributeError:
        return AttributeError(f"zoobot.{self._verb} makes no {name!r}; its result has {dir(self)}")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in _OWN or not hasattr(self.made, name):
            raise self._absent(name)
        return getattr(self.made, name)

    def __dir__(self) -> list[str]:
        there = (self._model_place(), self._evaluation(), self._table())
        own = [name for name, found in zip(_OWN, there, strict=True) if found is not None]
        theirs = [name for name in dir(self.made) if not name.startswith("_") and name not in _OWN]
        return sorted({"made", "plot", "report", *own, *theirs})

    def __repr__(self) -> str:
        told = repr(self.made).replace(type(self.made).__name__, f"zoobot.{self._verb}", 1)
        return self._in_keywords(told)

    def _in_keywords(self, text: str) -> str:
        return in_keywords(text, type(self._options))

    def _repr_html_(self) -> str:
        """Its scores with pictures, or the first rows of its table and the picture of its list."""
        evaluation = self._evaluation()
        if evaluation is not None:
            return str(evaluation._repr_html_())
        if self._table() is None:
            return f"<pre>{escape(self.report().strip())}</pre>"
        shown = self.table.iloc[:_ROWS_SHOWN, :_COLUMNS_SHOWN]
        size = f"{len(self.table):,} rows, {self.table.shape[1]:,} columns"
        if "file_loc" in shown:  # long, and seldom looked at
            shown = shown.assign(file_loc=[f"…/{PurePath(str(place)).name}" for place in shown["file_loc"]])
        rows = ([_cell(value) for value in row] for row in shown.itertuples(index=False))
        table = table_html(list(map(str, shown.columns)), rows)
        return f"<p>{escape(repr(self))}; {size}</p>{table}{self._picture()}"

    def _picture(self) -> str:
        """The picture that stands beside a list, where it is one that notebooks show."""
        picture = getattr(self.made, "picture", None)
        if picture is None or picture.suffix != ".png" or not picture.is_file():
            return ""
        return f"<div>{png_html(picture.read_bytes(), f'the galaxies of {picture.name}')}</div>"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
