"""The sandbox keeps what it promises to its caller: verdicts, limits, files, cancellation, death, and each wall by itself."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
import pytest

from agents import sandbox
from agents.sandbox import client, landlock, seccomp, syscalls
from plan.nouns import Status

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
HOUSE = Path(__file__).parents[2]
NAMESPACES = ("mounts", "pids", "network", "ipc", "uts", "cgroup", "user")


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("print('fine')", Status.OK),
        ("raise ValueError('no')", Status.CRASHED),
        ("import sys; sys.exit(3)", Status.CRASHED),
        ("import os; os._exit(0)\nassert False", Status.EXITED_EARLY),
        ("import sys\ndef f(): sys.exit(0)\nassert f() == 3", Status.EXITED_EARLY),
        ("import sys, os\nsys.excepthook = lambda *_: os._exit(0)\nassert False", Status.CRASHED),
        ("import builtins, sys\nsys.exit = lambda *_: None\nassert False", Status.CRASHED),
        ("import os, sys\nos.execv(sys.executable, [sys.executable, '-IS', '-c', ''])", Status.EXITED_EARLY),
        (
            "import os\nfor fd in range(3, 200):\n    try: os.write(fd, b'PASS')\n    except OSError: pass\nos._exit(0)",
            Status.FORGED,
        ),
        ("import os; os.abort()", Status.CRASHED),
        ("while True: pass", Status.TIMED_OUT),
        ("x = b'x' * (1 << 30)", Status.OUT_OF_MEMORY),
        ("def f(:", Status.CRASHED),
        ("import sys; sys.exit(0)", Status.OK),
    ],
)
def test_a_program_is_ok_only_when_it_ran_to_its_end(program: str, status: Status) -> None:
    outcome = sandbox.run(program, seconds=1.5)
    assert outcome.status is status, outcome
    assert outcome.ok is (status is Status.OK)


@pytest.mark.parametrize("answer", ["x + 1", "[x, (1, 2.5), {'a': {1}}, None, b'x', 1j, 10**5000, float('inf')][0] + 1"])
def test_tests_in_another_process_pass_what_is_right(answer: str) -> None:
    program = f"limit = 7\nclass Wrong(ValueError): pass\ndef f(x):\n    if x < 0: raise Wrong('negative')\n    return {answer}"
    tests = (
        "import candidate, unittest\nassert f(2) == 3 and candidate.f(x=9) == 10 and limit == 7\n"
        "try:\n    f(-1)\nexcept ValueError as error:\n    assert 'negative' in str(error)\nelse:\n    raise AssertionError\n"
    )
    assert sandbox.run(program, tests=tests).ok


def test_every_kind_of_data_arrives_as_it_was() -> None:
    value = "[None, True, -3, 2.5, float('-inf'), 1e-320, 'é\\ud800', b'\\0', (1, (2,)), {1, 2}, frozenset([3]), {'a': [1], (1, 2): None}, 2j]"
    tests = f"want = {value}\nassert f() == want and [type(a) for a in f()] == [type(a) for a in want]\nassert f(want) == want"
    assert sandbox.run(f"def f(x=None):\n    return {value} if x is None else x", tests=tests).message == "every test passed"


def test_the_program_does_not_see_its_tests() -> None:
    look = "import gc, sys\ndef f(x):\n    return any('hidden-marker' in repr(o) for o in gc.get_objects() if isinstance(o, (str, dict, list)))"
    assert sandbox.run(look, tests="'hidden-marker'\nassert f(1) is False").ok


def test_a_command_runs_in_its_folder_and_what_it_writes_comes_back(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("7")
    (tmp_path / "sub").mkdir()
    program = "import pathlib; pathlib.Path('sub/out.txt').write_text(pathlib.Path('in.txt').read_text() * 2)"
    outcome = sandbox.run([sys.executable, "-I", "-c", program], folder=tmp_path)
    assert (outcome.status, (tmp_path / "sub/out.txt").read_text()) == (Status.OK, "77")


def test_what_a_program_wrote_before_it_was_stopped_does_not_come_back(tmp_path: Path) -> None:
    sandbox.run("open('x', 'w').write('x')\nwhile True: pass", folder=tmp_path, seconds=0.5)
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_named_can_be_read(tmp_path: Path) -> None:
    for name in ("shown", "kept"):
        (tmp_path / name).write_text(name)
    program = f"print(open({str(tmp_path / 'shown')!r}).read())\nopen({str(tmp_path / 'kept')!r})"
    outcome = sandbox.run(program, reads=[tmp_path / "shown"])
    assert outcome.stdout == b"shown\n"
    assert "FileNotFoundError" in outcome.message or "PermissionError" in outcome.message


def test_nothing_is_inherited_and_what_is_given_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    outcome = sandbox.run("import os; print(dict(os.environ))", environment={"GIVEN": "yes"})
    assert b"sk-secret" not in outcome.stdout
    assert b"'GIVEN': 'yes'" in outcome.stdout


def test_a_message_is_a_sentence_however_long_the_last_line_was() -> None:
    outcome = sandbox.run("import sys\nsys.stderr.write('\\u202e' * 300_000)\nsys.exit(3)")
    assert outcome.message.startswith("exit code 3: ")
    assert len(outcome.message) < 4_000


def test_output_is_cut_and_harmless_on_a_terminal() -> None:
    outcome = sandbox.run("print('\\x1b[2Jé' + 'x' * 5000)", output=1000)
    assert (len(outcome.stdout), outcome.truncated, outcome.ok) == (1000, True, True)
    assert outcome.shown.startswith("\\x1b[2Jé")


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
def test_cancelling_kills_the_whole_tree(anyio_backend: str) -> None:
    marker = f"{time.time()}"
    program = f"import os, sys, time\nif os.fork() == 0:\n    os.setsid()\nos.execv(sys.executable, [sys.executable, '-IS', '-c', 'import time; time.sleep(60)', {marker!r}])"

    async def cancelled() -> bool:
        with anyio.move_on_after(1.0) as scope:
            await sandbox.run_async(program, seconds=30)
        return scope.cancelled_caught

    assert anyio.run(cancelled, backend=anyio_backend)
    assert _alive(marker) == []


@pytest.mark.parametrize("victim", ["caller", "warden"])
def test_nothing_survives_a_sigkill_of_the_caller_or_the_warden(victim: str) -> None:
    marker = f"{time.time()}"
    program = f"import os, sys\\nif os.fork() == 0:\\n    os.setsid()\\nos.execv(sys.executable, [sys.executable, '-IS', '-c', 'import time; time.sleep(60)', {marker!r}])"
    caller = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from agents import sandbox; sandbox.run({program.encode().decode('unicode_escape')!r}, seconds=50)",
        ],
        cwd=HOUSE,
    )
    limit = time.monotonic() + 20
    while len(_alive(marker)) < 2:
        assert time.monotonic() < limit, "the program never started"
        time.sleep(0.02)
    target = caller.pid if victim == "caller" else _children(caller.pid)[0]
    os.kill(target, signal.SIGKILL)
    caller.wait()
    while _alive(marker):
        assert time.monotonic() < limit, "the program survived"
        time.sleep(0.02)


def test_a_sandbox_can_be_left_early() -> None:
    with sandbox.start("while True: pass", seconds=60) as running:
        began = time.monotonic()
        running.kill()
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["range", "abs", "zip", "sorted", "isinstance"])
def test_a_candidates_own_built_ins_do_not_judge_it(name: str) -> None:
    program = f"def {name}(*a): return []\ndef f(x): return 0"
    outcome = sandbox.run(program, tests="for i in range(1, 5):\n    assert abs(f(i)) == i + 1 and sorted(zip([2]))")
    assert not outcome.ok, outcome


def test_the_judge_imports_nothing_that_the_program_wrote_where_the_house_lies(tmp_path: Path) -> None:
    for name in ("agents", "plan"):
        shutil.copytree(HOUSE / name, tmp_path / "house" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("alignment", "bench"):
        (tmp_path / "house" / name).symlink_to(HOUSE / name)
    program = (
        f"import os\nos.makedirs({str(tmp_path / 'house')!r}, exist_ok=True)\n"
        f"open({str(tmp_path / 'house' / 'lies.py')!r}, 'w').write('raise SystemExit')\ndef f(x): return 0"
    )
    script = f"from agents import sandbox; print(sandbox.run({program!r}, tests='import lies\\nassert f(1) == 2').ok)"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "house")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == "False\n", done


def test_without_a_private_root_no_mode_and_no_time_of_a_file_changes(tmp_path: Path) -> None:
    secret = tmp_path / "mine"
    secret.write_text("x")
    secret.chmod(0o600)
    before = secret.stat()
    program = (
        f"import os\np = {str(secret)!r}\n"
        "for act in (lambda: os.chmod(p, 0o666), lambda: os.utime(p, (1, 1)), lambda: os.chmod('/tmp', 0o777)):\n"
        "    try: act()\n    except OSError: print('refused')\n"
    )
    outcome = sandbox.run(program, without=("mounts",))
    assert outcome.stdout == b"refused\n" * 3, outcome
    assert (secret.stat().st_mode, secret.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


@pytest.mark.parametrize("without", [("mounts",), ("landlock",), NAMESPACES, ("pids",), ("seccomp",), ("mounts", "user")])
def test_what_is_left_of_the_walls_still_keeps_files_and_secrets(without: tuple[str, ...], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("canary")
    program = (
        f"for act in (lambda: print(open({str(secret)!r}).read()), lambda: open({str(tmp_path / 'x')!r}, 'w')):\n"
        "    try: act()\n    except OSError as error: print('refused')\nopen('mine', 'w').write('x')\nprint(open('mine').read())"
    )
    outcome = sandbox.run(program, without=without)
    assert outcome.stdout == b"refused\nrefused\nx\n", outcome
    assert not (tmp_path / "x").exists()
    assert {layer.name for layer in outcome.layers if not layer.on} >= set(without) - {"user"}


def test_files_come_back_and_limits_hold_without_a_private_root(tmp_path: Path) -> None:
    assert sandbox.run("open('out', 'w').write('7')", folder=tmp_path, without=NAMESPACES).ok
    assert (tmp_path / "out").read_text() == "7"
    fill = "import time\nfor i in range(9):\n    open(f'f{i}', 'wb').write(b'x' * (1 << 20))\ntime.sleep(5)"
    assert "files held" in sandbox.run(fill, disk=4 << 20, seconds=8, without=NAMESPACES).message


def test_nothing_runs_where_nothing_guards(monkeypatch: pytest.MonkeyPatch) -> None:
    off = (
        "warden.walls.landlock.version = lambda: 0; warden.linux.unshare = lambda flags: (_ for _ in ()).throw(OSError(1, 'no'))"
    )
    blind = client.BOOT.replace("warden.main", f"{off}; warden.main")
    monkeypatch.setattr(client, "BOOT", blind)
    with pytest.raises(sandbox.Unconfined, match=r"nothing here walls off files.*nothing was run"):
        sandbox.run("print('hello')")


def test_a_missing_wall_is_told_loudly(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        client, "BOOT", client.BOOT.replace("warden.main", "warden.walls.landlock.version = lambda: 0; warden.main")
    )
    assert sandbox.run("").ok
    assert "SANDBOX WEAKER THAN IT COULD BE: landlock (this kernel has none)" in capsys.readouterr().err


def test_this_machines_layers_are_all_tried() -> None:
    names = {layer.name for layer in sandbox.layers()}
    assert names >= {"mounts", "pids", "network", "ipc", "uts", "landlock", "seccomp", "uid", "rlimits", "no-new-privileges"}


@pytest.mark.parametrize(("name", "inside"), [("../x", False), ("/etc/x", False), ("a/../../x", False), ("a/b", True)])
def test_files_are_taken_back_into_the_folder_only(name: str, inside: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if inside:
        client.take(folder, name, b"x", executable=False)
        assert (folder / name).read_bytes() == b"x"
    else:
        with pytest.raises(ValueError, match="does not lie in"):
            client.take(folder, name, b"x", executable=False)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def interpret(program: bytes, *, audit: int, number: int, arguments: Mapping[int, int]) -> int:
    """What a classic BPF program answers to one system call: written from the BPF instruction set, not from the assembler."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *(arguments.get(index, 0) & 0xFFFFFFFFFFFFFFFF for index in range(6)))
    lines = list(struct.iter_unpack("=HBBI", program))
    accumulator = at = 0
    for _ in range(len(lines)):
        code, yes, no, constant = lines[at]
        at += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, constant)
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x06:
            return constant
        elif code in (0x15, 0x35, 0x45):
            true = {0x15: accumulator == constant, 0x35: accumulator >= constant, 0x45: bool(accumulator & constant)}[code]
            at += yes if true else no
        else:
            raise AssertionError(f"unknown instruction {code:#x}")
    raise AssertionError("the program does not end")


