"""The turned and mirrored copies of a square image that a model looks at: exact, without resampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from zoobot.shared.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How many views can be asked for.
VIEWS = (1, 2, 4, 8)

Images = TypeVar("Images")


class Turn(NamedTuple):
    """How rows and columns of an image are exchanged: first transposed, then reversed.

    Attributes:
        transposes: Whether rows become columns.
        reverses_rows: Whether the last row then comes first.
        reverses_columns: Whether the last column then comes first.
    """

    transposes: bool
    reverses_rows: bool
    reverses_columns: bool

    def reversed_axes(self, first: int) -> list[int]:
        """The axes to reverse, where rows are axis `first` and columns the next."""
        reverses = (self.reverses_rows, self.reverses_columns)
        return [first + place for place, yes in enumerate(reverses) if yes]


#: The image as it is, turned by 180, 90 and 270 degrees; then the same mirrored. The first two, four and all
#: eight are each closed: of a turned image they are the same views in another order.
_TURNS = (
    Turn(False, False, False),
    Turn(False, True, True),
    Turn(True, True, False),
    Turn(True, False, True),
    Turn(False, False, True),
    Turn(False, True, False),
    Turn(True, False, False),
    Turn(True, True, True),
)


def check_views(views: object) -> None:
    """Raise a ConfigError unless there can be so many views."""
    if isinstance(views, bool) or views not in VIEWS:
        raise ConfigError(
            "views must be 1 (the image as it is), 2 (and upside down), 4 (turned by right angles) or 8 (and "
            f"mirrored), got {views!r}"
        )


def several_views_need_head(views: int | None, n_blocks: int | str) -> str:
    """Why a network whose encoder learns does not look at several views meanwhile."""
    return (
        f"views={views} is for learning a head alone (n_blocks=0), got n_blocks={n_blocks!r}: an encoder "
        "that learns sees each image turned anyway. Learn with views=1; predict, evaluate and calibrate with "
        "more"
    )


def turns_of(views: int) -> tuple[Turn, ...]:
    """What is done to an image for each of its views; the first is the image as it is.

    Args:
        views: One of `VIEWS`.

    Raises:
        ConfigError: If there can't be so many.

    Example:
        >>> len(turns_of(4)), any(turns_of(1)[0])
        (4, False)
    """
    check_views(views)
    return _TURNS[:views]


def turned(images: NDArray, turn: Turn) -> NDArray:
    """Square images turned, (batch, height, width, channels).

    Each engine has the same for its own tensors.

    Example:
        >>> import numpy as np
        >>> turned(np.array([[1, 2], [3, 4]]).reshape(1, 2, 2, 1), turns_of(4)[2]).ravel().tolist()
        [2, 4, 1, 3]
    """
    images = images.swapaxes(1, 2) if turn.transposes else images
    return images[:, :: -1 if turn.reverses_rows else 1, :: -1 if turn.reverses_columns else 1]


def turned_back(images: NDArray, turn: Turn) -> NDArray:
    """Undo `turned`."""
    images = images[:, :: -1 if turn.reverses_rows else 1, :: -1 if turn.reverses_columns else 1]
    return images.swapaxes(1, 2) if turn.transposes else images


def mean_of_views(
    compute: Callable[[Images], Any],
    images: Images,
    views: int,
    turn_images: Callable[[Images, Turn], Images],
) -> Any:
    """The mean of what is computed from each view of images, one view after the other: memory stays the same.

    Args:
        compute: From images to numbers of at least single precision, which can be added and divided.
        images: The images, arrays or an engine's tensors.
        views: One of `VIEWS`.
        turn_images: `turned` for such images.
    """
    total = compute(images)
    for turn in turns_of(views)[1:]:
        total = total + compute(turn_images(images, turn))
    return total / views if views > 1 else total
