"""tilec: GPU kernels at tile level, in Python."""
