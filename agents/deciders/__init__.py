"""The shelf of deciders: one file an agent that proposes the next action."""
