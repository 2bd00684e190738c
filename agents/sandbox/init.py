"""The first process of the sandbox: builds the private root, starts the program (and the judge), buries them, returns their files.

It stands between the warden outside and the program inside. In a pid namespace its death is the death of everything in it.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import socket
from contextlib import suppress
from typing import NamedTuple, NoReturn

from agents.sandbox import frames, linux, root, walls
from agents.sandbox.judge import judge
from agents.sandbox.order import MINIMUM, Order

with open(os.path.join(os.path.dirname(__file__), "inside.py"), encoding="utf-8") as _file:
    INSIDE = _file.read()
"""The text of what loads the program in its own process."""
PROGRAM = "program.py"


class Ends(NamedTuple):
    """The descriptors init was given: each is for one purpose and closed in whoever must not have it."""

    news: int
    """To the warden: layers, the end, the files. Never in the program or the judge."""
    verdict: int
    """To the warden, from the judge alone."""
    mark: int
    """The program's socket on which it says that it reached its end."""
    stdout: int
    stderr: int


class Place(NamedTuple):
    """Where init finds itself, as the warden left it."""

    standing: walls.Walls
    """Namespaces, and what became of each."""
    hidden: bool = False
    """In a pid namespace of its own."""
    counted: bool = False
    """RLIMIT_NPROC counts this sandbox alone."""
    mounts: bool = False
    """Whether it may try to build a private root."""
    uid: int | None = None
    """What the program shall become."""


class Setting(NamedTuple):
    """What the program will find: its folder, its text, and where it may write."""

    private: bool
    box: str
    program: str
    writes: tuple[str, ...]
    uid: int | None
    """What the program becomes; none to stay who this is."""
    stage: str = ""
    """A directory on the real disk that holds it all where there is no private root, and has to be removed afterwards."""


def main(order: Order, ends: Ends, place: Place) -> NoReturn:
    """Never returns; whatever goes wrong is told to the warden."""
    try:
        _init(order, ends, place)
    except BaseException as error:
        with suppress(OSError):
            frames.tell(ends.news, failed=_told(error))
    os._exit(0)


def _init(order: Order, ends: Ends, place: Place) -> None:
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    if place.hidden:
        linux.die_with(0)
        with suppress(OSError):
            socket.sethostname("sandbox")
    linux.prctl(linux.PR_SET_DUMPABLE, 0)
    setting = _settle(order, place)
    frames.tell(ends.news, stage=setting.stage)
    caller, called = socket.socketpair()
    channel = ends.mark if order.tests is None else called.fileno()
    hears, tells = os.pipe()
    program = os.fork()
    if program == 0:
        _program(order, ends, place, setting, channel=channel, tells=tells)
    os.close(tells)
    called.close()
    frames.tell(ends.news, **_heard(hears))
    waited = program
    if order.tests is not None:
        waited = os.fork()
        if waited == 0:
            _judge(order, ends, place, setting, caller.fileno())
    caller.close()
    for descriptor in (ends.mark, ends.verdict, ends.stdout, ends.stderr):
        os.close(descriptor)
    status = _await(waited)
    if place.hidden:
        _bury()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    frames.tell(ends.news, ended=status, peak=used.ru_maxrss << 10)
    if setting.private and place.hidden and order.folder:
        for told, body in root.left_in(setting.box, most=order.disk):
            frames.tell(ends.news, **told)
            frames.write(ends.news, body)
    frames.tell(ends.news, done=True)
    signal.pause()


def _settle(order: Order, place: Place) -> Setting:
    """Build the private root, or make do with the real one."""
    if place.mounts and "mounts" not in order.without:
        owner = os.getuid() if place.uid is None else place.uid
        try:
            box = root.build(
                reads=order.reads, folder=order.folder, program=order.source, disk=order.disk, files=order.files, owner=owner
            )
        except root.Unbuildable as error:
            place.standing["mounts"] = f"off: {error}"
        else:
            place.standing["mounts"] = "a root of its own, in memory"
            return Setting(private=True, box=box, program=f"{root.PROGRAM}/{PROGRAM}", writes=(box, "/tmp"), uid=place.uid)
    else:
        place.standing["mounts"] = "off: left out" if "mounts" in order.without else "off: this user may not mount"
    uid = place.uid if walls.reachable(order.python) else None
    stage = f"{next(filter(os.path.isdir, ('/tmp', '/var/tmp')))}/touchstone-sandbox-{os.urandom(8).hex()}"
    os.mkdir(stage, 0o755)
    program, box = f"{stage}/{PROGRAM}", f"{stage}/box"
    with open(program, "x", encoding="utf-8", errors="surrogatepass") as file:
        file.write(order.source or "")
    os.mkdir(box, 0o700)
    owner = os.getuid() if uid is None else uid
    os.chown(box, owner, -1)
    if order.folder is not None:
        root.copy(order.folder, box, owner)
    return Setting(private=False, box=box, program=program, writes=(box,), uid=uid, stage=stage)


