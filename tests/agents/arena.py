"""Runs the attack corpus, each attack beside things worth stealing and breaking, and sees from outside whether it won.

    python tests/agents/arena.py confined|proof|honest [NAME ...]      one JSON line each

Needs the standard library only, so that it also runs as a user who cannot read the test environment. `proof` lets an attack win, to show
that its check can fire: as an ordinary child with nothing around it where that is harmless, else with the wall left out that stops it, or
with a larger limit.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ATTACKS, HONEST = HERE / "attacks", HERE / "honest"
LIMITS: dict[str, Any] = {"seconds": 6.0, "memory": 96 << 20, "disk": 16 << 20, "files": 500, "processes": 16, "output": 1 << 20}
LARGER = {"disk": 192 << 20, "files": 9000, "memory": 1 << 30, "processes": 120}
"""Limits at which an attack on one of them wins: the proof that the limit, and nothing else, stopped it."""
MOST = {
    "held": int(1.5 * LIMITS["disk"]),
    "count": LIMITS["files"] + 20,
    "memory": int(1.5 * LIMITS["memory"]),
    "descriptors": 140,
    "tasks": LIMITS["processes"] + 6,
}
"""What an attack may report as held without having won."""
SHORT = 1.0
"""Seconds given to attacks that try to outlast their time."""
WRONG = "assert f(2) == 3\nassert f(10) == 11\n"
"""Tests that no attack's `f` passes."""
HOLDER = """
import ctypes, os, sys, tempfile, time
secret = os.environ["ARENA_SECRET"].encode()
room = ctypes.create_string_buffer(secret, 256)
nameless = tempfile.TemporaryFile(dir=".", buffering=0)
nameless.write(secret)
print(ctypes.addressof(room), nameless.fileno(), flush=True)
time.sleep(3600)
"""
"""A process that keeps the secret in its environment, its memory, and a file without a name."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One file of the corpus."""

    name: str
    text: str
    kind: str
    wins: str
    proof: str
    """`plain`, `plain-root`, `larger:LIMIT`, `weaker:LAYERS`, or `none:` and the reason."""


def corpus() -> dict[str, Attack]:
    """Every attack by name."""
    found = {}
    for path in sorted(ATTACKS.glob("*.py")):
        text = path.read_text()
        facts = dict(re.findall(r"^# (class|wins|proof): (.*)$", text, re.MULTILINE))
        found[path.stem] = Attack(name=path.stem, text=text, kind=facts["class"], wins=facts["wins"], proof=facts["proof"])
    return found


