"""What a checkpoint holds, as a text to read; no weights are loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoobot.shared import tasks
from zoobot.shared.checkpoint import read_config
from zoobot.shared.onnx.model import OnnxModel, is_onnx_file
from zoobot.workflow.prediction import find_checkpoint

__all__ = ["describe_checkpoint"]

_MOST_COLUMNS = 12


def describe_checkpoint(folder: str | Path) -> str:
    """The lines that `zoobot info` prints: encoder, task, predicted columns, pixels, training, versions.

    Args:
        folder: A checkpoint's folder, that of the run that left it, or an exported .onnx file.

    Raises:
        CheckpointError: If it is no checkpoint.
    """
    if is_onnx_file(folder):
        return _join(_exported(Path(folder)))
    folder = find_checkpoint(folder)
    config = read_config(folder)
    ours = config.get("zoobot") or {}
    parts = [("checkpoint", {"folder": str(folder)}), ("encoder", _encoder(config))]
    if ours.get("task"):
        parts.append(("task", _task(tasks.from_config(ours["task"]))))
    else:
        parts.append(("task", {"kind": "none: an encoder alone, to start finetuning from"}))
    parts += [(name, ours.get(name) or {}) for name in ("preprocessing", "training", "versions")]
    return _join(parts)


def _exported(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The same of a file that `zoobot export` wrote."""
    model = OnnxModel(path)
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return [
        ("exported model", {"file": str(path), "size": size}),
        ("task", _task(model.task)),
        ("preprocessing", model.preprocessing.to_config()),
        ("versions", model.versions),
    ]


def _join(parts: list[tuple[str, dict[str, Any]]]) -> str:
    return "\n\n".join("\n".join([title, *_lines(facts, "  ")]) for title, facts in parts if facts)


def _encoder(config: dict[str, Any]) -> dict[str, Any]:
    facts = {"architecture": config["architecture"], "features": config.get("num_features")}
    return facts | (config.get("model_args") or {})


def _task(task: tasks.Task) -> dict[str, Any]:
    columns = task.output_columns
    more = f" … {len(columns)} in all" if len(columns) > _MOST_COLUMNS else ""
    facts: dict[str, Any] = {"kind": task.kind}
    if isinstance(task, tasks.TreeTask):
        facts["schema"] = task.schema.name
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
