"""Judges proposals: guards vet every decision before an action touches the world."""
