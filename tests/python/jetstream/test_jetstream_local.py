"""`local`: a server shared by all processes that use its directory. It survives the death of any of them."""

import asyncio
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import nats.errors
import pytest

from helpers import PATIENCE
from mpmc_queue import jetstream

pytestmark = pytest.mark.thread_unsafe(reason="starts processes")

# Stores each line of stdin as a message, and prints a line when it is ready and after each message.
USER = """
import asyncio, sys
from mpmc_queue import jetstream

async def main():
    server = jetstream.local(sys.argv[1])
    queue = await jetstream.connect(server.url, "orders")
    print("here", flush=True)
    for line in sys.stdin:
        await queue.aenqueue(line.strip(), timeout=20)
        print("stored", flush=True)

asyncio.run(main())
"""


class User:
    """Another process that uses the server of a directory."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", USER, directory],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "here\n"

    def enqueue(self, text):
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "stored\n"

    def kill(self):
        self.process.kill()
        self.end()

    def end(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


def pid_of(directory):
    return int((directory / "server.pid").read_text())


def parent_of(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until_there_is_none(directory):
    """Waits until no server runs in the directory."""
    with (directory / "server").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)


def wait_for_another(directory, pid):
    """Waits until a server with another pid answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if pid_of(directory) != pid:
                return
        except (FileNotFoundError, ValueError):
            pass
        time.sleep(0.01)
    pytest.fail("nobody has started the server again")


def stored(url):
    """The payloads in the queue "orders"."""

    async def main():
        async with await jetstream.connect(url, "orders") as queue:
            reader = queue.add_consumer()
            return [message.payload for message in await reader.aread_batch(100, timeout=0)]

    return asyncio.run(main())


def enqueue(url, *texts):
    async def main():
        async with await jetstream.connect(url, "orders") as queue:
            for text in texts:
                await queue.aenqueue(text, timeout=PATIENCE)

    asyncio.run(main())


@contextmanager
def user(directory):
    other = User(directory)
    try:
        yield other
    finally:
        other.kill()


def test_stored_messages_are_there_at_the_next_start(directory):
    place = directory / "made" / "too"
    with jetstream.local(place) as server:
        enqueue(server.url, "a", "b")
    with jetstream.local(place) as server:
        assert stored(server.url) == ["a", "b"]


def test_it_requires_the_token_and_listens_only_on_loopback(directory):
    with jetstream.local(directory) as server:
        port = int(server.url.rpartition(":")[2])
        with pytest.raises(nats.errors.Error, match=r"(?i)authorization"):
            asyncio.run(jetstream.connect(f"nats://127.0.0.1:{port}", "orders"))
        with socket.socket() as other:
            assert other.connect_ex(("127.0.0.2", port)) != 0  # another loopback address
        config = json.loads((directory / "server.json").read_text())
        assert config["authorization"]["token"] in server.url
        assert config["jetstream"]["sync_interval"] == "always"
        assert (directory / "server.json").stat().st_mode & 0o777 == 0o600
        assert config["authorization"]["token"] not in repr(server)


def test_a_new_directory_is_accessible_only_to_this_user(directory):
    with jetstream.local(directory / "new"):
        assert (directory / "new").stat().st_mode & 0o777 == 0o700


def test_a_second_process_joins_the_server_of_the_first(directory):
    with jetstream.local(directory) as server, user(directory) as other:
        pid = pid_of(directory)
        other.enqueue("from the other")
        assert stored(server.url) == ["from the other"]
        other.kill()
        assert stored(server.url) == ["from the other"]
        assert pid_of(directory) == pid


