"""The PyTorch engine: LightningModules over timm encoders."""

from zoobot.shared.import_order import refuse_late_triton

refuse_late_triton()

from zoobot.pytorch import checkpoint, data, encoders, finetune, heads, losses, posteriors, predict  # noqa: E402

__all__ = ["checkpoint", "data", "encoders", "finetune", "heads", "losses", "posteriors", "predict"]
