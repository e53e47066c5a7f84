from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.attacks.scene import Scene, make_scene


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The scene, lived through once for all attacks of this process."""
    return make_scene(tmp_path_factory.mktemp("scene"))


@pytest.fixture
def scene(lived: Scene) -> Iterator[Scene]:
    """The scene, put back as it was."""
    lived.restore()
    yield lived
    lived.restore()
