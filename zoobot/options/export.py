"""The options of `zoobot export`, and its words on the command line."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from typing import ClassVar

from zoobot.options.command import Command
from zoobot.options.groups import EngineOptions, TurnOptions
from zoobot.shared.engine import choose_engine
from zoobot.shared.settings import setting, with_default


@dataclass(frozen=True, kw_only=True)
class ExportOptions(TurnOptions):
    """Everything that `zoobot export` can be told."""

    title: ClassVar[str] = "Export"

    checkpoint: str = setting(
        MISSING, "a trained model: the checkpoint folder, or the run's folder", metavar="FOLDER"
    )
    save_loc: str = setting(MISSING, "the file to write: .onnx", metavar="FILE")
    backend: str = with_default(EngineOptions, "backend", None)
    overwrite: bool = setting(False, "replace the file if it exists")

    def __post_init__(self) -> None:
        object.__setattr__(self, "backend", choose_engine(self.backend))
        super().__post_init__()


COMMAND = Command(
    name="export",
    group="model",
    meaning="write a trained model to one ONNX file, which predicts without its engine",
    options=ExportOptions,
    epilog="""\
examples:
  zoobot export results/rings --save-loc rings.onnx
  zoobot predict rings.onnx --catalog new.csv --save-loc results/new.parquet

The file takes images, (batch, height, width, channels), float32 in [0, 1], and gives predictions. It is
written only if it predicts what the engine does. Besides an engine this needs: pip install 'zoobot[onnx]'.
""",
    usage="zoobot export CHECKPOINT --save-loc FILE [options]",
    place=("checkpoint", "CHECKPOINT"),
)
