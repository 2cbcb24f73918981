"""Solvers that write the cases' data, and observed fields that other packages bring.

Import the case: `from pyro_msde.datasets import kdv`.
"""

# Nothing is imported here, so that `python -m pyro_msde.datasets.kdv` loads that module only once.
