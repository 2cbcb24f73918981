"""The ELBO (27): expected log likelihood − drift residual − KL(q(θ) ‖ p(θ)).

The drift residual is the KL divergence of the guide's `GaussianMarginals` from the model's
`LatentSDE`. Beyond `TraceMeanField_ELBO` this class

* never scores the path site: it has no density in the guide, and a costly, unused one in the model;
* counts the log density of `Delta` sites, which carries the Jacobian of an autoguide's transform;
* weighs the residual by β, counts its quadrature nodes, and keeps the three terms apart;
* raises where model and guide disagree about their sites, while Pyro's validation is on;
* may hold the drift to the guide's linear one on a wider tube than the marginals fill.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pyro import poutine
from pyro.distributions import Delta
from pyro.distributions.util import scale_and_mask
from pyro.infer import TraceMeanField_ELBO
from pyro.infer.util import is_validation_enabled
from pyro.poutine.subsample_messenger import _Subsample
from pyro.util import check_model_guide_match
from torch import Tensor
from torch.distributions import kl_divergence

from pyro_msde.checks import check_flag, check_number, check_whole
from pyro_msde.renaming import renamed_arguments
from pyro_msde.sde import GaussianMarginals, LatentSDE, drift_residual

__all__ = ["MultiscaleELBO"]


class MultiscaleELBO(TraceMeanField_ELBO):
    """ELBO of a multiscale model; `elbo(model, guide)` is the `nn.Module` to optimise.

    Args:
        num_nodes: Quadrature nodes a segment for the drift residual.
        beta: Weight of the drift residual; 1 is the ELBO.
        beta_parameters: Weight of KL(q(θ) ‖ p(θ)); 1 is the ELBO. A likelihood tempered by 1/β is
            one where both weights are β.
        antithetic: A pair of opposite draws of z at each node, not one: less noise, for another
            evaluation of the drift.
        tube_width: At half of the nodes z is drawn so many times as far from the mean. The loss is
            a bound only at 1; `terms` hold the bound's in any case.
        num_particles: Draws averaged each step.

    Raises:
        ValueError: Numbers that are none, `tube_width` below 1; when evaluated, sites that only the
            model has, or only the guide.

    Attributes:
        terms: Of the last evaluation, detached: "log_likelihood", "drift_residual",
            "kl_parameters".
    """

    @renamed_arguments(spread="tube_width")
    def __init__(
        self,
        num_nodes: int = 64,
        beta: float = 1.0,
        *,
        beta_parameters: float = 1.0,
        antithetic: bool = False,
        tube_width: float = 1.0,
        num_particles: int = 1,
    ) -> None:
        num_particles = check_whole("num_particles", num_particles, 1)
        super().__init__(num_particles=num_particles)  # type: ignore[no-untyped-call]
        check_flag("antithetic", antithetic)
        self.num_nodes, self.antithetic = check_whole("num_nodes", num_nodes, 1), antithetic
        self.beta = check_number("beta", beta, zero=True)
        self.beta_parameters = check_number("beta_parameters", beta_parameters, zero=True)
        self.tube_width = check_number("tube_width", tube_width)
        if self.tube_width < 1:
            raise ValueError(f"tube_width={tube_width}: give 1, the ELBO, or more.")
        self.terms: dict[str, Any] = {}

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """−ELBO, with its β. Unlike Pyro's it looks into no tensor: an accelerator would wait."""
        pairs = self._get_traces(model, guide, args, kwargs)
        losses = [self._differentiable_loss_particle(*pair)[1] for pair in pairs]
        return torch.stack(losses).mean()

    def _get_traces(self, model: Any, guide: Any, args: Any, kwargs: Any) -> Iterator[Any]:
        """One pair of traces for each particle."""
        self.terms = {}
        yield from super()._get_traces(model, guide, args, kwargs)  # type: ignore[no-untyped-call]

    def _get_trace(self, model: Any, guide: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Traces of guide and model, with everything scored that the loss takes a score of.

        Not the path, nor sites of θ whose divergence Pyro knows in closed form: scoring a network's
        weights twice would cost as much as drawing them.
        """
        guide_trace = poutine.trace(guide).get_trace(*args, **kwargs)
        model_trace = poutine.trace(poutine.replay(model, trace=guide_trace)).get_trace(
            *args, **kwargs
        )
        if is_validation_enabled():
            _check_sites(model_trace, guide_trace)
            check_model_guide_match(model_trace, guide_trace)
        for name, site in model_trace.nodes.items():
            if name in guide_trace.nodes and site["type"] == "sample":
                site["divergence"] = _closed_form(site, guide_trace.nodes[name])
        known = {n for n, s in model_trace.nodes.items() if s.get("divergence") is not None}
        for name, site in guide_trace.nodes.items():
            if _is_path(site) or _is_subsample(site) or name in known:
                continue
            if site["type"] == "sample":
                site["score_parts"] = (
                    site["fn"]
                    .score_parts(site["value"])
                    .scale_and_mask(site["scale"], site["mask"])
                )
        model_trace.compute_log_prob(
            lambda name, site: not (_is_path(site) or _is_subsample(site) or name in known)
        )
        return model_trace, guide_trace

    def _differentiable_loss_particle(self, model_trace: Any, guide_trace: Any) -> tuple[Any, Any]:
        """The loss as a number's tensor, and the loss."""
        excess: Any = 0.0  # of the residual on the wider tube over the one on the tube
        terms: dict[str, Any] = {"log_likelihood": 0.0, "drift_residual": 0.0, "kl_parameters": 0.0}
        for name, site in model_trace.nodes.items():
            if site["type"] != "sample" or _is_subsample(site):
                continue
            if site["is_observed"]:
                terms["log_likelihood"] += site["log_prob_sum"]
            elif _is_path(site):
                narrow, wide = self._divergence(site, guide_trace.nodes[name])
                terms["drift_residual"] += narrow
                excess += 0.5 * (wide - narrow)
            else:
                terms["kl_parameters"] += _parameter_divergence(site, guide_trace.nodes[name])
        for name, site in guide_trace.nodes.items():
            if site["type"] == "sample" and name not in model_trace.nodes:
                terms["kl_parameters"] += site["score_parts"].entropy_term.sum()
        for name, value in terms.items():
            share = torch.as_tensor(value).detach() / self.num_particles
            self.terms[name] = self.terms.get(name, 0.0) + share
        residual = terms["drift_residual"] + excess
        parameters = self.beta_parameters * terms["kl_parameters"]
        loss = self.beta * residual + parameters - terms["log_likelihood"]
        loss = torch.as_tensor(loss)
        return loss.detach(), loss

    def _divergence(self, site: Any, guide_site: Any) -> tuple[Tensor, Tensor]:
        """The drift residual scaled to all segments, on the guide's tube and on the wider one."""
        widths = (1.0,) if self.tube_width == 1 else (self.tube_width, 1.0)
        residuals = [
            drift_residual(
                guide_site["fn"],
                site["fn"],
                num_nodes=-(-self.num_nodes // len(widths)),
                antithetic=self.antithetic,
                tube_width=width,
            )
            for width in widths
        ]
        scale, mask = guide_site["scale"], guide_site["mask"]
        total = [scale_and_mask(residual, scale, mask).sum() for residual in residuals]
        return total[-1], total[0]


def _check_sites(model_trace: Any, guide_trace: Any) -> None:
    """Every latent site of the model is in the guide, and the other way round; a path as one."""

    def names(trace: Any) -> set[str]:
        return {
            name
            for name, site in trace.nodes.items()
            if site["type"] == "sample"
            and not site["is_observed"]
            and not _is_subsample(site)
            and not site["infer"].get("is_auxiliary")
        }

    missing = sorted(names(model_trace) - names(guide_trace))
    if missing:
        raise ValueError(
            f"guide: has no site {', '.join(missing)}, which the model samples. Make the guide "
            "after putting priors on the model, or add the site."
        )
    extra = sorted(names(guide_trace) - names(model_trace))
    if extra:
        raise ValueError(
            f"guide: samples {', '.join(extra)}, which the model does not. Make the guide for this "
            "model, or mark the site as auxiliary."
        )
    for name, site in model_trace.nodes.items():
        law = guide_trace.nodes[name]["fn"] if _is_path(site) else None
        if law is not None and not isinstance(law, GaussianMarginals):
            raise ValueError(
                f"guide: samples {name}, the latent path, from {type(law).__name__}. Sample it "
                "from pyro_msde.sde.GaussianMarginals."
            )


def _is_path(site: Any) -> bool:
    return isinstance(site.get("fn"), GaussianMarginals | LatentSDE) and not site["is_observed"]


def _is_subsample(site: Any) -> bool:
    return isinstance(site.get("fn"), _Subsample)


def _closed_form(site: Any, guide_site: Any) -> Any:
    """KL(q ‖ p) of one site of θ where Pyro knows it; None where not, and for other sites."""
    if site["is_observed"] or _is_path(site) or _is_subsample(site):
        return None
    q = guide_site["fn"]
    try:
        divergence = kl_divergence(q, site["fn"])
    except NotImplementedError:  # the only way in which torch says that it knows none
        return None
    if isinstance(q, Delta):
        # Pyro's own KL leaves this out; for an autoguide it is the transform's log Jacobian.
        divergence = divergence + q.log_density
    return scale_and_mask(divergence, guide_site["scale"], guide_site["mask"]).sum()


def _parameter_divergence(site: Any, guide_site: Any) -> Any:
    """KL(q ‖ p) of one site of θ, in closed form where Pyro knows it, else by its one draw."""
    if site["divergence"] is not None:
        return site["divergence"]
    return guide_site["score_parts"].entropy_term.sum() - site["log_prob_sum"]
