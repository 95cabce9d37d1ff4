"""Intervals of beta distributions, and of equal mixtures of them, for arrays of any size at once.

One answer's vote fraction follows a beta distribution, or a mixture of them where a model was sampled (MC
dropout) or several models were asked. Mixtures have the samples on the first axis.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

_STEPS = 60  # a bisection of [0, 1] needs no more; Newton's steps are far fewer
_TOLERANCE = 1e-10
_NODES = 257
_TAILS = 41
_CELLS_AT_ONCE = 4096  # bounds memory: this many distributions, tabulated at every node
_MOST_LOGIT = 700.0  # beyond it a fraction, or what is missing to 1, underflows


def mixture_cdf(a: FloatArray, b: FloatArray, x: FloatArray) -> FloatArray:
    """The probability of at most `x` under equal mixtures of beta distributions, (…).

    Args:
        a: First parameters, above 0, (samples, …).
        b: Second parameters, above 0, (samples, …).
        x: In [0, 1], (…).
    """
    from scipy.special import betainc

    total = np.zeros(np.shape(x))
    for first, second in zip(a, b, strict=True):
        total += betainc(first, second, x)
    return total / len(a)


def beta_quantiles(a: FloatArray, b: FloatArray, probability: FloatArray | float) -> FloatArray:
    """The value below which this probability lies: exact for one sample, to 1e-10 for mixtures, (…).

    Args:
        a: First parameters, above 0, (samples, …).
        b: Second parameters, above 0, (samples, …).
        probability: In [0, 1], (…) or one for all.

    Example:
        >>> one = np.ones((1, 1))
        >>> beta_quantiles(one, one, 0.25).tolist()
        [0.25]
    """
    from scipy.special import betaincinv

    if len(a) == 1:
        return betaincinv(a[0], b[0], probability)
    shape = a.shape[1:]
    wanted = np.broadcast_to(np.asarray(probability, dtype=np.float64), shape).ravel()
    return _solve_mixture(a.reshape(len(a), -1), b.reshape(len(b), -1), wanted).reshape(shape)


def _solve_mixture(a: FloatArray, b: FloatArray, wanted: FloatArray) -> FloatArray:
    """Newton's steps from the beta distribution of the same mean and variance; bisection where they leave.

    a and b are (samples, cells). What has converged is left out of the steps that follow.
    """
    x = _similar_quantiles(a, b, wanted)
    low, high = np.zeros_like(x), np.ones_like(x)
    open_cells = np.flatnonzero((wanted > 0) & (wanted < 1))
    x = np.where(wanted <= 0, 0.0, np.where(wanted >= 1, 1.0, x))
    for _ in range(_STEPS):
        if not len(open_cells):
            break
        first, second, here = a[:, open_cells], b[:, open_cells], x[open_cells]
        error = mixture_cdf(first, second, here) - wanted[open_cells]
        above = error > 0
        high[open_cells[above]] = here[above]
        low[open_cells[~above]] = here[~above]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = here - error / np.exp(_log_density(first, second, np.log(here), np.log1p(-here))).mean(
                axis=0
            )
        floor, ceiling = low[open_cells], high[open_cells]
        inside = (step > floor) & (step < ceiling)
        x[open_cells] = np.where(inside, step, (floor + ceiling) / 2)
        done = (np.abs(error) < _TOLERANCE) | (ceiling - floor < _TOLERANCE)
        x[open_cells[done]] = here[done]
        open_cells = open_cells[~done]
    return x


def _similar_quantiles(a: FloatArray, b: FloatArray, wanted: FloatArray) -> FloatArray:
    """Quantiles of the beta distributions with the mean and variance of the mixtures: where to begin."""
    from scipy.special import betaincinv

    means = a / (a + b)
    mean = means.mean(axis=0)
    variance = (means * (1 - means) / (a + b + 1)).mean(axis=0) + means.var(axis=0)
    total = mean * (1 - mean) / variance - 1
    return np.clip(betaincinv(mean * total, (1 - mean) * total, wanted), 1e-12, 1 - 1e-12)


def _log_density(a: FloatArray, b: FloatArray, log_x: FloatArray, log_rest: FloatArray) -> FloatArray:
    from scipy.special import betaln

    return (a - 1) * log_x + (b - 1) * log_rest - betaln(a, b)


def beta_highest_density(a: FloatArray, b: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Ends of the shortest intervals of this probability, of single beta distributions, (…) each.

    A distribution without a peak inside has its interval at the edge where it is densest; a flat one, and
    one as dense at both edges, has the equal-tailed interval or that at the lower edge.

    Inside, both ends are as dense. The log density is a concave function of the logit of the fraction, so
    the two ends for a given density are found by Newton's method from outside, which can't go astray; and the
    probability between them grows with how far that density lies below the peak's.

    Args:
        a: First parameters, above 0, (…).
        b: Second parameters, above 0, (…).
        level: Probability inside, in (0, 1).
    """
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    lower, upper = betaincinv(a, b, tail), betaincinv(a, b, 1 - tail)
    peaked = (a > 1) & (b > 1)
    lower[peaked], upper[peaked] = _around_the_peak(a[peaked], b[peaked], level)
    edge = ~peaked & ~((a == 1) & (b == 1))
    first, second = a[edge], b[edge]
    from_zero, to_one = betaincinv(first, second, level), betaincinv(first, second, 1 - level)
    at_zero = from_zero <= 1 - to_one
    lower[edge] = np.where(at_zero, 0.0, to_one)
    upper[edge] = np.where(at_zero, from_zero, 1.0)
    return lower, upper


