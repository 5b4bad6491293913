"""Set-up of unit tests: no network, the same examples of Hypothesis in every run, and both vendors."""

import socket

import pytest
from hypothesis import HealthCheck, settings

from tests.unit.reconcile_scene import Scene, make_scene
from tests.unit.xmatters_tenant import Tenant

settings.register_profile(
    "ci", deadline=None, derandomize=True, database=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a unit test opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


@pytest.fixture
def tenant() -> Tenant:
    return Tenant()


@pytest.fixture
def scene() -> Scene:
    """One channel whose missed incidents are relayed, and BigPanda, which answers at once."""
    return make_scene()
