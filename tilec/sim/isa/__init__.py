"""The instruction table, a file for each family. Importing this package fills `tilec.sim.table.TABLE`."""

from tilec.sim.isa import asynchronous, atomics, control, conversion, floating, integer, matrix, memory, runtime, video, warp

__all__ = ["asynchronous", "atomics", "control", "conversion", "floating", "integer", "matrix", "memory", "runtime", "video", "warp"]
