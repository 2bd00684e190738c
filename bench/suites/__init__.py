"""The shelf of benchmarks: one file a family, versioned names."""
