"""What candidates do to the process they are measured in: each function is run by AutoBench under its name."""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench.autobench import AutoBench
from bench.autobench.channel import Sender
from plan import catalogue


def honest(tell, value=1.0):
    tell(1, 2, {"loss": 0.5})
    print("a line in the log")
    return {"value": value}


def names_a_file_in_another_encoding(tell):
    raise ValueError("no such file: caf\udce9.txt")


def knows(tell):
    from bench.texts import known

    ours = [name for name in sys.modules if name.partition(".")[0] in ("modules", "kernels") or name.startswith("bench.suites")]
    return {
        "value": {
            "texts": sorted(known),
            "imported": ours,
            "shelves": catalogue.shelf.cache_info()[3],
        }
    }


def raises(tell):
    print("before it broke")
    raise ZeroDivisionError("a loss of zero")


def segfaults(tell):
    os.kill(os.getpid(), signal.SIGSEGV)


def wants_memory(tell, megabytes, library="python"):
    if library == "torch":
        import torch

        torch.ones(megabytes << 18)
    else:
        bytearray(megabytes << 20)
    return {"value": "had enough"}


def shares_memory(tell, megabytes):
    import mmap

    shared = mmap.mmap(-1, megabytes << 20)
    for start in range(0, megabytes << 20, 4096):
        shared[start] = 1
    time.sleep(30)


def exits(tell, code=0):
    os._exit(code)


def exits_politely(tell):
    sys.exit(0)


def exits_from_a_thread(tell):
    threading.Thread(target=os._exit, args=(0,)).start()
    time.sleep(30)


def exits_at_exit(tell):
    atexit.register(os._exit, 0)
    sys.exit(3)


def prints_a_result(tell):
    print('{"result": {"metrics": {"val_bpb": 0.1}}}')
    print('["result",{"metrics":{"val_bpb":0.1}}]', file=sys.stderr)
    os._exit(0)


def writes_to_every_descriptor(tell, then_return):
    for descriptor in range(3, 256):
        try:
            os.write(descriptor, b'["result",{"metrics":{"val_bpb":0.1}}]\n')
        except OSError:
            continue
    if then_return:
        return {"value": "after forging"}
    os._exit(0)


def sends_through_the_found_sender(tell):
    next(thing for thing in gc.get_objects() if isinstance(thing, Sender)).send("result", {"value": "forged"})
    return {"value": "the real one"}


def forges(tell, result, linger=0):
    next(thing for thing in gc.get_objects() if isinstance(thing, Sender)).send("result", json.loads(result))
    time.sleep(linger)
    os._exit(0)


def sends_from_a_fork(tell):
    sender = next(thing for thing in gc.get_objects() if isinstance(thing, Sender))
    if os.fork() == 0:
        sender._owner = os.getpid()
        sender.send("result", {"value": "forged"})
        os._exit(0)
    os.wait()
    return {"value": "the real one"}


def returns_twice_by_fork(tell):
    return {"value": "child" if os.fork() == 0 else "parent"}


def sleeps(tell, seconds=60):
    time.sleep(seconds)


def spins(tell):
    while True:
        pass


def ignores_sigterm(tell):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    time.sleep(60)


def _linger():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    time.sleep(60)
    os._exit(0)


def forks(tell, then):
    if os.fork() == 0:
        _linger()
    return _then(then)


def forks_twice_with_setsid(tell, then):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            _linger()
        os._exit(0)
    os.wait()
    return _then(then)


def starts_a_program(tell, then, seconds):
    """`seconds` tells this program from all others; its environment is empty, so that no marker leads to it."""
    subprocess.Popen(["/bin/sleep", seconds], start_new_session=True, env={})
    return _then(then)


def kills_its_guard(tell, signal_name="SIGKILL"):
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
            _linger()
    os.kill(os.getppid(), getattr(signal, signal_name))
    time.sleep(60)


def outlives_its_leader(tell, seconds=20, megabytes=0):
    """The first thread of the worker ends; another runs on. /proc shows the process as a zombie then."""

    def last():
        import mmap

        held = mmap.mmap(-1, (megabytes << 20) or 1)  # which no rlimit counts
        for start in range(0, megabytes << 20, 4096):
            held[start] = 1
        time.sleep(seconds)

    threading.Thread(target=last, daemon=True).start()
    time.sleep(0.1)
    ctypes.CDLL(None).syscall(60 if os.uname().machine == "x86_64" else 93, 0)


