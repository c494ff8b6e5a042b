"""Run PTX from any compiler on the CPU, and judge it: races, missing waits, out-of-bounds accesses, bank conflicts, sectors.

    report = tilec.sim.run_ptx(text, "kernel", grid=(16,), block=(128,), args=[x, y, n])
    assert report.findings == [] and report.shared_conflicts == 0
"""

from tilec.sim.report import Finding, LineCost, Report, Site, Unsupported
from tilec.sim.run import load, run_ptx

__all__ = ["Finding", "LineCost", "Report", "Site", "Unsupported", "load", "run_ptx"]