class Arena:
    """A secret in every place a process can keep one, a victim, listeners, and places to write."""

    def __init__(self) -> None:
        self.hint = "canary" + secrets.token_hex(3)
        self.secret = self.hint + secrets.token_hex(12)
        self.scratch = Path(tempfile.mkdtemp(prefix="arena-"))
        self.scratch.chmod(0o755)
        for name in ("home", "vault"):
            (self.scratch / name).mkdir()
        (self.scratch / "vault/secret.txt").write_text(self.secret)
        (self.scratch / "home/.netrc").write_text(self.secret)
        os.environ["ARENA_SECRET"] = self.secret
        self.inherited = os.open(self.scratch / "vault/secret.txt", os.O_RDONLY)
        os.set_inheritable(self.inherited, True)
        self.keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", HOLDER],
            env={"ARENA_SECRET": self.secret},
            stdout=subprocess.PIPE,
            cwd=self.scratch,
        )
        assert self.keeper.stdout
        self.holder = self.keeper.pid
        self.address, self.descriptor = map(int, self.keeper.stdout.readline().split())
        self.victim: subprocess.Popen[bytes] | None = None
        self.listeners = {name: self._listener(name) for name in ("tcp", "udp", "unix", "abstract", "datagrams")}

    def _listener(self, name: str) -> socket.socket:
        family = socket.AF_INET if name in ("tcp", "udp") else socket.AF_UNIX
        door = socket.socket(family, socket.SOCK_DGRAM if name in ("udp", "datagrams") else socket.SOCK_STREAM)
        places: dict[str, Any] = {"unix": str(self.scratch / "unix"), "datagrams": str(self.scratch / "datagrams")}
        door.bind(places.get(name, "\0" + self.hint) if family == socket.AF_UNIX else ("127.0.0.1", 0))
        if name in ("tcp", "unix", "abstract"):
            door.listen()
        door.setblocking(False)
        return door

    def scene(self, marker: str) -> dict[str, Any]:
        """What an attack is told: everything but the secret."""
        assert self.victim
        return {
            "scratch": str(self.scratch),
            "secret": str(self.scratch / "vault/secret.txt"),
            "home": str(self.scratch / "home"),
            "loot": str(self.scratch / "loot"),
            "precious": str(self.scratch / "precious"),
            "hint": self.hint,
            "holder": self.holder,
            "address": self.address,
            "descriptor": self.descriptor,
            "victim": self.victim.pid,
            "marker": marker,
            "tcp": self.listeners["tcp"].getsockname()[1],
            "udp": self.listeners["udp"].getsockname()[1],
            "unix": str(self.scratch / "unix"),
            "datagrams": str(self.scratch / "datagrams"),
            "abstract": self.hint,
        }

    def fight(self, attack: Attack, *, how: str) -> dict[str, Any]:
        """Let one attack run, `confined`, `plain` or as its own proof says, and report whether it `won`."""
        self._prepare()
        marker = f"{600 + secrets.randbelow(300)}.{secrets.randbelow(10**9):09d}"
        program = f"SCENE = {self.scene(marker)!r}\n{attack.text}"
        folder = self.scratch / "folder"
        began = time.monotonic()
        report: dict[str, Any] = {"name": attack.name, "status": "", "message": ""}
        if how == "plain" or (how == "proof" and attack.proof.startswith("plain")):
            stdout, shown, forged, late = self._plain(attack, program, folder)
        else:
            stdout, shown, forged, status, message = _confined(attack, program, folder, how)
            late = time.monotonic() - began > (SHORT if attack.wins == "outlast" else LIMITS["seconds"]) + 3
            report |= {"status": status, "message": message}
        report["seconds"] = time.monotonic() - began
        time.sleep(0.02)
        seen = stdout + self._heard() + _contents(self.scratch / "loot")
        won = {
            "leak": self.secret.encode() in seen,
            "leak-folder": self.secret.encode() in seen + _contents(folder),
            "write": self._touched(),
            "did": b"DID" in stdout,
            "output": len(stdout) > 2.5 * LIMITS["output"],
            "survive": bool(_alive(marker)),
            "victim": not self._victim_is_well(),
            "forged": forged,
            "steer": any(not (sign.isprintable() or sign in "\n\t") for sign in shown),
            "outlast": late,
            "reach": bool(self._last_heard),
        }
        if attack.wins in MOST:
            held = [int(number) for number in re.findall(rb"HELD (\d+)", stdout)]
            won[attack.wins] = max(held, default=0) > MOST[attack.wins]
        for pid in _alive(marker):
            os.kill(pid, signal.SIGKILL)
        return report | {"won": won[attack.wins], "tail": stdout[-300:].decode(errors="replace")}

    def _plain(self, attack: Attack, program: str, folder: Path) -> tuple[bytes, str, bool, bool]:
        text = folder / "program.py"
        text.write_text(program + (WRONG if attack.wins == "forged" else ""))
        output = self.scratch / "output"
        with output.open("wb") as file:
            child = subprocess.Popen(
                [sys.executable, "-S", text.name],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=folder,
                close_fds=False,
                start_new_session=True,
            )
            late = False
            try:
                child.wait(SHORT if attack.wins == "outlast" else 20)
                late = attack.name == "daemon_holding_output"  # whoever reads its output to the end waits for the child's child
            except subprocess.TimeoutExpired:
                late = True
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        stdout = output.read_bytes()
        return stdout, stdout.decode(errors="replace"), child.returncode == 0, late

    def _prepare(self) -> None:
        loot, folder, precious = (self.scratch / name for name in ("loot", "folder", "precious"))
        for place in (loot, folder):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
        (folder / "elsewhere").symlink_to(loot)
        precious.unlink(missing_ok=True)
        precious.write_text("precious")
        precious.chmod(0o640)
        os.utime(precious, (1000, 1000))
        if not self._victim_is_well():
            if self.victim:
                self.victim.kill()
                self.victim.wait()
            self.victim = subprocess.Popen(["sleep", "600"])
        self._heard()

    def _victim_is_well(self) -> bool:
        if not self.victim or self.victim.poll() is not None:
            return False
        return Path(f"/proc/{self.victim.pid}/stat").read_text().rpartition(")")[2].split()[0] in "SR"

    def _touched(self) -> bool:
        precious = self.scratch / "precious"
        if any((self.scratch / "loot").iterdir()) or not precious.exists():
            return True
        facts = precious.stat()
        known = (precious.read_text(), facts.st_mode & 0o777, facts.st_mtime, os.listxattr(precious))
        return known != ("precious", 0o640, 1000.0, [])

    def _heard(self) -> bytes:
        """What arrived at any listener since it was last asked; a connection without a word counts as one."""
        heard = b""
        for name, door in self.listeners.items():
            with suppress(BlockingIOError):
                while True:
                    if name in ("udp", "datagrams"):
                        heard += door.recv(4096) + b"\n"
                    else:
                        link, _ = door.accept()
                        link.settimeout(0.2)
                        heard += b"connected\n"
                        with suppress(OSError):
                            heard += link.recv(4096)
                        link.close()
        self._last_heard = heard
        return heard

    def close(self) -> None:
        """End what it started, remove what it made."""
        for child in filter(None, (self.keeper, self.victim)):
            child.kill()
            child.wait()
        for door in self.listeners.values():
            door.close()
        os.close(self.inherited)
        shutil.rmtree(self.scratch, ignore_errors=True)


