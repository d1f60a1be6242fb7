"""A gateway for the tests: the real binary, on a free port, with the claims adjuster's scripted model and server behind it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from portcullis import Client

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 120.0
# Below the ports that the system gives to whoever connects, so that no connection takes one before the server has it.
FIRST_PORT, PORTS = 20_000, 12_000
ports = itertools.count(os.getpid() * 61)


def binary() -> Path:
    found = os.environ.get("PORTCULLIS_BIN")
    assert found, "PORTCULLIS_BIN is not set: run `cargo xtask test`, or set it to the built binary"
    return Path(found)


def free_port() -> int:
    for number in itertools.islice(ports, PORTS):
        port = FIRST_PORT + number % PORTS
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def until(what: str, holds, process: subprocess.Popen | None = None) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert process is None or process.poll() is None, f"the process ended before {what}"
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.02)


class Gateway:
    """The gateway in a folder of its own. It can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.model_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        example = ROOT / "examples" / "claims-adjuster"
        (folder / "policies").mkdir()
        for name in ("portcullis.yaml", "policies/claims.cedar"):
            (folder / name).write_bytes((example / name).read_bytes())
        # No test is to find a tool missing where a start takes long.
        file = folder / "portcullis.yaml"
        config = file.read_text()
        assert config.count("\nregistry:\n") == 1
        file.write_text(config.replace("\nregistry:\n", "\nregistry:\n  tools_wait_s: 60\n"))
        self.model = self._spawn("model", "demo", "part", "model", "--port", str(self.model_port))
        until("the model listens", lambda: listens(self.model_port), self.model)
        self.process = self._up()

    def _spawn(self, log: str, *arguments: str) -> subprocess.Popen:
        environment = {
            **os.environ,
            "CLAIMS_LISTEN": f"127.0.0.1:{self.port}",
            "CLAIMS_MODEL_URL": f"http://127.0.0.1:{self.model_port}/v1",
            "CLAIMS_PROGRAM": str(binary()),
        }
        with (self.folder / f"{log}.log").open("ab") as output:
            return subprocess.Popen(
                [binary(), *arguments], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _up(self) -> subprocess.Popen:
        process = self._spawn("gateway", "up")

        def is_ready() -> bool:
            try:
                return httpx.get(f"{self.url}/readyz", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        until("the gateway is ready", is_ready, process)
        return process

    def key(self, principal: str) -> str:
        admin = (self.folder / "data" / "admin.key").read_text().strip()
        answer = httpx.post(
            f"{self.url}/api/v1/identity/keys",
            json={"principal": principal},
            headers={"Authorization": f"Bearer {admin}"},
            trust_env=False,
            timeout=LIMIT_S,
        )
        assert answer.is_success, answer.text
        return str(answer.json()["key"])

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        self.process = self._up()

    def stop(self) -> None:
        for process in (self.process, self.model):
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("gateway"))
    yield gateway
    gateway.stop()


@pytest.fixture(scope="session")
def key(gateway: Gateway) -> str:
    return gateway.key("junior")


@pytest.fixture
def client(gateway: Gateway, key: str) -> Iterator[Client]:
    with Client(gateway.url, key) as client:
        yield client


@pytest.fixture
def environment(gateway: Gateway, key: str) -> dict[str, str]:
    """For programs that a test starts."""
    return {**os.environ, "PORTCULLIS_URL": gateway.url, "PORTCULLIS_KEY": key, "CREWAI_DISABLE_TELEMETRY": "true"}
