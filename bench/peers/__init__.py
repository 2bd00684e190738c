"""Contests with the strongest public CPU implementations, one file per operation; none of them is a dependency of the house."""
