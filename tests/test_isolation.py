"""What belongs to the process: borrowed in turns, given back, and never left with ours in it."""

from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from problems import LENGTH, same, snapshot, tiny_batch, tiny_data, tiny_model, tiny_pair
from pyro import poutine
from pyro.infer import SVI
from pyro.infer.autoguide import AutoNormal
from pyro.optim import Adam
from watched_calls import process_state

import pyro_msde
from pyro_msde import MultiscaleELBO, Trajectories, fit, plot
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.isolation import Isolation
from pyro_msde.models import Multiscale, multiscale, pod_sde
from pyro_msde.models.general import BoundMultiscale
from pyro_msde.priors import bayesian, fan_in_normal, starting_values

pytestmark = pytest.mark.usefixtures("long_steps")

DATA = tiny_data((17, 17, 17))
SHORT = Trajectories([0.02 * t for t in tiny_data((17, 17)).times], tiny_data((17, 17)).values)
QUICK = {"steps": 4, "length": 5, "stride": 1, "progress": False}


def point_pair():
    """Principal components and a warm start of the drift, which read the model beforehand."""
    model = multiscale(30, 5, components=4, width=11)
    return model, AmortizedGP(model)


def microscale_pair(seed=0):
    model = multiscale(30, 5, n_eta=1, components=4, width=11, seed=seed)
    return model, AmortizedGP(model)


def bayesian_pair():
    model = multiscale(30, 5, n_eta=1, components=4, width=11)
    for part in (model.drift, model.kernel, model.decoder):
        bayesian(part, fan_in_normal(1.0))
    return model, AmortizedGP(model, theta=AutoNormal)


def unamortized_pair():
    model = tiny_model(2)
    return model, UnamortizedGP(model, DATA)


def modal_pair():
    model = pod_sde(DATA, 3, width=7)
    return model, AmortizedGP(model)


@pytest.mark.parametrize(
    "make",
    [
        microscale_pair,
        *(
            pytest.param(pair, marks=pytest.mark.slow)
            for pair in (point_pair, bayesian_pair, modal_pair, unamortized_pair)
        ),
    ],
)
def test_nothing_of_ours_is_ever_in_the_global_store(make, tmp_path, monkeypatch):
    """Not in the end, and not between: every write to it is seen."""
    written = []
    store = type(pyro.get_param_store())
    setdefault, parameter = store.setdefault, store.get_param
    home = pyro.get_param_store()._params  # `scope` puts another in its place

    def seen(original, self, name, *args, **kwargs):
        if self._params is home:
            written.append(name)
        return original(self, name, *args, **kwargs)

    monkeypatch.setattr(store, "setdefault", lambda s, n, *a, **k: seen(setdefault, s, n, *a, **k))
    monkeypatch.setattr(store, "get_param", lambda s, n, *a, **k: seen(parameter, s, n, *a, **k))
    pyro.param("own", torch.tensor(1.0))
    assert written
    written.clear()
    before = process_state()
    fit = pyro_msde.fit(*make(), DATA, validation=SHORT, validate_every=4, **QUICK)
    fit = fit.calibrated(SHORT, num_times=12)
    fc = fit.predict(SHORT.values[0][0], SHORT.times[0], num_samples=4)
    pyro_msde.nrmse(fc, SHORT[0])
    if make is not modal_pair:  # which has no coarse points to name
        fit.to_arviz(SHORT, num_samples=4, num_theta=2, times=5, prior=2)
        plot.scale_images(fit, SHORT.values[0], SHORT.times[0])
    fit.save(tmp_path)
    pyro_msde.load(tmp_path, *make())
    assert written == []
    assert process_state() == before


def test_a_users_own_inference_trains_their_model_and_leaves_ours():
    """Parameters of both have the same names."""

    def inferred():
        model, guide = microscale_pair(seed=8)
        torch.manual_seed(5)
        svi = SVI(model, guide, Adam({"lr": 1e-2}), MultiscaleELBO(num_nodes=5))
        svi.step(tiny_batch())
        return snapshot(model)

    def forecast():
        return ours.predict(tiny_data().values[0][0], [0.0, 0.05], num_samples=4).mean

    with pyro.get_param_store().scope():
        alone = inferred()
    assert not same(alone, snapshot(microscale_pair(seed=8)[0]))
    ours = pyro_msde.fit(*microscale_pair(), tiny_data(), **QUICK)
    weights, expected = snapshot(ours.model), forecast()
    assert weights.keys() == alone.keys()
    assert same(inferred(), alone)
    assert same(snapshot(ours.model), weights)
    assert torch.equal(forecast(), expected)