def _around_the_peak(a: FloatArray, b: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Solve for how far the ends' log density lies below the peak's, by Newton's steps within a bracket."""
    from scipy.special import betainc, chdtri

    drop = np.full(a.shape, chdtri(1, 1 - level) / 2)  # what it would be for a normal distribution
    floor, ceiling = np.zeros_like(drop), np.full_like(drop, np.inf)
    lower, upper = np.zeros_like(drop), np.ones_like(drop)
    todo = np.arange(len(drop))
    for _ in range(_STEPS):
        if not len(todo):
            break
        first, second, now = a[todo], b[todo], drop[todo]
        left, right, slope = _ends(first, second, now)
        lower[todo], upper[todo] = left, right
        error = betainc(first, second, right) - betainc(first, second, left) - level
        floor[todo] = np.where(error < 0, now, floor[todo])
        ceiling[todo] = np.where(error < 0, ceiling[todo], now)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = now - error / slope
        inside = (step > floor[todo]) & (step < ceiling[todo])
        drop[todo] = np.where(inside, step, np.minimum((floor[todo] + ceiling[todo]) / 2, 2 * now))
        todo = todo[np.abs(error) > _TOLERANCE]
    return lower, upper


def _ends(a: FloatArray, b: FloatArray, drop: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Where the log density is `drop` below its peak, and how fast the probability between grows with it."""
    from scipy.special import betaln

    left, right = a - 1, b - 1
    peak = np.log(left) - np.log(right)
    height = _density_of_logit(left, right, peak)[0] - drop
    reach = np.sqrt(2 * drop * (left + right) / (left * right))
    density = np.exp(height - betaln(a, b))
    ends, slope = [], np.zeros_like(drop)
    for start in (peak - reach, peak + reach):
        logit = _solve_logit(left, right, height, np.clip(start, -_MOST_LOGIT, _MOST_LOGIT))
        _, gradient, share = _density_of_logit(left, right, logit)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope += np.nan_to_num(density * share * (1 - share) / np.abs(gradient))
        ends.append(share)
    return ends[0], ends[1], slope


def _solve_logit(left: FloatArray, right: FloatArray, height: FloatArray, logit: FloatArray) -> FloatArray:
    """The logit of the same side of the peak at which the log density has this height."""
    todo = np.arange(len(logit))
    for _ in range(_STEPS):
        here = logit[todo]
        log_density, gradient, _ = _density_of_logit(left[todo], right[todo], here)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.nan_to_num((height[todo] - log_density) / gradient)
        logit[todo] = np.clip(here + step, -_MOST_LOGIT, _MOST_LOGIT)
        todo = todo[np.abs(logit[todo] - here) > _TOLERANCE * (1 + np.abs(here))]
        if not len(todo):
            break
    return logit


def _density_of_logit(
    left: FloatArray, right: FloatArray, logit: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The log density but for a constant, its derivative by the logit, and the fraction at this logit."""
    small = np.exp(-np.abs(logit))
    share = np.where(logit < 0, small, 1.0) / (1 + small)
    rest = np.where(logit < 0, 1.0, small) / (1 + small)
    log_larger = -np.log1p(small)
    log_density = (left + right) * log_larger + np.where(logit < 0, left * logit, -right * logit)
    return log_density, left * rest - right * share, share


def mixture_highest_density(a: FloatArray, b: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    """Ends of the shortest intervals of this probability, of equal mixtures of beta distributions, (…) each.

    How much probability to leave below the interval is read from a table of each distribution; the ends are
    then solved for. So the probability inside is exact, and the length, which hardly changes near its
    minimum, is the shortest to about one part in a thousand. One interval is given, though a mixture with
    several peaks may be denser in several.

    Args:
        a: First parameters, above 0, (samples, …).
        b: Second parameters, above 0, (samples, …).
        level: Probability inside, in (0, 1).
    """
    shape = a.shape[1:]
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    cells = range(0, a.shape[1], _CELLS_AT_ONCE)
    parts = [_lower_tail(a[:, i : i + _CELLS_AT_ONCE], b[:, i : i + _CELLS_AT_ONCE], level) for i in cells]
    tail = np.concatenate([*parts, np.empty(0)])
    ends = beta_quantiles(a, b, tail), beta_quantiles(a, b, np.minimum(tail + level, 1.0))
    return ends[0].reshape(shape), ends[1].reshape(shape)


def _lower_tail(a: FloatArray, b: FloatArray, level: float) -> FloatArray:
    """The probability below the shortest interval, (cells,), from a table of the cumulative probability."""
    # nodes crowd at both edges, where the fractions of a sure answer lie
    angle = (np.arange(_NODES) + 0.5) * (np.pi / 2 / _NODES)
    log_x, log_rest = 2 * np.log(np.sin(angle)), 2 * np.log(np.cos(angle))
    mass = np.zeros((a.shape[1], _NODES))
    for first, second in zip(a, b, strict=True):
        mass += np.exp(
            _log_density(first[:, None], second[:, None], log_x, log_rest) + (log_x + log_rest) / 2
        )
    cumulative = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
    cumulative /= cumulative[:, -1:]
    tails = np.linspace(0, 1 - level, _TAILS)
    edges = np.sin(np.arange(_NODES + 1) * (np.pi / 2 / _NODES)) ** 2
    lengths = _invert_rows(cumulative, edges, tails + level) - _invert_rows(cumulative, edges, tails)
    return _refined_minimum(tails, lengths)


def _invert_rows(cumulative: FloatArray, edges: FloatArray, wanted: FloatArray) -> FloatArray:
    """Linear interpolation of each row's inverse: (rows, wanted)."""
    rows, nodes = cumulative.shape
    shifts = 2.0 * np.arange(rows)[:, None]  # puts the rows one after another in one rising sequence
    flat = (cumulative + shifts).ravel()
    place = np.searchsorted(flat, wanted + shifts) - nodes * np.arange(rows)[:, None]
    right = np.clip(place, 1, nodes - 1)
    below = np.take_along_axis(cumulative, right - 1, axis=1)
    rise = np.take_along_axis(cumulative, right, axis=1) - below
    share = np.clip((wanted - below) / np.maximum(rise, np.finfo(np.float64).tiny), 0, 1)
    return edges[right - 1] + share * (edges[right] - edges[right - 1])


def _refined_minimum(positions: FloatArray, values: FloatArray) -> FloatArray:
    """Where each row is least, moved to the bottom of the parabola through it and its neighbours."""
    best = values.argmin(axis=1)
    inside = np.clip(best, 1, len(positions) - 2)
    rows = np.arange(len(values))
    left, middle, right = (values[rows, inside + shift] for shift in (-1, 0, 1))
    curvature = left - 2 * middle + right
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(curvature > 0, np.clip((left - right) / (2 * curvature), -1, 1), 0.0)
    spacing = positions[1] - positions[0]
    return np.where(best == inside, positions[inside] + shift * spacing, positions[best])
