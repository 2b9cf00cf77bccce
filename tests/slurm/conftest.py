"""One SLURM for all tests here."""

from collections.abc import Iterator

import pytest
from slurm.cluster import Cluster, UnavailableError


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    try:
        with Cluster() as running:
            yield running
    except UnavailableError as error:
        pytest.skip(str(error))
