"""What tests of the server that learns share."""

import pytest

from tests.serving.world import World


@pytest.fixture(scope="session")
def world():
    return World.make()
