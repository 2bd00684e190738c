"""The warden: a fresh interpreter outside the walls that starts the sandbox's first process, watches it, and leaves nothing of it.

`python -I -S -c ... DESCRIPTOR` with a scrubbed environment: it never had the caller's memory, environment or descriptors, so
nothing that it starts can have them either. It takes one order and ends when that is done, when its caller is gone, or when killed.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from contextlib import suppress
from typing import Any, NoReturn

from agents.sandbox import frames, init, linux, root, walls, watch
from agents.sandbox.order import Order

LOOK = 0.02
"""Seconds between two looks at the tree's memory."""
SPACES = {
    "pids": (linux.NEW_PID, "sees no process but its own; all die with the first"),
    "network": (linux.NEW_NET, "no interface, not even loopback"),
    "ipc": (linux.NEW_IPC, "System V and POSIX queues of its own"),
    "uts": (linux.NEW_UTS, "a host name of its own"),
    "cgroup": (linux.NEW_CGROUP, "sees no control groups"),
}


def main(link: int) -> NoReturn:
    """Carry out the order that comes by `link`, write the answer there, and exit."""
    linux.prctl(linux.PR_SET_SUBREAPER, 1)
    asked = json.loads(frames.read(link) or b"{}")
    nonce = asked.pop("nonce")
    fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    order = Order(**fields)
    watcher = _Watch(order, link)
    watcher.until_the_end()
    frames.tell(link, nonce=nonce, **watcher.facts)
    for name in ("stdout", "stderr"):
        frames.write(link, bytes(watcher.output[name]))
    for told, body in watcher.files:
        frames.tell(link, **told)
        frames.write(link, body)
    frames.tell(link, done=True)
    os._exit(0)


def separate(order: Order) -> init.Place:
    """Take the next child of this process out of the machine's namespaces; what was possible."""
    uid, gid = os.getuid(), os.getgid()
    spaces = {name: space for name, space in SPACES.items() if name not in order.without}
    standing = dict.fromkeys(SPACES, "off: left out")
    own_user = False
    if uid != 0 or not _may_mount():
        standing["user"], own_user = _own_user(uid, gid) if "user" not in order.without else ("off: left out", False)
    done = 0
    for name, (flag, worth) in spaces.items():
        try:
            linux.unshare(flag)
            standing[name] = worth
            done |= flag
        except OSError as error:
            standing[name] = f"off: {error}"
    return init.Place(
        standing=standing,
        hidden=bool(done & linux.NEW_PID),
        counted=(uid == 0 and not own_user) or (own_user and _counts_per_namespace()),
        mounts=uid == 0 or own_user,
        uid=walls.stranger() if uid == 0 and not own_user else None,
    )


def _own_user(uid: int, gid: int) -> tuple[str, bool]:
    """Enter a user namespace in which this user is itself (root is nobody) and nobody else exists."""
    inside = uid or walls.NOBODY
    try:
        linux.unshare(linux.NEW_USER)
        with suppress(OSError):
            _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{inside} {uid} 1")
        _write("/proc/self/gid_map", f"{inside} {gid} 1")
    except OSError as error:
        return f"off: {error}", False
    return "its capabilities mean nothing outside", True


