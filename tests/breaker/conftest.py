import pytest

from tests.breaker.family import House


@pytest.fixture
def house(tmp_path):
    return House(tmp_path)
