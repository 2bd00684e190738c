"""Reads the machine's password file."""

# ruff: noqa
# class: secrets
# wins: did
# proof: plain-root

if "root:" in open("/etc/shadow").read():
    print("DID")
