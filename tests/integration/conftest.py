"""Fixtures of the integration tests, which use sockets on loopback only: a call to AWS past moto fails at once."""

import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from sandbox.server.in_process import Box, running
from tests.integration.relayctl_cloud import Logs, Operator, operating
from tests.stand_in import session


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test reached out to {address[0]}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _calls_moto(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests call moto, by the names of AWS's own hosts, and choose the region as people do."""
    for name in ("AWS_ENDPOINT_URL", "AWS_REGION"):
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def running_box() -> Iterator[Box]:
    """A stand-in for xMatters, shared by a module's tests."""
    with running() as box:
        yield box


@pytest.fixture
def box(running_box: Box) -> Iterator[Box]:
    """The stand-in, emptied and listening again after each test."""
    yield running_box
    running_box.listening(True)
    running_box.clear()


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with session() as opened:
        yield opened


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Operator]:
    with operating(monkeypatch) as its_operator:
        yield its_operator


@pytest.fixture
def narrow(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let relayctl print for a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def local(operator: Operator) -> None:
    """Let the operator's stack be one of a local cloud, which calls the vendors on loopback."""
    operator.parameters["Profile"] = "local"


@pytest.fixture
def logs(operator: Operator) -> Logs:
    """A writer of the functions' log lines."""
    return Logs(operator)
