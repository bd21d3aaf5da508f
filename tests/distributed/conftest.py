"""The two processes that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.two_processes import Pair


@pytest.fixture(scope='session')
def pair(tmp_path_factory) -> Iterator[Pair]:
    pair = Pair(tmp_path_factory.mktemp('pair'))
    yield pair
    pair.close()