def _confined(attack: Attack, program: str, folder: Path, how: str) -> tuple[bytes, str, bool, str, str]:
    from agents import sandbox

    options: dict[str, Any] = {**LIMITS, "folder": folder}
    if attack.wins == "outlast":
        options["seconds"] = SHORT
    if how == "proof" and attack.proof.startswith("larger:"):
        options |= {name: LARGER[name] for name in attack.proof.partition(":")[2].split(",")}
    if how == "proof" and attack.proof.startswith("weaker:"):
        options["without"] = attack.proof.partition(":")[2].split(",")
    if attack.wins == "forged":
        options["tests"] = WRONG
    outcome = sandbox.run(program, **options)
    output = outcome.stdout + outcome.stderr
    return output, outcome.shown + outcome.message, outcome.ok, outcome.status, outcome.message


def _contents(folder: Path) -> bytes:
    """Everything below `folder`, links followed as a careless collector would."""
    body = b""
    for parent, _, names in os.walk(folder, followlinks=True):
        for name in names:
            with suppress(OSError):
                path = Path(parent, name)
                if path.is_file() and path.stat().st_size < 1 << 20:
                    body += path.read_bytes()
    return body


def _alive(marker: str) -> list[int]:
    """Processes whose command line names `marker`."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if marker.encode() in words:
                found.append(int(pid))
    return found


def honest(*names: str) -> None:
    """Run honest programs confined; one JSON line each."""
    from agents import sandbox

    for path in sorted(HONEST.glob("*.py")):
        if not names or path.stem in names:
            outcome = sandbox.run(path.read_text())
            print(json.dumps({"name": path.stem, "ok": outcome.ok, "told": outcome.message + outcome.shown[-500:]}), flush=True)


def main(how: str, *names: str) -> None:
    """Print one JSON line for each attack (or honest program)."""
    if how == "honest":
        return honest(*names)
    arena, attacks = Arena(), corpus()
    try:
        for name in names or attacks:
            print(json.dumps(arena.fight(attacks[name], how=how)), flush=True)
    finally:
        arena.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
