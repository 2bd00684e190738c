"""The shelf of worlds to act in."""
