"""What is PyTorch's own in the vote loss: its hand-written derivative, and the form used on accelerators."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from zoobot.pytorch import losses  # noqa: E402  needs torch
from zoobot.shared import likelihood  # noqa: E402

SLICES = [slice(0, 3), slice(3, 5), slice(5, 6)]
VOTES = torch.tensor([[3.0, 0.0, 1.5, 0.0, 0.0, 4.0], [0.0, 7.0, 0.0, 2.0, 40.0, float("nan")]])


def draw(dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(0).uniform(1, 101, (2, 6))).to(dtype)


def test_hand_written_derivative_passes_gradcheck():
    def loss(x):
        return losses.dirichlet_multinomial_nll(x, VOTES, SLICES)

    assert torch.autograd.gradcheck(loss, draw().requires_grad_())


def test_form_for_accelerators_agrees_value_and_gradient():
    membership = torch.zeros(6, 3, dtype=torch.float64)
    for question, part in enumerate(SLICES):
        membership[part, question] = 1
    voted, dense = draw().requires_grad_(), draw().requires_grad_()
    from_voted = losses.dirichlet_multinomial_nll(voted, VOTES, SLICES)
    from_all = losses._dense_loss(dense, VOTES, membership)
    torch.testing.assert_close(from_all, from_voted, rtol=0, atol=1e-11)
    (from_voted.sum() + from_all.sum()).backward()
    torch.testing.assert_close(dense.grad, voted.grad, rtol=0, atol=1e-12)
    assert from_all[0, 1].item() == from_all[0, 2].item() == from_all[1, 2].item() == 0
    assert dense.grad[0, 3:].abs().max() == 0


@pytest.mark.parametrize("most", [20, 100_000])
def test_whole_votes_few_or_many_meet_the_reference(most):
    """Few enough have their factorials looked up."""
    votes = np.random.default_rng(1).integers(0, most, (50, 6)).astype(float)
    concentrations = np.random.default_rng(2).uniform(1, 101, votes.shape)
    given = torch.from_numpy(concentrations), torch.from_numpy(votes)
    loss = losses.dirichlet_multinomial_nll(*given, SLICES)
    reference = likelihood.dirichlet_multinomial_nll(concentrations, votes, SLICES)
    np.testing.assert_allclose(loss.numpy(), reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_a_float32_loss(dtype):
    concentrations = draw(dtype).requires_grad_()
    loss = losses.dirichlet_multinomial_nll(concentrations, VOTES.to(dtype), SLICES)
    loss.sum().backward()
    want = losses.dirichlet_multinomial_nll(concentrations.double(), VOTES, SLICES)
    assert loss.dtype == torch.float32
    assert concentrations.grad.dtype == dtype
    torch.testing.assert_close(loss, want.float(), rtol=1e-6, atol=1e-6)


def test_integer_votes_and_tables_that_are_not_contiguous():
    votes = torch.tensor([[3, 0, 1, 0, 0, 4], [0, 7, 0, 2, 40, 0]])
    loss = losses.dirichlet_multinomial_nll
    want = loss(draw(), votes.double(), SLICES)
    torch.testing.assert_close(loss(draw(), votes, SLICES), want, rtol=0, atol=0)
    turned = draw().T.contiguous().T, votes.T.contiguous().T
    torch.testing.assert_close(loss(*turned, SLICES), want, rtol=0, atol=0)


def test_inference_mode_and_votes_that_carry_a_gradient():
    with torch.inference_mode():
        losses.dirichlet_multinomial_nll(draw(), VOTES, SLICES)
    votes = torch.ones(2, 6, dtype=torch.float64, requires_grad=True)
    losses.dirichlet_multinomial_nll(draw().requires_grad_(), votes, SLICES).sum().backward()
    assert votes.grad is None
