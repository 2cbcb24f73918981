"""Solvers that write the cases' data. Import the case: `from pyro_msde.datasets import kdv`."""

# Nothing is imported here, so that `python -m pyro_msde.datasets.kdv` loads that module only once.