REFUSED = 0x00050000 | errno.EPERM


@pytest.mark.parametrize("name", syscalls.ARCHITECTURES)
def test_the_filter_allows_exactly_the_table_on_every_architecture(name: str) -> None:
    architecture = syscalls.ARCHITECTURES[name]
    rules = seccomp.conditions()
    program = seccomp.assemble(architecture, rules)
    assert len(program) // 8 <= 4096
    known = syscalls.numbers(architecture)
    free = {number for call, number in known.items() if call not in rules}
    conditional = {known[call] for call in rules if call in known}
    for number in range(600):
        answer = interpret(program, audit=architecture.audit, number=number, arguments={})
        if number == 435:
            assert answer == 0x00050000 | errno.ENOSYS
        elif number in free:
            assert answer == 0x7FFF0000, number
        elif number not in conditional:
            assert answer == REFUSED, number


@pytest.mark.parametrize("name", syscalls.ARCHITECTURES)
@pytest.mark.parametrize(
    ("call", "arguments", "allowed"),
    [
        ("clone", {0: 0x01200011}, True),
        ("clone", {0: 0x3D0F00}, True),
        *(
            ("clone", {0: flag | 17}, False)
            for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
        ),
        ("clone", {0: 0x8011}, False),
        ("socketpair", {0: 1, 1: 1}, True),
        ("socketpair", {0: 1, 1: 0o2004001}, True),
        ("socketpair", {0: 1, 1: 2}, False),
        ("socketpair", {0: 2, 1: 1}, False),
        ("ioctl", {1: 0x5401}, True),
        ("ioctl", {1: 0x5412}, False),
        ("ioctl", {1: 0x5412 | 1 << 32}, False),
        ("fcntl", {1: 1030}, True),
        ("fcntl", {1: 1031}, False),
        ("prctl", {0: 15}, True),
        ("prctl", {0: 22}, False),
        ("prlimit64", {0: 0}, True),
        ("prlimit64", {0: 1}, False),
    ],
)
def test_conditions_on_arguments_hold(name: str, call: str, arguments: dict[int, int], allowed: bool) -> None:
    architecture = syscalls.ARCHITECTURES[name]
    program = seccomp.assemble(architecture, seccomp.conditions())
    number = syscalls.numbers(architecture)[call]
    answer = interpret(program, audit=architecture.audit, number=number, arguments=arguments)
    assert answer == (0x7FFF0000 if allowed else REFUSED)


