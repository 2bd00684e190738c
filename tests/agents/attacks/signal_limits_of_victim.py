"""Takes away another process's limits."""

# ruff: noqa
# class: signals
# wins: did
# proof: plain

import resource

resource.prlimit(SCENE["victim"], resource.RLIMIT_NOFILE, (4, 4))
print("DID")
