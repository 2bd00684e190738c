"""Tests compute on one thread, as every measurement does: how much memory a kernel takes depends on how many share its work."""

import os

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
