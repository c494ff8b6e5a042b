"""All cases of the corpus, by name."""

from . import cases_jax, cases_numba, cases_nvcc, cases_triton
from .case import Case

CASES: dict[str, Case] = {**cases_triton.CASES, **cases_numba.CASES, **cases_nvcc.CASES, **cases_jax.CASES}
