"""Decides and acts: the orchestrator, its command line, deciders, actions and displays."""