def _program(order: Order, ends: Ends, place: Place, setting: Setting, *, channel: int, tells: int) -> NoReturn:
    """Become the program: of all that this process was, it keeps stdout, stderr and one end of `channel`."""
    try:
        os.setsid()
        kept = 20 + os.urandom(1)[0] % 80
        _descriptors({0: os.open(os.devnull, os.O_RDWR), 1: ends.stdout, 2: ends.stderr, kept: channel, 100: tells})
        os.chdir(setting.box)
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_DFL)
        standing = _enter(order, place, setting)
        frames.tell(100, layers=standing)
        environment = {
            **{"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "USER": "sandbox", "LOGNAME": "sandbox"},
            **{"HOME": setting.box, "TMPDIR": setting.writes[-1], "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
            **order.environment,
        }
        argv = list(order.argv)
        if order.source is not None:
            os.set_inheritable(kept, True)
            argv = [order.python, "-I", "-B", "-c", INSIDE, "run" if order.tests is None else "serve", str(kept), setting.program]
        os.execvpe(argv[0], argv, environment)
    except BaseException as error:
        frames.tell(100, failed=_told(error))
    os._exit(127)


def _judge(order: Order, ends: Ends, place: Place, setting: Setting, candidate: int) -> NoReturn:
    """Become the judge, behind the same walls as the program and beside it."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        _descriptors({0: nothing, 1: nothing, 2: nothing, 3: candidate, 4: ends.verdict})
        os.chdir(setting.box)
        _enter(order, place, setting)
        judge(order.tests or "", 3, 4)
    finally:
        os._exit(70)


def _enter(order: Order, place: Place, setting: Setting) -> walls.Walls:
    """Raise the walls; RuntimeError when those that stand guard less than the least."""
    reads = order if setting.private else order._replace(reads=(*order.reads, setting.stage))
    raised = walls.enter(
        reads, uid=setting.uid, private=setting.private, hidden=place.hidden, counted=place.counted, writes=setting.writes
    )
    standing = place.standing | raised
    bare = [what for what, by in MINIMUM.items() if all(standing.get(layer, "off: ").startswith("off: ") for layer in by)]
    if bare and not order.without:
        why = "; ".join(f"{layer} {standing.get(layer, 'off')}" for what in bare for layer in MINIMUM[what])
        raise RuntimeError(f"nothing here walls off {' and '.join(bare)} ({why}); nothing was run")
    return standing


def _descriptors(wanted: dict[int, int]) -> None:
    """Renumber descriptors as `wanted` (new: old) says and close every other."""
    spare = [os.dup2(old, 500 + index, inheritable=False) for index, old in enumerate(wanted.values())]
    for new, copy in zip(wanted, spare, strict=True):
        os.dup2(copy, new, inheritable=new < 3)
    edges = [-1, *sorted(wanted), os.sysconf("SC_OPEN_MAX")]
    for low, high in itertools.pairwise(edges):
        if low + 1 < high:  # an empty range closes everything in Python 3.11
            os.closerange(low + 1, high)


def _heard(hears: int) -> dict[str, object]:
    """What the program's process said before it became the program; RuntimeError when it failed to."""
    said: dict[str, object] = {}
    while frame := frames.read(hears):
        said |= json.loads(frame)
    os.close(hears)
    if "failed" in said or not said:
        raise RuntimeError(said.get("failed", "the program's process died while it was being confined"))
    return said


def _await(wanted: int) -> int:
    """Reap whatever ends until `wanted` does; its wait status."""
    while True:
        pid, status = os.wait()
        if pid == wanted:
            return status


def _bury() -> None:
    """Kill and reap everything else in this pid namespace."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, OSError | RuntimeError) else f"{type(error).__name__}: {error}"
