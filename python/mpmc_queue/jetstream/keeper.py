"""The keeper: runs the server of a directory. `jetstream.local` runs this file as a separate process, without the package.

python keeper.py SERVER CONFIGURATION USERS LOCK

Every process that uses the server has a shared lock on USERS, which the system releases when the process ends, even by a
crash. When the keeper gets an exclusive lock on USERS, no user is left, and it stops the server. Keeper and server inherit the
descriptor LOCK, whose lock says that there is a server: it is free once both have ended.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 10.0
"""Seconds that the server has to stop normally."""
DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def die_with_parent() -> None:
    """Kills the server when its keeper dies, because nothing else would stop it. (On systems without this function it runs
    on, until a process joins it.)"""
    try:
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    except (AttributeError, OSError):
        pass


def end_with_the_last(users: str, server: "subprocess.Popen[bytes]") -> None:
    """Waits until no process uses the server, then stops it. It keeps the lock: a process that comes meanwhile waits."""
    fcntl.flock(os.open(users, os.O_RDWR), fcntl.LOCK_EX)
    server.terminate()
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()


def main(binary: str, config: str, users: str, lock: int) -> int:
    if os.fork():
        return 0  # the process that started the keeper need not wait for it
    os.setsid()
    server = subprocess.Popen(
        [binary, "-c", config], stdin=subprocess.DEVNULL, pass_fds=[lock], preexec_fn=die_with_parent
    )
    threading.Thread(target=end_with_the_last, args=(users, server), daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
