"""How long the vote loss takes, forward and backward, on the CPU; beside the peer's when that is given.

    python benchmarks/bench_loss.py --peer-python PEER/bin/python --step-encoder convnext_nano --json FILE

The decision tree is that of GZ Evo (76 questions, 239 answers over all campaigns). Each galaxy has votes in
the questions of one campaign, whole numbers, of 5 to 40 volunteers a question. Both libraries get the same
float32 concentrations and votes and take turns, and both are held against the float64 reference. With
`--step-encoder`, a forward and backward pass of that encoder over as many images as the smallest batch has is
timed too: what the loss is a part of. The limit is SciPy's log-gamma and digamma, of what has votes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import timing

from zoobot.shared import likelihood, schemas
from zoobot.shared.engine import ENGINES
from zoobot.shared.votes import sum_by_question

Schema = schemas.Schema
SEED = 42


def main() -> None:
    options = parse_options()
    schema = schemas.get("gz_evo_v1")
    batches = {size: draw_batch(schema, size) for size in options.batch_sizes}
    repeats, times = (5, 4) if options.quick else (10, 20)
    with ExitStack() as stack:
        peer = start_peer(stack, options, schema, batches) if options.peer_python else None
        results = [compare(options, schema, size, *batches[size], peer, repeats, times) for size in batches]
        settings = {"backend": options.backend, "threads": options.threads, "seed": SEED}
        settings["peer"] = peer.ask("machine") if peer else None
    if options.step_encoder:
        smallest = min(results, key=lambda result: result["batch_size"])
        smallest["encoder_step"] = time_encoder_step(options, smallest["batch_size"])
    report(results, settings)
    if options.json:
        timing.write_record(
            options.json, "loss", settings, results, "zoobot", "numpy", ENGINES[options.backend]
        )


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", choices=sorted(STEPS), default="pytorch", help="engine to measure")
    parser.add_argument("--peer-python", metavar="FILE", help="interpreter with the public zoobot package")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 512], metavar="N")
    parser.add_argument("--threads", type=int, default=1, help="threads of each library (default: 1)")
    parser.add_argument("--step-encoder", metavar="NAME", help="time a step of this encoder too")
    parser.add_argument("--step-image-size", type=int, default=224, metavar="PIX")
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls")
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def draw_batch(schema: Schema, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Concentrations and votes, (size, answers) each, float32."""
    rng = np.random.default_rng(SEED)
    campaigns = np.array([question.text.rpartition("-")[2] for question in schema.questions])
    votes = np.zeros((size, len(schema.label_cols)), dtype=np.float32)
    for row in votes:
        for question in np.flatnonzero(campaigns == rng.choice(np.unique(campaigns))):
            part = schema.question_slices[question]
            fractions = rng.dirichlet(np.ones(part.stop - part.start))
            row[part] = rng.multinomial(rng.integers(5, 41), fractions)
    return rng.uniform(1, 101, votes.shape).astype(np.float32), votes


def compare(
    options: argparse.Namespace,
    schema: Schema,
    size: int,
    concentrations: np.ndarray,
    votes: np.ndarray,
    peer: timing.Worker | None,
    repeats: int,
    times: int,
) -> dict[str, Any]:
    """The figures of one batch size: times, ratios, and how far each library is from the reference."""
    step, value = STEPS[options.backend](concentrations, votes, schema.question_slices, options.threads)
    reference = likelihood.dirichlet_multinomial_nll(concentrations, votes, schema.question_slices)
    errors = {"ours": float(np.abs(value() - reference).max())}
    limit = special_functions(concentrations, votes, schema.question_slices)
    rounds: dict[str, timing.Round] = {
        "ours": lambda n: timing.take_samples(step, n),
        "limit": lambda n: timing.take_samples(limit, n),
    }
    if peer:
        errors["peer"] = float(np.abs(np.array(peer.ask("value", size=size)) - reference).max())
        rounds["peer"] = peer.round("time", size=size)
    taken = timing.interleave(rounds, repeats=repeats, times=times)
    result: dict[str, Any] = {"batch_size": size, "times": taken, "largest_error_nats": errors}
    if peer:
        if errors["peer"] > 1e-3 or errors["ours"] > 1e-5:
            msg = f"the two losses are not the same: largest differences from the reference are {errors}"
            raise RuntimeError(msg)
        result["times_faster"] = {
            clock: taken["peer"][clock]["median"] / taken["ours"][clock]["median"] for clock in taken["ours"]
        }
    return result


