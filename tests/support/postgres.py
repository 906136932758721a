"""A private PostgreSQL server from the machine's own binaries, on a socket of its own."""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_USER = "gateway"
_GUARDED_USER = "guarded"
_ACCESS = f"local all {_GUARDED_USER} scram-sha-256\nlocal all all trust\n"
_READY = "ready to accept connections"


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server that is ready."""

    socket_folder: Path
    binaries: Path

    def url(self, database: str = "postgres") -> str:
        """The SQLAlchemy URL of a database. It needs no password, since to check one takes longer than most tests."""
        return f"postgresql://{_USER}@/{database}?host={self.socket_folder}"

    def guarded_url(self, password: str) -> str:
        """The URL by which a user with another password than any would connect."""
        return f"postgresql://{_GUARDED_USER}:{password}@/postgres?host={self.socket_folder}"

    def run(self, statement: str, *, database: str = "postgres") -> str:
        """Runs a statement as psql does, and returns what it prints."""
        command = [self.binaries / "psql", "-XAtq", "-h", self.socket_folder, "-U", _USER, "-d", database]
        done = subprocess.run([*command, "-c", statement], capture_output=True, text=True, check=True, timeout=30)
        return done.stdout.strip()

    def new_database(self) -> str:
        """Makes an empty database and returns its name."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(f"CREATE DATABASE {name}")
        return name


def find_postgres() -> Path | None:
    """The folder of the server's binaries, or None where the machine has none."""
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    return next((folder for folder in candidates if (folder / "initdb").exists() and (folder / "psql").exists()), None)


@contextmanager
def running_postgres(binaries: Path) -> Generator[Postgres]:
    """Starts a server and stops it. It keeps nothing, and does without the safety of real ones.

    PostgreSQL refuses to run as root, so root runs it under another account.
    """
    account = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: the path of a socket has at most 107 bytes
    if account:
        shutil.chown(folder, account)
    try:
        initialise = [binaries / "initdb", "-D", folder / "data", "-U", _USER, "--auth=trust"]
        initialise += ["--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", *_language(binaries)]
        subprocess.run(initialise, user=account, check=True, capture_output=True, timeout=60, cwd=folder)
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS, encoding="utf-8")
        serve = [binaries / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses="]
        serve += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "max_connections=100"]
        server = subprocess.Popen(serve, user=account, stderr=subprocess.PIPE, text=True, cwd=folder)
        try:
            _await_ready(server)
            postgres = Postgres(folder, binaries)
            postgres.run(f"CREATE ROLE {_GUARDED_USER} LOGIN PASSWORD '{secrets.token_urlsafe()}'")
            yield postgres
        finally:
            server.send_signal(
                signal.SIGINT
            )  # ends connections that a failed test left open, rather than wait for them
            server.communicate(timeout=30)
    finally:
        shutil.rmtree(folder)


def _language(binaries: Path) -> list[str]:
    """Options that make the server sort as people do, where it can: what relies on byte order has to say so."""
    options = subprocess.run([binaries / "initdb", "--help"], capture_output=True, text=True, check=True, timeout=30)
    return ["--locale-provider=icu", "--icu-locale=en-US"] if "--icu-locale" in options.stdout else []


def _await_ready(server: subprocess.Popen[str]) -> None:
    assert server.stderr is not None
    lines: list[str] = []
    for line in server.stderr:
        lines.append(line)
        if _READY in line:
            return
    raise AssertionError(f"PostgreSQL did not start:\n{''.join(lines)}")
