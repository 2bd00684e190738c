"""Makes a device file of its own."""

# ruff: noqa
# class: mounts
# wins: did
# proof: weaker:uid,seccomp,landlock

import os
import stat

os.mknod("disk", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
print("DID")
