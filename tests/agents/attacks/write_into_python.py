"""Plants a module in the interpreter's own library."""

# ruff: noqa
# class: writing
# wins: did
# proof: plain-root

import os

place = os.path.join(os.path.dirname(os.__file__), "touchstone_planted.py")
with open(place, "w") as file:
    file.write("x = 1")
print("DID")
os.unlink(place)
