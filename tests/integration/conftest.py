"""Integration tests use real sockets, on this machine alone: what reaches for AWS past moto fails at once."""

import ipaddress
import socket
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ipaddress.ip_address(address[0]).is_loopback:
            raise AssertionError(f"a test reached out to {address[0]}")
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