def test_another_entry_into_the_kernel_ends_the_process() -> None:
    program = seccomp.assemble(syscalls.ARCHITECTURES["x86_64"], seccomp.conditions())
    for audit, number in ((0x40000003, 1), (0xC00000B7, 63), (0xC000003E, 0x40000000)):
        assert interpret(program, audit=audit, number=number, arguments={}) == 0x80000000


def test_without_a_pid_namespace_signals_reach_oneself_only() -> None:
    architecture = syscalls.ARCHITECTURES["x86_64"]
    program = seccomp.assemble(architecture, seccomp.conditions(own_pid=77, may_fork=False))
    for call, target, allowed in (
        ("kill", 77, True),
        ("kill", 0, True),
        ("kill", 1, False),
        ("kill", -1, False),
        ("tgkill", 78, False),
    ):
        number = syscalls.numbers(architecture)[call]
        answer = interpret(program, audit=architecture.audit, number=number, arguments={0: target})
        assert (answer == 0x7FFF0000) is allowed
    for call in ("fork", "vfork", "clone"):
        assert interpret(program, audit=architecture.audit, number=syscalls.numbers(architecture)[call], arguments={}) == REFUSED


@pytest.mark.parametrize(
    ("abi", "files", "network", "scopes"),
    [(1, 13, 0, 0), (2, 14, 0, 0), (3, 15, 0, 0), (4, 15, 2, 0), (5, 16, 2, 0), (7, 16, 2, 2)],
)
def test_landlock_asks_for_what_each_version_knows(abi: int, files: int, network: int, scopes: int) -> None:
    assert [number.bit_count() for number in landlock.handled(abi)] == [files, network, scopes]


def _alive(marker: str) -> list[int]:
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if marker.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(int(pid))
        except OSError:
            continue
    return found


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
