"""Compile a few JAX functions to PTX fixtures for an A100 that is not there:  python make_jax.py [NAME...]

Needs jax, jax-cuda12-plugin and jax-cuda12-pjrt, and ptxas on PATH or in CUDA_HOME. Each function becomes one kernel (a fusion of
XLA), whose parameters are the function's arguments and then its results.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from fixture import write

DUMP = Path(tempfile.mkdtemp(prefix="corpus-xla"))
CUDA = os.environ.get("CUDA_HOME", "/usr/local/cuda")
os.environ["XLA_FLAGS"] = f"--xla_dump_to={DUMP} --xla_dump_emitter_re=.* --xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={CUDA}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import jax_plugins.xla_cuda12  # noqa: E402, F401
from jax.experimental import topologies  # noqa: E402

A100 = """
gpu_device_info {
  threads_per_block_limit: 1024 threads_per_warp: 32 shared_memory_per_block: 49152 shared_memory_per_core: 167936
  threads_per_core_limit: 2048 core_count: 108 fpus_per_core: 64 block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 memory_bandwidth: 2039000000000 l2_cache_size: 41943040 clock_rate_ghz: 1.41 device_memory_size: 85050195968
  shared_memory_per_block_optin: 166912 cuda_compute_capability { major: 8 minor: 0 } registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 1 patch: 1 }
device_description_str: "NVIDIA A100-SXM4-80GB"
"""


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


FUNCTIONS = {
    "softmax": (lambda x: jax.nn.softmax(2 * x, axis=-1), [array(64, 384)]),
    "gelu_bf16": (lambda x, b: jax.nn.gelu(x + b), [array(96, 256, dtype=jnp.bfloat16), array(256, dtype=jnp.bfloat16)]),
    "layernorm": (lambda x: (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5), [array(48, 320)]),
    "column_sums": (lambda x: jnp.sum(x * x, axis=0), [array(512, 160)]),
    "transpose": (lambda x: jnp.transpose(x, (0, 2, 1)) + 1, [array(3, 72, 100)]),
    "row_max_index": (lambda x: jnp.argmax(x, axis=-1), [array(40, 200)]),
    "gather_rows": (lambda t, i: t[i] * 2, [array(100, 48), array(60, dtype=jnp.int32)]),
    "scatter_add": (lambda x, i, v: x.at[i].add(v), [array(64), array(200, dtype=jnp.int32), array(200)]),
    "int_mix": (
        lambda a, b: (a // jnp.maximum(b, 1)) ^ jnp.left_shift(a, b & 7) ^ jax.lax.population_count(a),
        [array(1000, dtype=jnp.int32)] * 2,
    ),
    "trig": (lambda x: jnp.sin(x) + jnp.log1p(jnp.abs(x)) * jnp.tanh(x) + jnp.exp(-x * x), [array(4000)]),
    "pad_reverse": (lambda x: jnp.pad(x[::-1], ((1, 2), (3, 4)), constant_values=7), [array(20, 30, dtype=jnp.int8)]),
}


def main(names):
    topology = topologies.get_topology_desc("a100", platform="cuda", target_config=A100, topology="1x1x1")
    on = jax.sharding.SingleDeviceSharding(topology.devices[0])
    for name in names or FUNCTIONS:
        fn, shapes = FUNCTIONS[name]
        for old in DUMP.glob("*"):
            old.unlink()
        jax.jit(fn, in_shardings=on, out_shardings=on).lower(*shapes).compile()
        ptx = [p for p in DUMP.glob("*.ptx") if ".entry" in p.read_text()]
        thunks = next(DUMP.glob("*thunk_sequence.txt")).read_text()
        launches = re.findall(r"grid: \[(.*?)\] threads: \[(.*?)\]\s+shared_memory: (\d+)", thunks)
        if len(ptx) != 1 or len(launches) != 1:
            print("SKIPPED", name, len(ptx), thunks)
            continue
        ((grid, block, shared),) = launches
        triple = lambda s: tuple(map(int, s.split(",")))  # noqa: E731
        write(
            f"jax_{name}", ptx[0].read_text(), compiler=f"jax {jax.__version__}", grid=triple(grid), block=triple(block), shared=int(shared)
        )


if __name__ == "__main__":
    main(sys.argv[1:])
