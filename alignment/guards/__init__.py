"""The shelf of guards: one file a clause."""
