"""A real PostgreSQL server of the tests' own, and a fresh database for each test that asks."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine, text

PROGRAMS = Path("/usr/lib/postgresql/15/bin")
"""Debian 12, package postgresql."""
_ENOUGH_BYTES = 4 * 1024**3
_PATIENCE_S = 120.0
_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def installed() -> bool:
    return (PROGRAMS / "postgres").exists()


class PostgresqlServer:
    """Listens on a Unix socket in a folder of its own; ``fsync`` and ``synchronous_commit`` are on, as in production.

    It dies with the process that made it, also when that is killed (prctl, PR_SET_PDEATHSIG); its folder then goes
    with the next run. Root may not run the server: then it runs as the user ``postgres``. Text sorts by a Chinese
    collation, which differs from SQLite's order of bytes as much as any server that a county may have.
    """

    def __init__(self) -> None:
        memory = shutil.disk_usage("/dev/shm").free > _ENOUGH_BYTES  # dozens of databases: files that nobody keeps
        self.folder = Path(tempfile.mkdtemp(prefix="xz-pg-", dir="/dev/shm" if memory else None))
        (self.folder / "owner").write_text(str(os.getpid()))
        for left in self.folder.parent.glob("xz-pg-*/owner"):
            if not Path("/proc", left.read_text()).exists():
                shutil.rmtree(left.parent, ignore_errors=True)
        self._as_user = ["setpriv", "--pdeathsig=QUIT"]
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._as_user += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        self._numbers = count(1)
        collation = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=zh-Hans")
        self._run("initdb", "-D", str(self.data), "-U", "county", "-A", "trust", "-E", "UTF8", "-N", *collation)
        self.start()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        settings = ("listen_addresses=", "shared_buffers=32MB", "max_connections=120")
        options = [part for setting in settings for part in ("-c", setting)]
        postgres = [str(PROGRAMS / "postgres"), "-D", str(self.data), "-k", str(self.folder), *options]
        with (self.folder / "log").open("ab") as log:
            # a child of ours, not of pg_ctl, so that the kernel ends it when we are killed
            self._process = subprocess.Popen([*self._as_user, *postgres], cwd=self.folder, stdout=log, stderr=log)
        until = time.monotonic() + _PATIENCE_S
        while self._exit_code("pg_isready", "-q", "-h", str(self.folder)):
            if self._process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"postgres does not start\n{(self.folder / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self, mode: str = "fast") -> None:
        """``mode``: "fast", or "immediate" for what a power cut of the server leaves."""
        self._process.send_signal(_SIGNALS[mode])
        self._process.wait(_PATIENCE_S)

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    def url(self, database: str) -> str:
        return f"postgresql://county@/{database}?host={self.folder}"

    def fresh_database(self, template: str = "template0") -> str:
        """The URL of a new database, a copy of ``template``."""
        name = f"county_{next(self._numbers)}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        finally:
            engine.dispose()
        return self.url(name)

    def _exit_code(self, program: str, *arguments: str) -> int:
        return subprocess.run([*self._as_user, str(PROGRAMS / program), *arguments], cwd=self.folder).returncode

    def _run(self, program: str, *arguments: str) -> None:
        command: Sequence[str] = [*self._as_user, str(PROGRAMS / program), *arguments]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program}: {done.stderr}\n{log.read_text() if log.exists() else ''}")
