"""Each way to install Sextant in turn."""

from collections.abc import Sequence

import pytest

from tests.deploy.rendering import RENDERINGS, Object, rendering


@pytest.fixture(params=RENDERINGS)
def objects(request: pytest.FixtureRequest) -> Sequence[Object]:
    """Return all objects of one way to install Sextant."""
    return rendering(request.param)
