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


@pytest.fixture(autouse=True)
def _no_jobs_left(cluster: Cluster) -> Iterator[None]:
    """What a test that fails leaves behind takes no time from the others."""
    yield
    cluster.command("scancel", "--user=root")
