"""Training that ends when validation no longer improves: a callback of one's own."""

import numpy as np

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale


class Patience(pyro_msde.Callback):
    """Ends training after so many validations without a better one."""

    def __init__(self, patience):
        self.patience, self.scores, self.terms = patience, [], []

    def step(self, view):
        """Keep what is logged, every 50 steps."""
        if view.terms is not None:
            self.terms.append((view.step, view.terms["elbo"]))

    def validation(self, view):
        """Whether to end."""
        self.scores.append(view.score)
        return len(self.scores) - 1 - int(np.argmin(self.scores)) >= self.patience


times, x = np.linspace(0, 1, 20), np.arange(16) / 16
phases = np.random.default_rng(0).uniform(0, 1, 6)
waves = np.sin(2 * np.pi * (x - times[:, None] - phases[:, None, None]))
train, validation = (pyro_msde.Trajectories([times] * 3, w) for w in (waves[:3], waves[3:]))

model = multiscale(16, 8, n_eta=0, width=8)
patience = Patience(1)
fit = pyro_msde.fit(
    model,
    AmortizedGP(model),
    train,
    validation=validation.until(0.2),
    validate_every=20,
    steps=400,
    learning_rate=0.03,
    length=6,
    stride=1,
    callbacks=[patience],
    progress=False,
)
print(f"ended after {fit.steps} steps, best validation {min(patience.scores):.1%}")
