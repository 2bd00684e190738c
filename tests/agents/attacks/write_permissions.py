"""Opens a file outside for everybody."""

# ruff: noqa
# class: writing
# wins: write
# proof: plain

import os

os.chmod(SCENE["precious"], 0o777)
