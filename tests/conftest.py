"""Real parts for tests: PostgreSQL, tokens, whole stacks."""

import logging
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling, Scheduling

from custody.migrations.schema import migrate
from devstack.certificates import Certificates
from devstack.launcher import Tied
from devstack.postgres import Cluster
from devstack.s3 import S3Server
from devstack.stack import Databases, Stack, StackOptions
from tests.providers import selection

# A busy machine can need more than Hypothesis' 200 ms for any example.
settings.register_profile("no deadline", settings.default, deadline=None)
settings.load_profile("no deadline")


class OneProcessAFolder(LoadScopeScheduling):  # type: ignore[misc]  # has no types
    """Keeps the tests of a folder in one process, which then starts their stack once."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid.partition("::")[0].rpartition("/")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    # Folders begin in the order of the items. By number of tests, as xdist has them, a folder of
    # few long tests (faults/mpc) is the last to begin, and then only one process works.
    config.option.loadscopereorder = False
    return OneProcessAFolder(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    selection.parametrise(metafunc)


LONG = ("tests/integration/pkcs11/", "tests/integration/signer/")
"""Folders that take minutes, and whose names are late in the alphabet."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    selection.select(items)
    # A long folder that begins last runs alone, while the other process has no folder left.
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    lines = selection.summary(terminalreporter.stats)
    if lines:
        terminalreporter.section("tests by HSM token")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A test that sets up logging, or calls what does, changes nothing for the next."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One PostgreSQL server for the session; tests that stop a server take ``cluster``."""
    cluster = Cluster(tmp_path_factory.mktemp("postgres") / "postgres.log", durable=False)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A PostgreSQL server of this test's own, to stop and start."""
    cluster = Cluster(tmp_path / "postgres.log", durable=False)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One S3 server for the session; each test has a bucket of its own."""
    folder = tmp_path_factory.mktemp("s3")
    leaf = Certificates(folder / "pki").server("s3")
    server = S3Server(folder / "s3", folder / "s3.log", Tied(), leaf)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def migrated_template(cluster: Cluster, tree: str) -> str:
    """A database at the head of a migration tree, to make others as copies of."""
    name = f"template_{tree}"
    migrate(tree, cluster.create_database(name))
    return name


@pytest.fixture(scope="session")
def control_plane_template(postgres: Cluster) -> str:
    return migrated_template(postgres, "control_plane")


@pytest.fixture(scope="session")
def driver_template(postgres: Cluster) -> str:
    return migrated_template(postgres, "hsm_driver")


@pytest.fixture(scope="session")
def signer_template(postgres: Cluster) -> str:
    return migrated_template(postgres, "mpc_signer")


def fresh_database(cluster: Cluster, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(6)}"
    yield cluster.create_database(name, template)
    cluster.drop_database(name)


@pytest.fixture
def control_plane_database(postgres: Cluster, control_plane_template: str) -> Iterator[str]:
    """URL of a control plane's database, migrated and empty, this test's alone."""
    yield from fresh_database(postgres, control_plane_template)


@pytest.fixture
def driver_database(postgres: Cluster, driver_template: str) -> Iterator[str]:
    """URL of a driver's database, migrated and empty, this test's alone."""
    yield from fresh_database(postgres, driver_template)


@pytest.fixture
def signer_database(postgres: Cluster, signer_template: str) -> Iterator[str]:
    """URL of a signer's database, migrated and empty, this test's alone."""
    yield from fresh_database(postgres, signer_template)


@pytest.fixture
def empty_database(postgres: Cluster) -> Iterator[str]:
    """URL of a database without a schema."""
    yield from fresh_database(postgres, "template0")


MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(
    request: pytest.FixtureRequest,
    postgres: Cluster,
    control_plane_database: str,
    driver_database: str,
    tmp_path: Path,
) -> Iterator[MakeStack]:
    """Starts stacks of this test's own, stopped at its end; options as StackOptions has them."""
    made: list[Stack] = []
    signer_databases: list[Iterator[str]] = []

    def databases_of_signers(count: int) -> tuple[str, ...]:
        if count == 0:
            return ()
        template = request.getfixturevalue("signer_template")
        fresh = [fresh_database(postgres, template) for _ in range(count)]
        signer_databases.extend(fresh)
        return tuple(next(database) for database in fresh)

    def make(**options) -> Stack:
        folder = tmp_path / f"stack-{len(made)}"
        of_signers = databases_of_signers(options.get("signers", 0))
        databases = Databases(control_plane_database, driver_database, of_signers)
        stack = Stack(folder, StackOptions(durable=False, **options), databases)
        made.append(stack)
        stack.start()
        return stack

    yield make
    for stack in made:
        stack.stop()
    for database in signer_databases:
        next(database, None)
