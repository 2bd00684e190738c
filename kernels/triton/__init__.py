"""Kernels for GPUs, each imported only when asked for."""