def _may_mount() -> bool:
    """Whether root has CAP_SYS_ADMIN here (a container's root often has not)."""
    with suppress(OSError), open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) & 1 << 21)
    return False


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def _counts_per_namespace() -> bool:
    """Since Linux 5.14 RLIMIT_NPROC counts the tasks of each user namespace by itself."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(filter(str.isdigit, minor)) or 0)) >= (5, 14)


class _Watch:
    """One sandbox from its first process to the last."""

    def __init__(self, order: Order, link: int) -> None:
        self.order, self.link = order, link
        self.facts: dict[str, Any] = {"peak": 0, "truncated": False, "stopped": "", "marked": "", "verdict": None}
        self.output = {"stdout": bytearray(), "stderr": bytearray()}
        self.files: list[tuple[dict[str, Any], bytes]] = []
        self.token = os.urandom(32)
        place = separate(order)
        news, verdict, out, err = (os.pipe() for _ in range(4))
        ours, theirs = socket.socketpair()
        ours.sendall(self.token)
        self.began = time.monotonic()
        self.init = os.fork()
        if self.init == 0:
            try:
                for descriptor in (link, news[0], verdict[0], out[0], err[0], ours.detach()):
                    os.close(descriptor)
                ends = init.Ends(news=news[1], verdict=verdict[1], mark=theirs.detach(), stdout=out[1], stderr=err[1])
                init.main(order, ends, place)
            finally:
                os._exit(70)
        for descriptor in (news[1], verdict[1], out[1], err[1], theirs.detach()):
            os.close(descriptor)
        if place.hidden:  # then the death of this process is the death of the first in there, and so of all
            linux.prctl(linux.PR_SET_PDEATHSIG, 9)
        self.facts["layers"] = place.standing
        self.news, self.verdict, self.mark = news[0], verdict[0], ours.detach()
        self.streams = {out[0]: "stdout", err[0]: "stderr"}
        self.over = False

    def until_the_end(self) -> None:
        """Return when nothing of the tree is left; `facts`, `output` and `files` then tell how it went."""
        poll = select.poll()
        for descriptor in (self.link, self.news, self.verdict, self.mark, *self.streams):
            poll.register(descriptor, select.POLLIN)
        deadline = self.began + self.order.seconds
        look = self.began
        while not self.over and not self.facts["stopped"]:
            until = min(deadline, look)
            for descriptor, _ in poll.poll(max(0.0, until - time.monotonic()) * 1000 + 1):
                if not self._heard(descriptor):
                    poll.unregister(descriptor)
            now = time.monotonic()
            if now >= deadline and not self.over:
                self.facts["stopped"] = "time"
            elif now >= look:
                self._look()
                look = now + LOOK
        watch.end(self.init)
        self.facts["seconds"] = time.monotonic() - self.began
        for descriptor in (self.verdict, self.mark, *self.streams):
            os.set_blocking(descriptor, False)
            with suppress(OSError, ValueError):
                while self._heard(descriptor):
                    pass
        if stage := self.facts.pop("stage", ""):
            if self.order.folder and "ended" in self.facts:
                self.files += root.left_in(f"{stage}/box", most=self.order.disk)
            import shutil

            shutil.rmtree(stage, ignore_errors=True)

    def _heard(self, descriptor: int) -> bool:
        """Take in what `descriptor` has; False at its end."""
        if descriptor == self.link:
            self.facts["stopped"] = "caller"
            return False
        if descriptor == self.news:
            return self._told()
        if descriptor == self.verdict:
            body = frames.read(descriptor)
            self.facts["verdict"] = json.loads(body) if body else self.facts["verdict"]
            return body is not None
        try:
            part = os.read(descriptor, 1 << 16)
        except ConnectionResetError:  # the program ended with its token unread
            return False
        if descriptor == self.mark:
            said = bytes.fromhex(self.facts["marked"]) + part
            self.facts["marked"] = said[:64].hex()
            self.facts["finished"], self.facts["forged"] = said == self.token, bool(said) and not self.token.startswith(said)
        else:
            kept = self.output[self.streams[descriptor]]
            room = self.order.output - len(kept)
            kept += part[:room]
            self.facts["truncated"] |= len(part) > room
        return bool(part)

    def _told(self) -> bool:
        body = frames.read(self.news)
        if body is None:
            self.over = True
            return False
        told = json.loads(body)
        if "file" in told:
            self.files.append((told, frames.read(self.news) or b""))
            return True
        self.facts["peak"] = max(self.facts["peak"], told.pop("peak", 0))
        self.over = bool(told.pop("done", False)) or "failed" in told
        self.facts |= told
        return True

    def _look(self) -> None:
        used = watch.memory(watch.below(self.init))
        if not self.facts["layers"]["network"].startswith("off: "):
            used += watch.waiting(self.init)
        self.facts["peak"] = max(self.facts["peak"], used)
        if used > self.order.memory:
            self.facts["stopped"] = "memory"
        if stage := self.facts.get("stage"):  # on a real disk only looking limits the whole
            size, count = root.held_by(f"{stage}/box")
            if size > self.order.disk or count > self.order.files:
                self.facts["stopped"] = "disk"
