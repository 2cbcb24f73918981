"""The model of a generalised Langevin equation."""

from __future__ import annotations

import pickle

import torch

from pyro_msde.models import gle


def test_it_goes_through_pickle():
    model = gle(1)
    copied = pickle.loads(pickle.dumps(model))
    field = torch.randn(2, 1, *model.grid.shape)
    encoder, same = model.make_encoder(), copied.make_encoder()
    same.load_state_dict(encoder.state_dict())
    assert torch.equal(same(field), encoder(field))
