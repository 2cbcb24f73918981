"""Whether a law of fields says the same in its density, distribution function, moments, draws."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_msde.isolation import Isolation
from pyro_msde.likelihoods import CorrelatedNormal
from pyro_msde.testing.batches import require

__all__ = ["check_likelihood"]

_POINTS, _WIDEST = 4001, 1e3  # of the integrals, and the standard deviations that they reach
_DECADES, _BY_DECADE = 12, 50  # beyond these, for the variance; and points in each
_CLOSE = 2e-3  # of those integrals, in float32
_DRAWS = 4000
_STANDARD_ERRORS = 6.0  # exceeded once in 500 million times by each of some hundred numbers
_KOLMOGOROV = 2.3  # exceeded by √n D of n draws once in 20 000 times


@torch.no_grad()
def check_likelihood(law: Distribution) -> None:
    """Try a law of single elements, such as `observe` of a bound model returns.

    The density integrates to one, and to the distribution function, mean and variance; the
    distribution function at draws is uniform, at those of `sample` and, if it has one, `rsample`;
    `icdf`, if it has one, is its inverse; `expand` keeps the law. Of a `CorrelatedNormal` the
    density of whole fields has these marginals and these draws. A right law fails once in 20 000
    times for each of the two kinds of draws.

    Args:
        law: Of few elements, a thousand at most, with a finite variance. Tails may be heavy.

    Raises:
        AssertionError: One of these does not hold.
    """
    name = type(law).__name__
    require(
        not law.event_shape,
        f"{name}: its elements are not independent, event_shape is {tuple(law.event_shape)}. "
        "Forecasts mix laws of single elements: leave to_event out.",
    )
    mean, sd = law.mean, law.variance.sqrt()
    require(
        mean.isfinite().all() and (sd > 0).all() and sd.isfinite().all(),
        f"{name}: mean or variance is not finite. Forecasts report both.",
    )
    _check_integrals(law, name, mean, sd)
    for draw in ("sample", "rsample")[: 1 + law.has_rsample]:
        _check_draws(law, name, draw)
    try:
        middle = law.icdf(torch.full_like(mean, 0.3))
    except NotImplementedError:
        pass  # forecasts search for quantiles then
    else:
        off = (law.cdf(middle) - 0.3).abs().max()
        require(off < _CLOSE, f"{name}: icdf is not the inverse of cdf, which errs by {off:.1e}.")
    if isinstance(law, CorrelatedNormal):
        _check_snapshots(law, name)
    wide = law.expand(torch.Size((2, *law.batch_shape)))
    require(
        type(wide) is type(law) and torch.equal(wide.log_prob(mean)[1], law.log_prob(mean)),
        f"{name}: expand gives another law. Give the class an `expand` of its own.",
    )


def _check_snapshots(law: CorrelatedNormal, name: str) -> None:
    """The density of whole fields: its elements' laws are its marginals, and draws follow it.

    One element that is observed alone has its own density; and of draws y, E[−∇log p (y − μ)ᵀ] is
    the unit matrix, as partial integration says.
    """
    field = law.mean.shape[law.mean.ndim - law.field_ndim :]
    count = field.numel()
    y = law.mean + law.variance.sqrt() * 0.7
    one = torch.eye(count, dtype=torch.bool, device=y.device).reshape(count, *field)
    alone = torch.stack([law.snapshot_log_prob(y, seen.expand(y.shape)) for seen in one], -1)
    off = (alone - law.log_prob(y).flatten(-law.field_ndim)).abs().max()
    require(
        off < _CLOSE, f"{name}: an element alone has another density than its law, by {off:.1e}."
    )
    with Isolation(0, law.mean.device).turn():
        draws = law.sample(torch.Size((_DRAWS,)))
    with torch.enable_grad():
        at = draws.clone().requires_grad_()
        (slope,) = torch.autograd.grad(law.snapshot_log_prob(at).sum(), at)
    slope, away = (x.reshape(-1, count).double() for x in (slope, draws - law.mean))
    products = -slope[:, :, None] * away[:, None]
    error = products.mean(0) - torch.eye(count, device=y.device)
    ratio = error.abs() / (products.std(0) / len(products) ** 0.5)
    require(
        ratio.max() < _STANDARD_ERRORS,
        f"{name}: draws do not follow the density of whole fields ({ratio.max():.1f} standard "
        "errors).",
    )


def _check_integrals(law: Distribution, name: str, mean: Tensor, sd: Tensor) -> None:
    end = math.asinh(_WIDEST)
    s = torch.linspace(-end, end, _POINTS, dtype=torch.float64).reshape(-1, *(1,) * mean.ndim)
    u, slope = s.sinh().to(mean), s.cosh().to(mean)  # closer where the density is
    step = 2 * end / (_POINTS - 1)
    mass = (law.log_prob(mean + sd * u).exp() * sd * slope * step).double()
    expected = mass.cumsum(0) - 0.5 * mass
    variance = (mass * u.square()).sum(0) + _variance_of_tails(law, mean, sd)
    for what, value, truth, mend in (
        ("log_prob", mass.sum(0), 1.0, "it lacks its normalising constant"),
        ("cdf", law.cdf(mean + sd * u).double(), expected, "cdf is of another law"),
        ("mean", (mass * u).sum(0), 0.0, "mean is of another law"),
        ("variance", variance, 1.0, "variance is of another law"),
    ):
        off = float((value - truth).abs().max())
        allowed = 10 * _CLOSE if what == "variance" else _CLOSE
        require(
            off < allowed,
            f"{name}: {what} disagrees with the integral of exp(log_prob) by {off:.1e} of its "
            f"unit; either log_prob is wrong, or {mend}.",
        )


def _variance_of_tails(law: Distribution, mean: Tensor, sd: Tensor) -> Tensor:
    """What lies beyond the integrals' ends adds to the variance, in units of it.

    Three hundredths of it for Student's t with 2.5 degrees of freedom, a fifth with 2.2. The sum
    over decades goes on as a geometric series, as it does where the density falls like a power.
    """
    points = _DECADES * _BY_DECADE + 1
    v = torch.linspace(0, _DECADES, points, dtype=torch.float64, device=mean.device)
    u = (_WIDEST * 10**v).reshape(-1, *(1,) * mean.ndim)
    density = sum(law.log_prob(mean + sign * sd * u.to(mean)).double().exp() for sign in (-1, 1))
    slope = density * sd.double() * u**3  # of the integral over log u
    steps = 0.5 * (slope[1:] + slope[:-1]) * (math.log(10) / _BY_DECADE)
    decades = steps.unflatten(0, (_DECADES, _BY_DECADE)).sum(1)
    ratio = decades[-1] / decades[-2].clamp(min=torch.finfo(torch.float64).tiny)
    rest = torch.where(ratio < 1, decades[-1] * ratio / (1 - ratio), math.inf)
    return decades.sum(0) + rest


def _check_draws(law: Distribution, name: str, draw: str) -> None:
    count = max(1, _DRAWS // law.mean.numel())
    with torch.no_grad(), Isolation(0, law.mean.device).turn():
        draws = getattr(law, draw)(torch.Size((count,)))
    require(
        draws.shape == (count, *law.batch_shape) and draws.dtype == law.mean.dtype,
        f"{name}: {draw}((n,)) has shape {tuple(draws.shape)}, {draws.dtype}. Draw (n, *batch) in "
        "the mean's dtype.",
    )
    probability = law.cdf(draws).double().flatten().sort().values
    place = (torch.arange(len(probability)).to(probability) + 0.5) / len(probability)
    distance = float((probability - place).abs().max()) * len(probability) ** 0.5
    require(
        distance < _KOLMOGOROV,
        f"{name}: draws of {draw} do not follow cdf (√n D = {distance:.1f}).",
    )