def special_functions(
    concentrations: np.ndarray, votes: np.ndarray, question_slices: list[slice]
) -> Callable[[], None]:
    """What can't be spared: log-gamma and digamma of what has votes, with and without these votes."""
    from scipy.special import digamma, gammaln

    sums, totals = (sum_by_question(each, question_slices) for each in (concentrations, votes))
    without = np.concatenate((concentrations[votes > 0], sums[totals > 0])).astype(np.float64)
    x = np.concatenate((without, without + np.concatenate((votes[votes > 0], totals[totals > 0]))))

    def evaluate() -> None:
        gammaln(x)
        digamma(x)

    return evaluate


def pytorch_step(
    concentrations: np.ndarray, votes: np.ndarray, question_slices: list[slice], threads: int
) -> tuple[Callable[[], None], Callable[[], np.ndarray]]:
    """Forward and backward once; and the loss, (batch, questions)."""
    import torch

    from zoobot.pytorch.losses import dirichlet_multinomial_nll

    torch.set_num_threads(threads)
    leaf, votes_tensor = torch.from_numpy(concentrations).requires_grad_(), torch.from_numpy(votes)

    def step() -> None:
        leaf.grad = None
        dirichlet_multinomial_nll(leaf, votes_tensor, question_slices).sum().backward()

    def value() -> np.ndarray:
        return dirichlet_multinomial_nll(leaf, votes_tensor, question_slices).detach().numpy()

    return step, value


def tensorflow_step(
    concentrations: np.ndarray, votes: np.ndarray, question_slices: list[slice], threads: int
) -> tuple[Callable[[], None], Callable[[], np.ndarray]]:
    """The same in a graph."""
    import tensorflow as tf

    from zoobot.tensorflow.losses import dirichlet_multinomial_nll

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    leaf, votes_tensor = tf.Variable(concentrations), tf.constant(votes)

    @tf.function
    def gradient() -> Any:
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(dirichlet_multinomial_nll(leaf, votes_tensor, question_slices))
        return tape.gradient(total, leaf)

    def step() -> None:
        gradient().numpy()

    def value() -> np.ndarray:
        return dirichlet_multinomial_nll(leaf, votes_tensor, question_slices).numpy()

    return step, value


STEPS = {"pytorch": pytorch_step, "tensorflow": tensorflow_step}


def time_encoder_step(options: argparse.Namespace, batch_size: int) -> dict[str, Any]:
    """Times of an encoder's forward and backward pass in training, all blocks, on one batch of noise."""
    import torch

    from zoobot.pytorch import encoders

    torch.set_num_threads(options.threads)
    encoder = encoders.load_encoder(options.step_encoder).train()
    size = options.step_image_size
    images = torch.rand(batch_size, 3, size, size, generator=torch.Generator().manual_seed(SEED))
    repeats = 1 if options.quick else 3
    taken = timing.measure(lambda: encoder(images).sum().backward(), repeats=repeats, warmup=1)
    return {"encoder": options.step_encoder, "image_size": size, **taken}


def start_peer(
    stack: ExitStack,
    options: argparse.Namespace,
    schema: Schema,
    batches: dict[int, tuple[np.ndarray, np.ndarray]],
) -> timing.Worker:
    """The peer, told the tree and the batches."""
    archive = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "batches.npz"
    pairs = {q.text: [f"_{answer.text}" for answer in q.answers] for q in schema.questions}
    arrays = {f"concentrations_{size}": batch[0] for size, batch in batches.items()}
    arrays |= {f"votes_{size}": batch[1] for size, batch in batches.items()}
    np.savez(archive, question_answer_pairs=np.array(json.dumps(pairs)), **arrays)
    script = Path(__file__).with_name("peer_loss.py")
    arguments = [str(archive), str(options.threads)]
    return stack.enter_context(timing.Worker(options.peer_python, script, arguments))


def report(results: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    print(f"vote loss, forward + backward, GZ Evo, {settings['threads']} thread(s), {settings['backend']}")
    for result in results:
        print(f"batch {result['batch_size']}:")
        for name, clocks in result["times"].items():
            spreads = [
                f"{clock[:-3]} {t['median']:.2f} ms ({t['p10']:.2f} to {t['p90']:.2f})"
                for clock, t in clocks.items()
            ]
            error = result["largest_error_nats"].get(name)
            said = "" if error is None else f"; largest error {error:.0e} nats"
            print(f"  {name}: {', '.join(spreads)}{said}")
        for clock, ratio in result.get("times_faster", {}).items():
            print(f"  ours takes {ratio:.1f}x less {clock[:-3]} time")
        if step := result.get("encoder_step"):
            part = result["times"]["ours"]["cpu_ms"]["median"] / step["cpu_ms"]["median"]
            print(f"  {step['encoder']} takes {step['cpu_ms']['median']:.0f} ms; ours is {part:.2%} of that")


if __name__ == "__main__":
    main()