def test_parameters_are_read_at_given_sites_without_pyro(monkeypatch):
    model, _ = bayesian_pair()
    sites = {name: torch.randn_like(value) for name, value in starting_values(model).items()}
    assert sorted(sites) == ["decoder.theta", "drift.theta", "kernel.theta"]
    for name in ("param", "module", "sample"):
        monkeypatch.setattr(pyro, name, None)
    with pyro.poutine.trace() as messenger:
        theta = model.bind(sites)
        theta.decoder(torch.ones(1))
    assert isinstance(theta, BoundMultiscale)
    assert not any(s["type"] in ("sample", "param") for s in messenger.trace.nodes.values())
    assert len(pyro.get_param_store()) == 0


def test_a_subclass_overrides_one_plain_method():
    """It is read as a program by the model's forward and by guides over θ, else as a function."""

    class Halved(Multiscale):
        def bind(self, theta=None):
            read = super().bind(theta)
            return replace(read, diffusion=0.5 * read.diffusion)

    def build():
        model = tiny_model(0, kind=Halved)
        bayesian(model.drift, fan_in_normal(1.0))
        return model

    model = build()
    trace = pyro.poutine.trace(model.bind).get_trace()
    assert [n for n, s in trace.nodes.items() if s["type"] == "sample"] == ["drift.theta"]
    assert "diffusion.net$$$log_value" in trace.nodes
    fit = pyro_msde.fit(model, AmortizedGP(model, theta=AutoNormal), tiny_data(), **QUICK)
    fc = fit.predict(tiny_data().values[0][0], [0.0, 0.05], num_samples=4)
    assert torch.equal(fc.theta[0].diffusion, 0.5 * model.diffusion._modules["net"]())


# turns


def test_a_turn_gives_everything_back_and_goes_on_where_it_was():
    pyro.param("mine", torch.tensor(2.0))
    before, isolation = process_state(), Isolation(5)
    drawn = []
    for validate in (True, False):
        with isolation.turn(validate=validate):
            assert len(pyro.get_param_store()) == 0
            assert torch.distributions.Distribution._validate_args == validate
            pyro.param("ours", torch.tensor(1.0))
            drawn.append(pyro.sample("x", dist.Normal(0.0, 1.0)))
        assert process_state() == before
    generator = torch.Generator().manual_seed(5)
    for value in drawn:
        assert torch.equal(value, torch.randn((), generator=generator))


def test_a_turn_that_fails_gives_everything_back():
    before = process_state()
    with pytest.raises(ZeroDivisionError), Isolation(5).turn(validate=True):
        torch.randn(3).tolist()[0] / 0
    assert process_state() == before


def test_state_goes_on_elsewhere():
    first, second = Isolation(1), Isolation(2)
    with first.turn():
        torch.randn(3)
    second.restore(first.state)
    found = []
    for isolation in (first, second):
        with isolation.turn():
            found.append(torch.randn(5))
    assert torch.equal(*found)


def test_turns_of_threads_do_not_overlap():
    """Each finds the state that it left, though the other draws between its turns."""

    def draws(seed, out):
        isolation = Isolation(seed)
        for _ in range(30):
            with isolation.turn():
                out.append(torch.randn(50))

    found: list[list[torch.Tensor]] = [[], [], []]
    threads = [threading.Thread(target=draws, args=(k, out)) for k, out in enumerate(found)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, out in enumerate(found):
        generator = torch.Generator().manual_seed(seed)
        assert all(torch.equal(x, torch.randn(50, generator=generator)) for x in out)


def test_building_models_and_guides_draws_from_their_own_seed():
    make = partial(multiscale, 30, 5, n_eta=1, components=4, width=11, seed=3)
    first = snapshot(make())
    guide = snapshot(AmortizedGP(make()))
    torch.manual_seed(9)
    assert same(snapshot(make()), first)
    assert same(snapshot(AmortizedGP(make())), guide)


def test_a_fit_within_a_users_handler_is_apart_from_it():
    with poutine.trace() as traced:
        pyro.sample("own", dist.Normal(0.0, 1.0))
        model, guide = tiny_pair(2)
        fit(model, guide, tiny_data(), length=LENGTH, stride=1, steps=2, progress=False)
    assert [n for n in traced.trace.nodes if not n.startswith("_")] == ["own"]
