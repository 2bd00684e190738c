"""A private PostgreSQL server for tests: its own cluster, on a socket in its own folder, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; none where PostgreSQL's server is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "pg_ctl").exists()), None)


@contextmanager
def server() -> Iterator[str]:
    """The URL of a running server's database, without a schema; skips the test where there is no PostgreSQL."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra `postgres`)")
    bin = programs()
    if bin is None:
        pytest.skip("no `initdb` and `pg_ctl` on this machine")
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    owner: dict[str, Any] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        owner = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def call(program: str, *arguments: str) -> None:
        with (folder / "log.txt").open("a") as log:
            command = [str(bin / program), "-D", str(folder / "data"), *arguments]
            done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False, **owner)
        assert done.returncode == 0, (folder / "log.txt").read_text()

    try:
        call("initdb", "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        call("pg_ctl", "-w", "-o", f"-k {folder} -c listen_addresses='' -c fsync=off", "start")
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def schema(url: str, name: str) -> str:
    """A URL of an empty schema of its own on the server."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'create schema "{name}"')
    return f"{url}&options={quote(f'-csearch_path={name}')}"
