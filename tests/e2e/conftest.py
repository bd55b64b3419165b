"""One network of four clinics for all end-to-end tests that leave it as they found it."""

from collections.abc import Iterator

import pytest

from node.demo.stage import Stage
from tests.e2e.clinics import shared_clinics


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Four running clinics and a patient. Tests that stop one start it again."""
    with shared_clinics(tmp_path_factory.mktemp("clinics")) as stage:
        yield stage
