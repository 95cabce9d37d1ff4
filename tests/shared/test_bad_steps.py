import numpy as np
import pytest

from zoobot.shared.errors import NonFiniteError
from zoobot.shared.training.steps import TrainedBatch, refuse_bad_batches, refuse_bad_weights

IDS = [f"g{number}" for number in range(12)]


def batch(number, *bad):
    losses = np.ones(12)
    losses[list(bad)] = np.nan
    return TrainedBatch(2, number, losses, IDS)


def test_the_first_bad_step_is_named_with_ten_galaxies_the_bad_ones_first():
    with pytest.raises(NonFiniteError) as told:
        refuse_bad_batches([batch(6), batch(7, 4, 9), batch(8, *range(12))])
    assert "2 of the 12 galaxies of step 8 of epoch 3" in str(told.value)
    named = ["g4", "g9", *(f"g{n}" for n in (0, 1, 2, 3, 5, 6, 7, 8))]
    assert str(named) in str(told.value)
    assert "lower learning_rate" in str(told.value)
    refuse_bad_batches([batch(0), batch(1)])


def test_weights_that_are_not_finite_though_losses_were():
    refuse_bad_weights(batch(3), are_finite=True)
    with pytest.raises(NonFiniteError, match=r"weights are not finite .* epoch 3, after step 4.*g0.*g9'\]"):
        refuse_bad_weights(batch(3), are_finite=False)
    with pytest.raises(NonFiniteError, match="weights are not finite at a checkpoint\\. "):
        refuse_bad_weights(None, are_finite=False)
