"""The PyTorch engine: LightningModules over timm encoders."""

from zoobot.pytorch import checkpoint, data, encoders, finetune, heads, losses, posteriors, predict

__all__ = ["checkpoint", "data", "encoders", "finetune", "heads", "losses", "posteriors", "predict"]
