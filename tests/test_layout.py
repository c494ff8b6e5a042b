"""The laws of the layout algebra, over all small layouts, against brute force on (thread, register) -> coordinates."""

import itertools
import math

import numpy as np
import pytest

from tilec.errors import TileError
from tilec.ir.layout import (
    Layout,
    blocked,
    column_local,
    column_spatial,
    local,
    parse_layout,
    replicated,
    scalar,
    spatial,
)


def factorizations(n):
    """All ordered ways to write n as a product of numbers above 1."""
    return [()] if n == 1 else [(d, *rest) for d in range(2, n + 1) if n % d == 0 for rest in factorizations(n // d)]


def layouts_of(shape, replicas=()):
    """Every layout of `shape` whose replicated digits have the sizes `replicas`, all spellings of each, by brute force."""
    for split in itertools.product(*(factorizations(n) for n in shape)):
        mode_shape = tuple(itertools.chain(*split))
        walked = [*range(len(mode_shape)), *(-n for n in replicas)]
        for order in set(itertools.permutations(walked)):
            for cut in range(len(order) + 1):
                yield mode_shape, order[:cut], order[cut:]


def table(shape, mode_shape, spatial_modes, local_modes):
    """The function of modes as a dictionary, by the definition of mixed radix: independent of the digits inside Layout."""
    where, sizes = [], list(mode_shape)
    for dim, extent in enumerate(shape):
        rest = extent
        while rest > 1:
            rest //= sizes[len(where)]
            where.append((dim, rest))
    entries = []
    for walked in (spatial_modes, local_modes):
        ranges = [range(mode_shape[m] if m >= 0 else -m) for m in walked]
        entries.append([])
        for digits in itertools.product(*ranges):
            at = [0] * len(shape)
            for m, digit in zip(walked, digits, strict=True):
                if m >= 0:
                    at[where[m][0]] += digit * where[m][1]
            entries[-1].append(at)
    return tuple(tuple(tuple(a + b for a, b in zip(t, r, strict=True)) for r in entries[1]) for t in entries[0])


def every(shapes, replicas=((),)):
    return {Layout.from_modes(shape, *modes) for shape in shapes for extra in replicas for modes in layouts_of(shape, extra)}


SMALL = sorted(every([(4,), (6,), (2, 2), (2, 3), (1, 4), (1, 1)], [(), (2,), (3,)]) | every([(4, 2), (12,), (2, 3, 2)]), key=str)
FEW = sorted(every([(1,), (2,), (3,), (4,)], [(), (2,)]), key=str)
PAIRS = sorted(every([(1, 1), (2, 1), (1, 3), (2, 2)], [(), (2,)]), key=str)


def frozen(coords):
    return tuple(tuple(map(tuple, thread)) for thread in coords.tolist())


# The function and its canonical form


@pytest.mark.parametrize("shape", [(1,), (4,), (6,), (12,), (2, 2), (2, 3), (4, 2), (2, 3, 2)])
@pytest.mark.parametrize("replicas", [(), (2,), (3,), (2, 2), (2, 3)])
def test_coordinates_and_equality_are_those_of_the_function(shape, replicas):
    if math.prod(shape) * math.prod(replicas) > 36:
        return
    forms, functions = {}, {}
    for modes in layouts_of(shape, replicas):
        layout, truth = Layout.from_modes(shape, *modes), table(shape, *modes)
        assert frozen(layout.coords()) == truth
        assert forms.setdefault(layout, truth) == truth  # equal forms, equal functions
        assert functions.setdefault(truth, layout) == layout  # equal functions, equal forms
        assert hash(functions[truth]) == hash(layout)
    assert len(forms) == len(functions)


def test_a_call_computes_one_element():
    layout = local(2, 1).spatial(8, 4).local(1, 2)
    assert layout(5, 3) == (9, 3)  # thread 5 is (1, 1) of 8 x 4; register 3 is (1, 0) of 2 x 1 and (0, 1) of 1 x 2
    for t, r in np.ndindex(layout.threads, layout.registers):
        assert layout(t, r) == tuple(layout.coords()[t, r])


def test_coords_are_read_only():
    with pytest.raises(ValueError):
        local(2).coords()[0, 0, 0] = 1


def test_ranks_shapes_and_counts():
    layout = spatial(2, 3).replicated(4).local(5, 1)
    assert (layout.shape, layout.rank, layout.threads, layout.registers) == ((10, 3), 2, 24, 5)
    assert layout.is_replicated
    assert not local(3).is_replicated
    assert scalar(32).shape == ()
    assert scalar(32).threads == 32
    assert scalar(32).registers == 1


def test_row_and_column_order():
    assert local(2, 3).coords()[0].tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert column_local(2, 3).coords()[0].tolist() == [[0, 0], [1, 0], [0, 1], [1, 1], [0, 2], [1, 2]]
    assert (spatial(2, 3).coords()[:, 0] == local(2, 3).coords()[0]).all()
    assert (column_spatial(2, 3).coords()[:, 0] == column_local(2, 3).coords()[0]).all()
    assert replicated(3, 2, rank=1).coords().tolist() == [[[0], [0]]] * 3


def test_what_is_no_layout_is_refused():
    with pytest.raises(TileError, match="positive"):
        local(0)
    with pytest.raises(TileError, match="don't split"):
        Layout.from_modes([4], [3], [0], [])
    with pytest.raises(TileError, match="walked once"):
        Layout.from_modes([4], [2, 2], [0], [0])
    with pytest.raises(TileError, match="rank 1 and 2"):
        local(2) * local(2, 2)


def test_modes_text_and_holders():
    for layout in SMALL:
        assert Layout.from_modes(layout.shape, layout.mode_shape, layout.spatial_modes, layout.local_modes) == layout
        assert parse_layout(str(layout)) == layout
        holders = {at: [] for at in np.ndindex(*layout.shape)}
        for t, r in np.ndindex(layout.threads, layout.registers):
            holders[tuple(layout.coords()[t, r])].append((t, r))
        thread, register = layout.owner()
        for at, found in holders.items():
            assert layout.find(at) == found
            assert (thread[at], register[at]) == found[0] == layout.locate(at)


def test_gather_and_scatter():
    for layout in SMALL:
        tile = np.arange(3 * math.prod(layout.shape)).reshape(3, *layout.shape)
        storage = layout.scatter(tile)
        assert (storage == tile[(slice(None), *np.moveaxis(layout.coords(), -1, 0))]).all()
        assert (layout.gather(storage) == tile).all()


def test_padding_is_cropped_and_filled():
    layout = spatial(4, 2).local(1, 4)
    tile = np.arange(3 * 7).reshape(3, 7)
    storage = layout.scatter(tile, fill=-1)
    assert (layout.gather(storage, (3, 7)) == tile).all()
    full = layout.gather(storage)
    assert (full[3:] == -1).all()
    assert (full[:, 7:] == -1).all()
    with pytest.raises(TileError, match="does not fit"):
        layout.scatter(np.zeros((5, 8)))
    with pytest.raises(TileError, match="registers of shape"):
        layout.gather(np.zeros((4, 8)))


def test_scalar_gather_and_scatter():
    storage = scalar(4).scatter(np.array([7, 8]))
    assert storage.tolist() == [[[7]] * 4, [[8]] * 4]
    assert scalar(4).gather(storage).tolist() == [7, 8]


# Product and division


@pytest.mark.parametrize("family", [FEW, PAIRS], ids=["rank 1", "rank 2"])
def test_product_is_its_definition(family):
    for a, b in itertools.product(family, repeat=2):
        product = a * b
        assert (product.threads, product.registers) == (a.threads * b.threads, a.registers * b.registers)
        t, r = np.indices((product.threads, product.registers))
        outer = a.coords()[t // b.threads, r // b.registers]
        assert (product.coords() == outer * np.array(b.shape) + b.coords()[t % b.threads, r % b.registers]).all()


def test_product_is_associative_with_identity():
    for a, b, c in itertools.product(PAIRS[::2], PAIRS[::3], PAIRS[::2]):
        assert (a * b) * c == a * (b * c)
    for a in SMALL:
        one = local(*(1,) * a.rank)
        assert a * one == a == one * a == a * scalar(1) == scalar(1) * a


def test_rank_0_takes_the_rank_of_its_neighbour():
    assert replicated(4) * spatial(2, 2) == replicated(4, rank=2) * spatial(2, 2)
    assert replicated(4).spatial(2, 2).shape == (2, 2)


@pytest.mark.parametrize("family", [FEW, PAIRS], ids=["rank 1", "rank 2"])
def test_division_undoes_the_product_and_finds_every_quotient(family):
    """Complete: for all small A and B, a quotient is found exactly if brute force over all candidates finds one."""
    right, left = {}, {}
    for x, y in itertools.product(family, repeat=2):
        right.setdefault((x * y, y), set()).add(x)
        left.setdefault((x * y, x), set()).add(y)
    # The candidates are closed under division: every quotient of one of them is as small
    for a, b in itertools.product(sorted({p for p, _ in right}, key=str), family):
        expected = right.get((a, b), set())
        found = a.try_divide(b)
        if expected:
            assert {found} == expected
        elif found is not None:
            assert found * b == a
            assert found not in family
        expected, found = left.get((a, b), set()), a.try_left_divide(b)
        if expected:
            assert {found} == expected
        elif found is not None:
            assert b * found == a
            assert found not in family


def test_division_of_fragments():
    c = parse_layout("local(2, 1).spatial(8, 4).local(1, 2)")
    tile = local(2, 4).spatial(2, 2) * c
    assert tile / c == local(2, 4).spatial(2, 2)
    assert tile.left_divide(local(2, 4)) == spatial(2, 2) * c
    assert c / local(1, 2) == local(2, 1).spatial(8, 4)
    assert spatial(12).try_divide(spatial(3)) == spatial(4)
    assert spatial(12).try_divide(spatial(5)) is None
    assert spatial(12).try_left_divide(spatial(6)) == spatial(2)
    assert local(8).try_divide(spatial(2)) is None
    assert c.try_divide(local(2)) is None
    assert c.try_left_divide(local(2)) is None
    with pytest.raises(TileError, match="not a multiple"):
        c / local(2, 1)
    with pytest.raises(TileError, match="does not begin"):
        c.left_divide(spatial(2, 1))


# Other shapes


def test_permute_and_unsqueeze():
    for layout in SMALL:
        for dims in itertools.permutations(range(layout.rank)):
            assert (layout.permute(dims).coords() == layout.coords()[..., list(dims)]).all()
            assert layout.permute(dims).shape == tuple(layout.shape[d] for d in dims)
        assert layout.transpose().transpose() == layout
        for axis in range(layout.rank + 1):
            grown = layout.unsqueeze(axis)
            assert grown.squeeze(axis) == layout
            assert grown.shape == (*layout.shape[:axis], 1, *layout.shape[axis:])
            assert (np.delete(grown.coords(), axis, axis=-1) == layout.coords()).all()


def test_reshape_keeps_the_row_major_number_and_fails_only_where_no_layout_exists():
    cases = {(12,): [(2, 6), (3, 4), (6, 2)], (2, 6): [(3, 4), (12,), (2, 2, 3)], (3, 4): [(2, 6), (4, 3)], (2, 3, 2): [(12,), (4, 3)]}
    done = failed = 0
    for shape, targets in cases.items():
        for target in targets:
            exists = {frozen(other.coords()) for other in every([target])}
            for layout in every([shape]):
                line = np.ravel_multi_index(tuple(np.moveaxis(layout.coords(), -1, 0)), shape)
                moved = np.stack(np.unravel_index(line, target), axis=-1)
                expected = frozen(moved)
                if expected in exists:
                    assert layout.reshape(target).shape == target
                    assert frozen(layout.reshape(target).coords()) == expected
                    assert layout.reshape(target).reshape(shape) == layout
                    done += 1
                else:
                    with pytest.raises(TileError, match="bend"):
                        layout.reshape(target)
                    failed += 1
    assert done
    assert failed
    with pytest.raises(TileError, match="no shape"):
        local(4).reshape([5])


def test_reduce():
    """Every thread keeps what it holds of the remaining dimensions, each element once, in the order of its registers."""
    for layout in SMALL:
        for axes in itertools.chain(*(itertools.combinations(range(layout.rank), n) for n in range(1, layout.rank + 1))):
            stay = [d for d in range(layout.rank) if d not in axes]
            result, kept = layout.reduce(axes), layout.reduce(axes, keepdims=True)
            assert result.shape == tuple(layout.shape[d] for d in stay)
            assert kept.shape == tuple(1 if d in axes else n for d, n in enumerate(layout.shape))
            assert (kept.coords()[..., stay] == result.coords()).all()
            for all_held, held in zip(layout.coords()[..., stay].tolist(), result.coords().tolist(), strict=True):
                assert list(map(tuple, held)) == list(dict.fromkeys(map(tuple, all_held)))


def test_reduce_by_hand():
    c = parse_layout("local(2, 1).spatial(8, 4).local(1, 2)")
    assert c.reduce(1) == local(2).spatial(8).replicated(4)
    assert c.reduce(0) == replicated(8).spatial(4).local(2)
    assert c.reduce([0, 1]) == scalar(32)
    assert c.reduce(-1, keepdims=True) == parse_layout("local(2, 1).spatial(8, 1).replicated(4)")


def test_concat_is_the_outer_product():
    for a, b in itertools.product(FEW, PAIRS[::3]):
        both = a.concat(b)
        t, r = np.indices((both.threads, both.registers))
        assert both.shape == a.shape + b.shape
        assert (both.coords()[..., : a.rank] == a.coords()[t // b.threads, r // b.registers]).all()
        assert (both.coords()[..., a.rank :] == b.coords()[t % b.threads, r % b.registers]).all()
    assert scalar(4).concat(local(2)) == replicated(4).local(2)


def test_inverse():
    for layout in SMALL:
        if layout.is_replicated:
            with pytest.raises(TileError, match="no inverse"):
                layout.inverse()
            continue
        inverse = layout.inverse()
        assert (inverse.shape, inverse.threads) == ((layout.threads, layout.registers), 1)
        for element, (t, r) in enumerate(inverse.coords()[0]):
            assert layout(t, r) == tuple(np.unravel_index(element, layout.shape))
        assert layout.compose(inverse) == local(*layout.shape)


def test_compose_renumbers_threads_and_registers():
    done = 0
    for outer in every([(2, 3), (4,)], [(), (2,)]):
        for inner in every([(outer.threads, outer.registers)]):
            t, r = np.moveaxis(inner.coords(), -1, 0)
            try:
                both = outer.compose(inner)
            except TileError:
                continue
            assert (both.coords() == outer.coords()[t, r]).all()
            done += 1
    assert done > 100
    with pytest.raises(TileError, match="expected a layout of shape"):
        local(4).compose(local(4))


def test_cover():
    c = spatial(8, 4).local(1, 2)
    assert c.cover((32, 8)) == local(4, 1) * c
    assert c.cover((33, 9)).shape == (40, 16)
    assert local(2, 1).cover((2, 5)) == column_local(2, 5)


# What a compiler asks


def test_vector_run_is_the_longest_that_holds_everywhere():
    for layout in SMALL:
        for axis in range(layout.rank):
            lengths = [n for n in range(1, layout.registers + 1) if layout.registers % n == 0 and runs(layout, axis, n)]
            assert layout.vector_run(axis) == max(lengths)


def runs(layout, axis, n):
    """Whether each aligned group of n registers holds n consecutive elements along the axis from a multiple of n."""
    groups = layout.coords().reshape(layout.threads, -1, n, layout.rank)
    step = np.eye(layout.rank, dtype=int)[axis]
    aligned = (groups[:, :, 0, axis] % n == 0).all()
    return aligned and (groups == groups[:, :, :1] + np.arange(n)[:, None] * step).all()


def test_registers_in_against_search():
    for source, target in itertools.product([x for x in SMALL if x.shape == (2, 3)], repeat=2):
        if source.threads == target.threads:
            found = target.registers_in(source)
            for t, r in np.ndindex(*found.shape):
                mine = [q for s, q in source.find(target(t, r)) if s == t]
                assert found[t, r] == (mine[0] if mine else -1)


def test_registers_in_broadcasts_a_reduction():
    c = parse_layout("local(2, 1).spatial(8, 4).local(1, 2)")
    assert (c.registers_in(c.reduce(1, keepdims=True)) == [0, 0, 1, 1]).all()
    assert (c.registers_in(c) == [0, 1, 2, 3]).all()


def test_fragments_of_mma_by_the_rules_of_the_ptx_manual():
    """PTX manual, matrix fragments for mma.m16n8k16: g = lane / 4, t = lane % 4, registers in the order of the a, b and c vectors."""
    a = column_local(2, 2).spatial(8, 4).local(1, 2)
    b = local(2, 1).column_spatial(4, 8).local(2, 1)
    c = local(2, 1).spatial(8, 4).local(1, 2)
    for lane in range(32):
        g, t = lane // 4, lane % 4
        for i in range(8):  # rows g for a0 a1 a4 a5, else g + 8; columns +8 from a4 on
            row = g if i in (0, 1, 4, 5) else g + 8
            assert a(lane, i) == (row, 2 * t + (i & 1) + (8 if i >= 4 else 0))
        for i in range(4):  # rows (k) +8 from b2 on; column (n) g
            assert b(lane, i) == (2 * t + (i & 1) + (8 if i >= 2 else 0), g)
            assert c(lane, i) == (g if i < 2 else g + 8, 2 * t + (i & 1))


@pytest.mark.parametrize(
    ("shape", "threads", "vector", "order", "expected"),
    [
        ((128, 64), 128, 8, None, "local(8, 1).spatial(16, 8).local(1, 8)"),
        ((4096,), 128, 8, None, "local(4).spatial(128).local(8)"),
        ((16, 16), 128, 8, None, "replicated(4).spatial(16, 2).local(1, 8)"),
        ((64, 128), 128, 4, (0, 1), "local(1, 16).column_spatial(16, 8).local(4, 1)"),
        ((1000,), 128, 1, None, "local(8).spatial(128)"),  # rounded up to 1024
        ((64, 25), 128, 4, None, "local(16, 1).spatial(4, 32)"),  # 25 is odd: no vectors; 16 registers where 13 is the least
        ((6, 4), 24, 4, None, "replicated(4).spatial(6, 1).local(1, 4)"),
        ((), 64, 4, None, "replicated(64)"),
    ],
)
def test_blocked(shape, threads, vector, order, expected):
    assert blocked(shape, threads, vector, order) == parse_layout(expected)


def test_blocked_covers_every_tile_and_wastes_little():
    for shape in [(1,), (7,), (129,), (3, 5), (64, 48), (33, 100), (3, 5, 7), (1, 1)]:
        for threads in (1, 32, 96, 128):
            for vector in (1, 3, 4, 8):
                layout = blocked(shape, threads, vector)
                assert layout.threads == threads
                assert all(m >= n for m, n in zip(layout.shape, shape, strict=True))
                run = max(v for v in range(1, vector + 1) if vector % v == 0 and shape[-1] % v == 0)
                assert layout.vector_run() % run == 0
                assert layout.registers <= 2 * run * -(-math.prod(shape) // run // threads)  # twice what no padding would need


# Text


@pytest.mark.parametrize(
    "text",
    [
        "local(2, 1).spatial(8, 4).local(1, 2)",
        "column_local(2, 2).spatial(8, 4).local(1, 2)",
        "local(2, 1).column_spatial(4, 8).local(2, 1)",
        "replicated(4).spatial(2, 3)",
        "spatial(8).replicated(4)",
        "replicated(32)",
        "replicated(4).local(1, 1)",
        "local(1, 1)",
        "local()",
        "spatial(3).replicated(1, 2)",
        "modes(shape=[4], split=[2, 2], spatial=[1, 0], local=[])",
    ],
)
def test_text_that_reads_best_is_the_text(text):
    assert str(parse_layout(text)) == text


def test_every_product_prints_as_a_product():
    factors = [local(2, 3), spatial(3, 2), column_local(2, 2), column_spatial(2, 3), replicated(2, 3, rank=2)]
    for a, b in itertools.product(factors, repeat=2):
        assert "modes" not in str(a * b)
        assert parse_layout(f"{a} * {b}") == a * b == parse_layout(f"{a}.{b}") == parse_layout(str(a * b))


@pytest.mark.parametrize("text", ["", "local(2", "local(2).foo(3)", "42", "local('a')", "local(2)(3)", "local(2) + local(3)", "spatial(x)"])
def test_bad_text_is_refused(text):
    with pytest.raises(TileError):
        parse_layout(text)
