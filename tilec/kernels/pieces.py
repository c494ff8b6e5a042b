"""What the kernels of linear layers have in common: how weights are converted, and how a tile of results is finished, its sum over K shared out or not."""

from __future__ import annotations

import tilec as tc
from tilec import f32
from tilec.kernels.forms import FEW, STRIP, TILE, together
from tilec.kernels.plan import EACH, SUMS


@tc.function
def share_of(part, splits, K):
    """The first of the rows of weights that a block sums over which is one of `splits` that share a tile, and the end of them: whole rounds of loops."""
    share = tc.cdiv(tc.cdiv(K, TILE), splits) * TILE
    return part * share, min(K, (part + 1) * share)


@tc.function
def summed(x, w, scales, zeros, i, j, first, last, X, on, group, has_zeros, whole, below, unit, bm, bn, stages):
    """The tile [bm, bn] of x @ w' over rows `first` to `last` of w', in f32: w' being the weights with their scales and zero points of `group` rows, as
    `on` says, and x converted to X, which holds it. For few rows the product is transposed, y^T = w'^T x^T."""
    turned = bm <= FEW
    acc = tc.zeros(f32, [bn, bm] if turned else [bm, bn])
    for k in tc.range(first, last, TILE, stages=stages):
        rows, tile = tc.cast(tc.load(x, [i, k], [bm, TILE]), X), tc.load(w, [k, j], [TILE, bn])
        zero = of_groups(zeros, k, j, group, bn) if has_zeros else None
        factor = of_groups(scales, k, j, group, bn) if on == EACH else unit
        weights = converted(tile, factor, zero, below, whole, X)
        if on == SUMS:
            each = min(group, TILE)
            for n in tc.static_range(TILE // each):  # slices of whole steps, which stay in their registers
                left, right = rows[:, n * each : (n + 1) * each], weights[n * each : (n + 1) * each]
                wide = tc.cast(tc.load(scales, [k // group + n, j], [1, bn]), f32)
                acc = acc + (tc.dot(right.T, left.T) * wide.T if turned else tc.dot(left, right) * wide)
        else:
            acc = tc.dot(weights.T, rows.T, acc) if turned else tc.dot(rows, weights, acc)
    return acc.T if turned else acc


@tc.function
def converted(packed, factor, zero, below, whole, dtype):
    """(packed - zero) * factor in `dtype`, rounded once; or, if zero points are not `whole` numbers that join the conversion, step by step."""
    return tc.dequantize(packed, factor, zero, below=below, dtype=dtype) if whole else (tc.cast(packed, dtype) - zero) * factor


@tc.function
def of_groups(values, k, j, group, bn):
    """The values [1, bn] or [TILE, bn] of the groups that a tile of weights belongs to."""
    if group % TILE == 0:
        return tc.load(values, [k // group, j], [1, bn])
    return tc.repeat(tc.load(values, [k // group, j], [TILE // group, bn]), group, axis=0)


@tc.function
def in_rows(tile):
    """A tile by way of shared memory: threads hold parts of rows and not of fragments, so that whole sectors are written."""
    staged = tc.shared(tile.dtype, tile.shape)
    tc.store(staged, tile)
    tc.sync()
    return tc.load(staged)


@tc.function
def scaled(total, rows, i, factors, addends, dtype):
    """total * rows * factors + addends, rounded once to `dtype`; `rows` f32[M] may be None."""
    wide = total if rows is None else total * tc.load(rows, [i], [total.shape[0]])[:, None]
    return tc.cast(wide * factors + addends, dtype)


@tc.function
def finished(result, i, j, part, splits, channel, rest, bias, rows, y, work, turn):
    """Behind a loop over K: store y = result * rows * (channel * rest) + bias for a tile [bm, bn] of sums in f32. If the sum over K is shared out among
    `splits` blocks, each leaves its part in `work`, and the last one to come adds them in order, so that results repeat; `turn` is zero before and after."""
    bm, bn = result.shape
    tc.wait(0)
    tc.sync()  # the tiles of the loop may give way to those that follow
    if splits > 1:
        tc.store(work, [part, i, j], in_rows(result))
        place = tc.block_index(1) * tc.block_count(0) + tc.block_index(0)
        if tc.atomic_add(turn, place, 1, order="acq_rel") == splits - 1:  # the other parts are there
            factors, addends = tc.load(channel, [j], [bn]) * rest, tc.load(bias, [j], [bn])
            for r in tc.static_range(0, bm, min(bm, STRIP)):
                total = tc.zeros(f32, [min(bm, STRIP), bn])
                for first in tc.static_range(0, splits, together(bm, bn)):
                    places = range(first, min(first + together(bm, bn), splits))
                    for found in [tc.load(work, [p, i + r, j], [min(bm, STRIP), bn]) for p in places]:
                        total = total + found
                tc.store(y, [i + r, j], scaled(total, rows, i + r, factors, addends, y.dtype))
            tc.atomic_exchange(turn, place, 0)
    else:
        factors, addends = tc.load(channel, [j], [bn]) * rest, tc.load(bias, [j], [bn])
        tc.store(y, [i, j], in_rows(scaled(result, rows, i, factors, addends, y.dtype)))
