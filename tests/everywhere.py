"""Runs a kernel in every way there is: the interpreter on the IR after each stage, the emitted PTX in the simulator, a GPU if there is one."""

import copy

import numpy as np

import tilec as tc
from tilec.backend import driver


def everywhere(kernel, args, expected, arch="sm_80", rtol=0.0, simulated=True, **constants):
    """`expected` by parameter name. Outputs start from what is given. Returns the simulator's report, which has no findings."""
    names = [p.name for p in kernel.signature.parameters]

    def check(run, what):
        given = [copy.deepcopy(a) if not isinstance(a, np.ndarray) else same_strides(a) for a in args]
        report = run(*given)
        for name, wanted in expected.items():
            found = given[names.index(name)]
            found = found.values() if isinstance(found, tc.Tensor) else found
            np.testing.assert_allclose(np.asarray(found, np.float64), np.asarray(wanted, np.float64), rtol=rtol, err_msg=f"{name} {what}")
        return report

    for stage in kernel.stages(arch, **constants):
        for late in (False, True):
            options = {"stage": stage, "arch": arch, "late_copies": late, **constants}
            check(lambda *a, options=options: kernel.interpret(*a, **options), f"after {stage}" + ", late copies" * late)
    if driver.device() is not None:
        check(lambda *a: kernel(*a, **constants), "on the GPU")
    if not simulated:
        return None
    report = check(lambda *a: kernel.simulate(*a, arch=arch, **constants), "simulated")
    assert not report.findings, str(report)
    return report


def same_strides(a):
    """A copy with the same strides, for views of larger arrays."""
    if a.flags.c_contiguous:
        return a.copy()
    low = np.lib.array_utils.byte_bounds(a)
    size = (low[1] - low[0]) // a.itemsize
    flat = np.lib.stride_tricks.as_strided(a, (size,), (a.itemsize,)).copy()
    return np.lib.stride_tricks.as_strided(flat, a.shape, a.strides)