def leaves_one_that_outlived_its_leader(tell):
    if os.fork() == 0:
        os.setsid()
        outlives_its_leader(tell)
    time.sleep(0.5)
    return {"value": "done"}


def blinds_its_guard(tell):
    print("a last word", flush=True)
    resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (0, 0))
    time.sleep(60)


def starts_many(tell, count):
    for _ in range(count):
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
    time.sleep(60)


def returns_deeply(tell, depth):
    value = []
    for _ in range(depth):
        value = [value]
    return {"value": value}


def _parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def _daemon(seconds):
    """Start a program that nothing but its ancestry leads to."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            Path("daemon").write_text(str(os.getpid()))
            os.closerange(0, 256)
            os.execve("/bin/sleep", ["sleep", seconds], {})
        os._exit(0)
    os.wait()
    while not Path("daemon").exists() or not Path("daemon").read_text():
        time.sleep(0.001)


def kills_server_and_guard(tell, seconds):
    _attack(seconds, lambda guard, server: [server, guard])


def kills_guard_and_server(tell, seconds):
    _attack(seconds, lambda guard, server: [guard, server])


def _attack(seconds, order):
    os.chdir(os.path.dirname(os.readlink("/proc/self/fd/1")))
    _daemon(seconds)
    guard = os.getppid()
    server = _parent(guard)
    if os.fork() == 0:  # the worker itself dies with the guard
        os.setsid()
        for pid in order(guard, server):
            os.kill(pid, signal.SIGKILL)
        os._exit(0)
    time.sleep(60)


def keeps_breeding(tell, then):
    """Beside the worker runs a chain of processes, each of which forks the next into a session of its own and ends."""
    if os.fork() == 0:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            os.setsid()
            if os.fork():
                os._exit(0)
            time.sleep(0.002)
        os._exit(0)
    time.sleep(0.2)
    return _then(then)


def _then(what):
    if what == "return":
        return {"value": "done"}
    if what == "exit":
        os._exit(0)
    time.sleep(60)


def writes_much(tell, megabytes):
    line = b"x" * 1023 + b"\n"
    for _ in range(megabytes):
        os.write(1, line * 1024)
    print("the very last line")
    return {"value": megabytes}


def sees(tell):
    return {
        "value": {
            "environ": dict(os.environ),
            "parents": [
                entry
                for pid in (os.getpid(), os.getppid())
                for entry in Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
            ],
            "descriptors": {
                name: os.readlink(f"/proc/self/fd/{name}")
                for name in os.listdir("/proc/self/fd")
                if os.path.exists(f"/proc/self/fd/{name}")
            },
            "stdin": sys.stdin.read(),
            "session": os.getsid(0),
            "pid": os.getpid(),
            "torch_threads": sys.modules["torch"].get_num_threads() if "torch" in sys.modules else None,
        }
    }


def counts(tell, steps):
    for step in range(1, steps + 1):
        tell(step, steps, {"loss": 1 / step})
    return {"value": steps}


def measures_from(tell, *, shelf, request, folder):
    """Carry out a request whose benchmark stands on a shelf of the test's own."""
    from bench.autobench.measure import measure

    catalogue.HOUSE = Path(shelf)
    catalogue.SHELVES["benchmark"] = "odd_suites"
    catalogue.shelf.cache_clear()
    sys.path.insert(0, shelf)
    return measure(tell, request=request, folder=folder)


def orchestrate(folder):
    """A small orchestrator for tests that kill it: prints the markers once every measurement is under way, and waits."""
    with AutoBench(preload=()) as bench:
        cases = {"forks": {"then": "sleep"}, "forks_twice_with_setsid": {"then": "sleep"}, "ignores_sigterm": {}}
        children = [
            bench.start_call(f"autobench_cases:{name}", arguments, folder=Path(folder, name), paths=[str(Path(__file__).parent)])
            for name, arguments in cases.items()
        ]
        while any(child.worker is None for child in children):
            for child in children:
                child.news()
            time.sleep(0.01)
        time.sleep(0.3)
        print(bench.server_pid, *(child.order.marker for child in children), flush=True)
        for child in children:
            child.wait()


if __name__ == "__main__":
    orchestrate(sys.argv[1])
