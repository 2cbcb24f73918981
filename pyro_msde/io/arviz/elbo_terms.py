"""The ELBO's terms (27) on the test trajectories at each draw of θ, as sample statistics."""

from __future__ import annotations

import numpy as np
import torch

from pyro_msde.data import Trajectories, cut, segments_of
from pyro_msde.inference import MultiscaleELBO
from pyro_msde.io.arviz.frame import Variable
from pyro_msde.io.arviz.parameters import Draws
from pyro_msde.protocols import FittedModel
from pyro_msde.sde import drift_residual

__all__ = ["elbo_terms"]

_DRAWS = 64  # of θ, for its divergence from the prior


@torch.no_grad()
def elbo_terms(
    fit: FittedModel,
    test: Trajectories,
    draws: Draws,
    log_likelihood: Variable,
    num_nodes: int = 64,
) -> dict[str, Variable]:
    """Terms of the ELBO of the picked snapshots, (chain, draw), in nats of the data's units.

    `log_likelihood` is the sum over the snapshots at the draw's latent states, `drift_residual` its
    estimate at the draw's θ over all segments of the trajectories, `kl_parameters` that of q(θ)
    from the prior and the same for all draws, `elbo` the first less the others. The noise follows
    torch's seed.

    Args:
        fit: The `Fit`.
        test: All snapshots of the trajectories.
        draws: Of θ.
        log_likelihood: Of the picked snapshots, (chain, draw, trajectory, time).
        num_nodes: Quadrature nodes a segment.
    """
    residual = torch.zeros(len(draws.theta), dtype=torch.float64)
    for k in range(len(test)):
        how = cut(fit, test.times[k])
        if how is None:
            continue
        for _, batch in segments_of(fit, test, k, how).in_order():
            for j, (theta, _, _) in enumerate(draws):
                marginals = fit.guide.path_marginals(batch, theta)
                law = fit.model.path_law(theta, batch)
                each = drift_residual(marginals, law, num_nodes=num_nodes, antithetic=True)
                residual[j] += each.sum().double().cpu()
    likelihood = np.nansum(log_likelihood[1], axis=(2, 3))
    terms = {
        "log_likelihood": likelihood,
        "drift_residual": draws.repeated(residual),
        "kl_parameters": np.full(likelihood.shape, _divergence_of_parameters(fit)),
    }
    terms["elbo"] = likelihood - terms["drift_residual"] - terms["kl_parameters"]
    return {name: (("chain", "draw"), value, {"units": "nats"}) for name, value in terms.items()}


def _divergence_of_parameters(fit: FittedModel) -> float:
    """KL(q(θ) ‖ p(θ)), in closed form where Pyro knows it, else averaged over draws.

    It is all there is in an ELBO of programs that draw θ and nothing else.
    """
    elbo = MultiscaleELBO(num_particles=_DRAWS)
    elbo.differentiable_loss(fit.model.bind, fit.guide.read_theta)
    return float(elbo.terms["kl_parameters"])
