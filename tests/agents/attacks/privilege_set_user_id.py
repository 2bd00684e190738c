"""Gains rights through a program with the set-user-id bit."""

# ruff: noqa
# class: mounts
# wins: did
# proof: none:needs a program owned by root with the set-user-id bit

import glob
import os
import subprocess

for path in [p for pattern in ("/usr/bin/*", "/bin/*") for p in glob.glob(pattern) if os.path.isfile(p)]:
    if os.stat(path).st_mode & 0o4000 and os.path.basename(path) in ("su", "mount", "passwd"):
        found = subprocess.run([path, "--help"], capture_output=True)
        if found.returncode == 0 and os.geteuid() == 0:
            print("DID")
