"""The peer's side of bench_loss.py: run by the interpreter that has the public `zoobot` package.

    python peer_loss.py BATCHES.npz THREADS

Answers, through `timing.serve`, how long its vote loss takes forward and backward, and what it gives.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import timing
import torch
from zoobot.pytorch.training import losses


def main() -> None:
    archive = np.load(sys.argv[1])
    torch.set_num_threads(int(sys.argv[2]))
    question_answer_pairs = json.loads(str(archive["question_answer_pairs"]))
    loss = losses.CustomMultiQuestionLoss(question_answer_pairs, losses.get_dirichlet_neg_log_prob)

    def batch(size: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        votes = torch.from_numpy(archive[f"votes_{size}"])
        targets = {key: votes[:, i].contiguous() for i, key in enumerate(loss.answer_keys)}
        return torch.from_numpy(archive[f"concentrations_{size}"]), targets

    def time(size: int, repeats: int) -> timing.Samples:
        concentrations, targets = batch(size)
        leaf = concentrations.requires_grad_()

        def step() -> None:
            leaf.grad = None
            loss(leaf, targets).sum().backward()

        return timing.take_samples(step, repeats)

    def value(size: int) -> list[list[float]]:
        return loss(*batch(size)).tolist()

    timing.serve({"time": time, "value": value, "machine": lambda: timing.machine("zoobot", "torch")})


if __name__ == "__main__":
    main()