def test_processes_that_start_at_once_share_one_server(directory):
    servers = []
    threads = [threading.Thread(target=lambda: servers.append(jetstream.local(directory))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({server.url for server in servers}) == 1
    for server in servers:
        server.close()
    wait_until_there_is_none(directory)


def test_it_ends_with_the_program(directory):
    other = User(directory)
    other.enqueue("a")
    pid = pid_of(directory)
    other.end()
    assert other.process.returncode == 0
    wait_until_there_is_none(directory)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_it_ends_when_the_last_user_is_killed(directory):
    first = User(directory)
    second = User(directory)
    first.kill()
    second.enqueue("a")
    second.kill()
    wait_until_there_is_none(directory)
    with jetstream.local(directory) as server:
        assert stored(server.url) == ["a"]


def test_it_survives_the_death_of_the_process_that_started_it(directory):
    first = User(directory)
    with jetstream.local(directory) as server:
        pid = pid_of(directory)
        first.enqueue("a")
        first.kill()
        enqueue(server.url, "b")
        assert stored(server.url) == ["a", "b"]
        assert pid_of(directory) == pid


@pytest.mark.parametrize("who", ["server", "keeper"])
def test_a_server_that_is_killed_is_started_again(directory, who):
    if who == "keeper" and sys.platform != "linux":
        pytest.skip("a server learns of the death of its keeper on Linux alone")

    async def main(url):
        async with await jetstream.connect(url, "orders") as queue:
            await queue.aenqueue("before")
            pid = pid_of(directory)
            os.kill(pid if who == "server" else parent_of(pid), signal.SIGKILL)
            # The server outlives its keeper for a moment, in which it may still confirm this.
            await queue.aenqueue("meanwhile", timeout=PATIENCE)
            await asyncio.to_thread(wait_for_another, directory, pid)
            await queue.aenqueue("after", timeout=PATIENCE)

    with jetstream.local(directory) as server:
        asyncio.run(main(server.url))
        assert stored(server.url) == ["before", "meanwhile", "after"]
    wait_until_there_is_none(directory)


def test_another_process_takes_over_when_server_and_starter_are_killed_at_once(directory):
    first = User(directory)
    second = User(directory)
    first.enqueue("a")
    pid = pid_of(directory)
    os.kill(pid, signal.SIGSTOP)  # so that no process can start another server before both are dead
    first.kill()
    os.kill(pid, signal.SIGKILL)
    wait_for_another(directory, pid)
    second.enqueue("b")
    with jetstream.local(directory) as server:
        assert stored(server.url) == ["a", "b"]
    second.kill()
    wait_until_there_is_none(directory)


def test_a_server_whose_port_is_taken_gets_another(directory):
    with jetstream.local(directory) as server:
        first = server.url
        enqueue(first, "a")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(first.rpartition(":")[2])))
        taken.listen()
        with jetstream.local(directory) as server:
            assert server.url != first
            assert stored(server.url) == ["a"]


def test_close_waits_for_the_servers_end_unless_others_use_it(directory):
    first, second = jetstream.local(directory), jetstream.local(directory)
    pid = pid_of(directory)
    first.close()
    first.close()
    os.kill(pid, 0)
    enqueue(second.url, "a")
    second.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    shutil.rmtree(directory)  # no process writes there any more


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_end_the_server_of_its_parent(directory):
    code = (
        "import os, sys, warnings\n"
        "warnings.simplefilter('ignore', DeprecationWarning)  # of forking with threads, which is the point here\n"
        "from mpmc_queue import jetstream\n"
        "server = jetstream.local(sys.argv[1])\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    server.close()\n"
        "    os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "os.kill(int(open(sys.argv[1] + '/server.pid').read()), 0)\n"
        "server.close()\n"
    )
    result = subprocess.run([sys.executable, "-c", code, directory], capture_output=True, text=True, timeout=PATIENCE)
    assert (result.returncode, result.stderr) == (0, "")


def test_without_a_server_to_start_the_error_says_what_to_install(directory):
    code = (
        "import sys\n"
        "sys.executable = '/nowhere/python'\n"
        "from mpmc_queue import jetstream\n"
        "try:\n"
        "    jetstream.local(sys.argv[1])\n"
        "except jetstream.LocalServerError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "PATH": "/nowhere"}
    result = subprocess.run(
        [sys.executable, "-c", code, directory / "new"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment,
    )
    assert 'pip install "mpmc-queue[server]"' in result.stdout, result.stderr
    assert not (directory / "new").exists()


def test_a_server_that_does_not_start_says_why(directory):
    (directory / "store").write_text("a file where the server wants a directory")
    with pytest.raises(jetstream.LocalServerError, match=r"does not start: .*storage directory is not a directory"):
        jetstream.local(directory)
    wait_until_there_is_none(directory)
