"""Keeps the server of a directory: `jetstream.local` runs this file as a process of its own, without the package.

python keeper.py SERVER CONFIGURATION USERS LOCK

Every process that uses the server shares a lock on USERS, which the system takes back when it ends, however it ends. Once
this process has that file for itself, nobody is left, and it ends the server. Both hold the descriptor LOCK, and with it the
lock that says that there is a server: it is free when both have gone.
"""

import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 10.0
"""Seconds that the server has to end by itself."""
DEATH_SIGNAL = 1
"""Linux's PR_SET_PDEATHSIG."""


def die_with_parent() -> None:
    """A server without its keeper would go on for ever. (Where the system cannot do that, it does: until it is joined.)"""
    try:
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL)
    except (AttributeError, OSError):
        pass


def end_with_the_last(users: str, server: "subprocess.Popen[bytes]") -> None:
    """Waits until nobody uses the server, and ends it. The lock stays taken: who comes meanwhile waits for the end."""
    fcntl.flock(os.open(users, os.O_RDWR), fcntl.LOCK_EX)
    server.terminate()
    try:
        server.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()


def main(binary: str, config: str, users: str, lock: int) -> int:
    if os.fork():
        return 0  # whoever started this need not wait for it
    os.setsid()
    server = subprocess.Popen(
        [binary, "-c", config], stdin=subprocess.DEVNULL, pass_fds=[lock], preexec_fn=die_with_parent
    )
    threading.Thread(target=end_with_the_last, args=(users, server), daemon=True).start()
    return server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
