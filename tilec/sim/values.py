"""What registers hold and where addresses lead: dtypes of PTX types, windows of the generic address space, packing."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

WINDOWS = {"shared": 0x0100_0000_0000, "local": 0x0200_0000_0000, "param": 0x0300_0000_0000}  # each of 1 TiB
HEAP = 0x7F00_0000_0000  # global and const memory: generic addresses are the same


SPECIALS = {"WARP_SZ"} | {f"%envreg{i}" for i in range(32)}
SPECIALS |= {
    f"%{name}.{axis}"
    for name in ("tid", "ntid", "ctaid", "nctaid", "clusterid", "nclusterid", "cluster_ctaid", "cluster_nctaid")
    for axis in "xyz"
}
SPECIALS |= {
    "%laneid", "%warpid", "%nwarpid", "%lanemask_eq", "%lanemask_lt", "%lanemask_le", "%lanemask_gt", "%lanemask_ge", "%smid", "%nsmid",
    "%gridid", "%dynamic_smem_size", "%total_smem_size", "%cluster_ctarank", "%cluster_nctarank", "%is_explicit_cluster",
    "%clock", "%clock_hi", "%clock64", "%globaltimer", "%globaltimer_lo", "%globaltimer_hi",
}  # fmt: skip


def space_of(mods: dict[str, Any]) -> str:
    """The state space that an address of this instruction is relative to: heap, shared, local, param or generic."""
    space = mods.get("space") or "generic"
    return {"const": "global"}.get(space, space).split("::")[0]


def signed(type_: str) -> bool:
    return type_.startswith("s")


CODES = {"pred": "?", "f32": "f4", "f64": "f8"}


def dtype(type_: str) -> np.dtype[Any]:
    """NumPy dtype of the arrays that hold values of a PTX type (f16 and bf16 as bits)."""
    if type_ in CODES:
        return np.dtype(CODES[type_])
    bits = int(re.sub(r"x2$", "", type_.lstrip("bfsu"))) * (2 if type_.endswith("x2") else 1)
    return np.dtype(f"{'i' if signed(type_) else 'u'}{bits // 8}")


def pack(items: list[Any], part: Any, whole: Any) -> Any:
    """Join registers to a wider one, the first lowest."""
    spread = np.broadcast_arrays(*items)
    out = np.empty(spread[0].shape + (len(items),), part)
    for k, x in enumerate(spread):
        out[..., k] = x.view(part)
    return out.view(whole)[..., 0]


def unpack(x: Any, k: int, part: Any) -> Any:
    """Part k of a wider register, as unsigned bits."""
    whole = np.dtype(f"u{x.dtype.itemsize}")
    return (x.view(whole) >> whole.type(8 * part.itemsize * k)).astype(part)


def late(x: Any) -> Any:
    """A second result, which may come as a function so that it costs nothing where it is not wanted."""
    return x() if callable(x) else x


def force(x: Any, want: Any) -> Any:
    """A register that may be a part of an accumulator in matrix form, as an array."""
    x = x if isinstance(x, np.ndarray) else x.force()
    return x if x.dtype == want else x.view(want)
