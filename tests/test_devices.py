"""The whole road, fit to scores, in both dtypes and on every device there is."""

import numpy as np
import torch
from problems import tiny_data, tiny_pair

import pyro_msde


def test_fit_and_predict_keep_dtype_and_device(dtype, device):
    data = tiny_data()
    model, guide = tiny_pair(n_eta=2)
    fit = pyro_msde.fit(
        model, guide, data, steps=3, dtype=dtype, device=device, progress=False, length=4, stride=1
    )
    for tensor in (*model.state_dict().values(), *guide.state_dict().values()):
        assert tensor.dtype == dtype
        assert tensor.device.type == torch.device(device).type
    fc = fit.predict(data.values[0][0], data.times[0], num_samples=5)
    assert fc.mean.dtype == dtype
    assert fc.mean.device.type == "cpu"
    score = pyro_msde.nrmse(fc, data.values[0])
    assert np.isfinite(score)
    assert 0 <= pyro_msde.coverage(fc, data.values[0]) <= 1
