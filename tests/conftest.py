"""What tests of several folders share."""

from collections.abc import Iterator

import pytest

from tests.support.gateway import Gateway, running_gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One gateway for all tests of the session. They leave it as they found it."""
    with running_gateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running
