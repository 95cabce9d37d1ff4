"""What a checkpoint holds, as a text to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoobot.shared import tasks
from zoobot.shared.checkpoint import read_config
from zoobot.shared.models.encoder_source import Origin, source_from_folder
from zoobot.shared.models.model_places import find_checkpoint
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.shared.preprocessing import Preprocessing, describe_pixels
from zoobot.workflow.reporting import Reported

if TYPE_CHECKING:
    from zoobot.options.info import InfoOptions

_MOST_COLUMNS = 12


@dataclass(frozen=True, kw_only=True, repr=False)
class InfoResult(Reported):
    """What a checkpoint holds.

    Args:
        text: Encoder, what it started from, task, pixels, training, versions.
    """

    text: str

    def __repr__(self) -> str:
        return self.text

    def report(self) -> str:
        """The text."""
        return self.text


def info(options: InfoOptions) -> InfoResult:
    """Say what a checkpoint, a run's folder or an exported file holds.

    Args:
        options: Which one.

    Raises:
        CheckpointError: If it is no checkpoint.
    """
    return InfoResult(text=describe_checkpoint(options.checkpoint))


def describe_checkpoint(folder: str | Path) -> str:
    """The lines that `zoobot info` prints: encoder, what it started from, task, pixels, training, versions.

    Weights are read only of encoders by others, whose config.json may be wrong about their channels.

    Args:
        folder: A checkpoint's folder, that of the run that left it, or an exported .onnx file.

    Raises:
        CheckpointError: If it is no checkpoint.
    """
    if is_onnx_file(folder):
        return _exported(Path(folder))
    folder = find_checkpoint(folder)
    config = read_config(folder)
    ours = config.get("zoobot") or {}
    parts = [("checkpoint", {"folder": str(folder)}), ("encoder", _encoder(config))]
    parts.append(("started from", _parent(ours)))
    if ours.get("task"):
        parts.append(("task", _task(tasks.from_config(ours["task"]))))
    else:
        parts.append(("task", {"kind": "none: an encoder alone, to start finetuning from"}))
    parts += [(name, ours.get(name) or {}) for name in ("preprocessing", "training", "versions")]
    return "\n\n".join([_join(parts[:4]), _pixels(folder, config), _join(parts[4:])]).strip()


def _pixels(folder: Path, config: dict[str, Any]) -> str:
    """What the model looks at, and why."""
    ours = config.get("zoobot") or {}
    origin = Origin.from_config(ours.get("origin"))
    if ours.get("preprocessing"):
        pixels = Preprocessing.from_config(ours["preprocessing"])
        return describe_pixels(pixels, (origin and origin.pixels) or "the model was trained so")
    source = source_from_folder(folder)
    first = (config["pretrained_cfg"] or {}).get("first_conv") or ()
    source = source.fitted_to(source.read_weights(), (first,) if isinstance(first, str) else first)
    return describe_pixels(source.preprocessing, source.why_pixels)


def _parent(ours: dict[str, Any]) -> dict[str, Any]:
    """The encoder that training started from."""
    origin = Origin.from_config(ours.get("origin"))
    return {} if origin is None else {"encoder": origin.encoder, "sha256": origin.sha256}


def _exported(path: Path) -> str:
    """The same of a file that `zoobot export` wrote."""
    model = OnnxModel(path)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    parts = [
        ("exported model", {"file": str(path), "size": size}),
        ("task", _task(model.task)),
        ("preprocessing", model.preprocessing.to_config()),
        ("versions", model.versions),
    ]
    return "\n\n".join([_join(parts), describe_pixels(model.preprocessing)])


def _join(parts: list[tuple[str, dict[str, Any]]]) -> str:
    return "\n\n".join("\n".join([title, *_lines(facts, "  ")]) for title, facts in parts if facts)


def _encoder(config: dict[str, Any]) -> dict[str, Any]:
    facts = {"architecture": config["architecture"], "features": config.get("num_features")}
    return facts | (config.get("model_args") or {})


def _task(task: tasks.Task) -> dict[str, Any]:
    columns = task.output_columns
    more = f" … {len(columns)} in all" if len(columns) > _MOST_COLUMNS else ""
    facts: dict[str, Any] = {"kind": task.kind}
    if task.tree is not None:
        facts["schema"] = task.tree.name
    return facts | {"predicts": ", ".join(columns[:_MOST_COLUMNS]) + more}


def _lines(facts: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [f"{indent}{name}", *_lines(value, f"{indent}  ")]
        elif value is not None:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
            lines.append(f"{indent}{name:<18}  {shown}")
    return lines
