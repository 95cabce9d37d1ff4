"""Maps of a view on the pixels of the image."""

import numpy as np
import pytest

from zoobot.shared.augment import make_view
from zoobot.shared.explaining.explanations import SeenSquare, draw_over, seen_square, share_out
from zoobot.shared.preprocessing import Preprocessing


def shared_by_hand(values, square, shape):
    """Every pixel of the view, in 50 × 50 grains, each given to the image's pixel that it lies in."""
    out = np.zeros((*shape, values.shape[2]))
    grains = (np.arange(50) + 0.5) / 50
    scale = square.side / len(values)
    for row in range(len(values)):
        for column in range(len(values)):
            ys = np.rint(square.top + scale * (row + grains)).astype(int)
            xs = np.rint(square.left + scale * (column + grains)).astype(int)
            for y in ys[(ys >= 0) & (ys < shape[0])]:
                inside = xs[(xs >= 0) & (xs < shape[1])]
                np.add.at(out[y], inside, values[row, column] / 2500)
    return out


@pytest.mark.parametrize("shape", [(9, 13), (40, 30), (16, 16)])
@pytest.mark.parametrize("crop", [0.6, 1.0, 1.3])
def test_values_are_shared_out_by_area(shape, crop):
    preprocessing = Preprocessing(image_size_pix=8, crop_fraction=crop)
    square = seen_square(preprocessing, shape)
    values = np.random.default_rng(0).normal(size=(8, 8, 2))
    found = share_out(values, square, shape)
    np.testing.assert_allclose(found, shared_by_hand(values, square, shape), atol=0.06)
    if crop <= 1:
        np.testing.assert_allclose(found.sum(axis=(0, 1)), values.sum(axis=(0, 1)))


@pytest.mark.parametrize(("shape", "crop"), [((60, 90), 0.7), ((48, 48), 1.0), ((30, 20), 0.9)])
def test_what_is_seen_at_a_place_is_brought_back_there(shape, crop):
    preprocessing = Preprocessing(image_size_pix=24, crop_fraction=crop)
    image = np.zeros((*shape, 3), np.float32)
    y, x = shape[0] // 2 - 4, shape[1] // 2 + 5
    image[y - 1 : y + 2, x - 1 : x + 2] = 1
    view = make_view(image, preprocessing)
    square = seen_square(preprocessing, shape)
    for found in (share_out(view, square, shape)[..., 0], draw_over(view[..., 0], square, shape)):
        weights = found / found.sum()
        centre = [(weights.sum(axis=1 - axis) * np.arange(shape[axis])).sum() for axis in (0, 1)]
        np.testing.assert_allclose(centre, [y, x], atol=0.3)


def test_cells_are_drawn_smoothly_and_nothing_outside():
    square = SeenSquare(9.5, 4.5, 20.0)
    cells = np.array([[0.0, 0.0], [0.0, 4.0]])
    found = draw_over(cells, square, (30, 40))
    assert found.min() == 0
    assert found.argmax() == np.ravel_multi_index(
        (found.max(axis=1).argmax(), found.max(axis=0).argmax()), (30, 40)
    )
    assert 4 <= found[20:, 25:].max() < 5.5  # cubics swing beyond
    assert not found[:, :10].any()
    assert not found[:5].any()
    np.testing.assert_allclose(draw_over(np.full((3, 3), 2.5), square, (30, 40))[5:25, 10:30], 2.5, rtol=1e-6)
