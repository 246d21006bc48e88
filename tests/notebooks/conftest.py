"""A kernel for the tests of one file, and a port that nothing listens on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.notebooks.kernels import Kernel
from tests.support.connections import free_port


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def port() -> int:
    return free_port()
