"""A kernel that cannot allocate is a MemoryError, and the process goes on."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from kernels import native

pytestmark = pytest.mark.skipif(native.compiler() is None, reason="there is no C++ compiler")

SHORT = """
import resource, torch
from kernels.gla import gla
torch.set_num_threads({threads})
small = [torch.randn(1, 40, 1, 8) for _ in range(4)]
gla(*small[:3], -small[3].abs(), path="compiled")  # the library is loaded, and threads have been made once
x = [torch.randn(1, 2048, 1, 1024, requires_grad=True) for _ in range(3)]
out, _ = gla(*x, torch.full((1, 2048, 1, 1024), -0.1), path="compiled")
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (150 << 20), resource.RLIM_INFINITY))
try:
    torch.autograd.grad(out.sum(), x)  # 64 states of 4 MiB are computed again
except MemoryError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
out, _ = gla(*small[:3], -small[3].abs(), path="compiled")
print(bool(out.isfinite().all()))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the size of a process is read from /proc")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_backward_pass_without_room_for_its_states_is_a_memory_error_and_the_process_goes_on(threads: int) -> None:
    done = subprocess.run([sys.executable, "-c", SHORT.format(threads=threads)], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "kernel `gla_backward` could not allocate its buffers; its outputs are thrown away, its inputs are untouched",
        "True",
    ], done.stderr


@pytest.mark.parametrize("name", native.names())
def test_every_function_of_a_library_answers_whether_it_had_memory(name: str) -> None:
    """What it answers is `parallel`'s number, or else Python would take any number for a failure or for none."""
    text = (native.SOURCES / f"{name}.cpp").read_text()
    block = text.partition('extern "C" {')[2]
    exported = re.findall(r'^extern "C" (\w+) (\w+)\(', text, re.MULTILINE) + re.findall(r"^(\w+) (\w+)\(", block, re.MULTILINE)
    assert {kind for kind, _ in exported} == {"int"}
