"""The scene of reconcile runs."""

import pytest

from tests.unit.reconcile_scene import Scene, make_scene


@pytest.fixture
def scene() -> Scene:
    """One channel whose missed incidents are relayed, and BigPanda, which answers at once."""
    return make_scene()
