"""Error feedback: what rounding did to one column is made up for in the columns that follow, as far as the inputs allow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from tilec.errors import TileError
from tilec.quant.scheme import Scheme

Array = npt.NDArray[Any]

BLOCK = 128  # columns whose later ones are brought up to date at once; all further ones follow by one matrix product
DAMPING = 0.01  # of the mean of the Hessian's diagonal, added to the diagonal


def feedback(scheme: Scheme, w: Array, hessian: Array, importance: Array | None, group: int | None) -> tuple[Array, Array, Array]:
    """(codes, scales, zero points) of W [N, K] by GPTQ (Frantar et al., arXiv 2210.17323, algorithm 1).

    With U^T U the inverse of the Hessian, U upper triangular, column j's error over U[j, j] times U[j, k] goes to each column k > j. Scales are
    chosen when a group is reached, from its weights as they are then; with `group` None one scale for all is chosen at the start.
    """
    rows, columns = w.shape
    unused = np.diagonal(hessian) == 0
    upper = _upper(hessian, unused)
    rest = np.ascontiguousarray(np.where(unused, 0, w).T)  # [K, N]: a column of weights is contiguous
    codes = np.empty((columns, rows), np.uint8)
    errors = np.empty_like(rest)
    fitted: list[tuple[Array, Array]] = []
    if group is None:
        fitted = [scheme.fit(w.reshape(1, 1, -1), None if importance is None else np.tile(importance, rows)[None])]
    for start, stop in _blocks(columns, group or columns):
        for j in range(start, stop):
            if group is not None and j % group == 0:
                here = slice(j, j + group)
                fitted.append(scheme.fit(rest[here].T[:, None], None if importance is None else importance[None, here]))
            scales, zeros = fitted[-1]
            column = rest[j][:, None, None]
            values = scheme.nearest(column, scales, zeros)
            codes[j] = scheme.kind.encode(values)[:, 0, 0]
            errors[j] = (column - scheme.decode(values, scales, zeros))[:, 0, 0] / upper[j, j]
            rest[j + 1 : stop] -= upper[j, j + 1 : stop, None] * errors[j]
        rest[stop:] -= upper[start:stop, stop:].T @ errors[start:stop]
    scales, zeros = (np.concatenate(parts, axis=1) for parts in zip(*fitted, strict=True))
    return codes.T, scales, zeros


def _upper(hessian: Array, unused: Array) -> Array:
    """U, upper triangular, with U^T U the inverse of the Hessian, damped; columns that are not used stand for themselves."""
    damped = hessian + np.diag(unused + DAMPING * np.diagonal(hessian).mean())
    try:
        np.linalg.cholesky(damped)  # the inverse of what is not definite may pass
        return np.linalg.cholesky(np.linalg.inv(damped)).T
    except np.linalg.LinAlgError:
        raise TileError("the Hessian is not positive semidefinite", hint="pass x.T @ x in float64") from None


def _blocks(columns: int, group: int) -> Iterator[tuple[int, int]]:
    """Runs of about BLOCK columns; one holds whole groups or lies in one, so that a group's weights are up to date where it begins."""
    span = max(group, BLOCK // group * group)
    for start in range(0, columns, span):
        stop = min(start + span, columns)
        step = min(span, BLOCK)
        yield from ((at, min(at + step, stop)) for at in range(start, stop, step))
