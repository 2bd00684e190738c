"""Fast operations, each beside the plain reference it must agree with."""
