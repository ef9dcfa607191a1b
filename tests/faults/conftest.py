"""A driver with a real HSM, database and certificates, and a control plane that tests speak for."""

import base64
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from devstack.certificates import Certificates, Leaf
from devstack.driver import Driver, DriverOptions
from devstack.launcher import Tied
from devstack.node import Surroundings
from devstack.postgres import Cluster
from devstack.token import Token
from tests.conftest import fresh_database
from tests.faults.hostile_control_plane import HostileControlPlane

NODE = "node-1"
WORKS_ALONE = DriverOptions(workers=1)


@dataclass
class LonelyDriver:
    """A driver that has never met an honest control plane."""

    driver: Driver
    plane: HostileControlPlane
    database_url: str
    token: Token

    def database(self) -> psycopg.Connection:
        return psycopg.connect(self.database_url, autocommit=True)

    def log_text(self) -> str:
        return self.driver.log.read_text()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates") / "pki")


@pytest.fixture(scope="session")
def node_leaf(certificates: Certificates) -> Leaf:
    return certificates.node(NODE)


@pytest.fixture(scope="session")
def server_leaf(certificates: Certificates) -> Leaf:
    return certificates.server("hostile")


@pytest.fixture(scope="session")
def make_token(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Token]:
    """Makes tokens, each with a master key of its own."""

    def make() -> Token:
        folder = tmp_path_factory.mktemp("token")
        token = Token(folder / "token")
        driver = Driver("maker", folder / "driver", folder / "log", token, Tied())
        nowhere = Surroundings("https://127.0.0.1:1", base64.b64encode(bytes(32)).decode(), "")
        nothing = Leaf(folder / "none", folder / "none", folder / "none")
        driver.configure(nowhere, nothing, DriverOptions())
        driver.generate_master_key()
        return token

    return make


@pytest.fixture(scope="session")
def token(make_token: Callable[[], Token]) -> Token:
    return make_token()


@contextmanager
def lonely_driver(
    folder: Path,
    plane: HostileControlPlane,
    database_url: str,
    token: Token,
    leaf: Leaf,
    options: DriverOptions = WORKS_ALONE,
) -> Iterator[LonelyDriver]:
    """A configured driver, which is the caller's to start; stopped at the end."""
    driver = Driver(NODE, folder / NODE, folder / "driver.log", token, Tied())
    key = base64.b64encode(plane.signer.public_key).decode()
    driver.configure(Surroundings(plane.url, key, database_url), leaf, options)
    try:
        yield LonelyDriver(driver, plane, database_url, token)
    finally:
        driver.stop()


@pytest.fixture(scope="module")
def plane(server_leaf: Leaf, certificates: Certificates) -> Iterator[HostileControlPlane]:
    with HostileControlPlane(server_leaf, certificates.ca) as plane:
        yield plane


@pytest.fixture(scope="module")
def module_driver_database(postgres: Cluster, driver_template: str) -> Iterator[str]:
    yield from fresh_database(postgres, driver_template)


@pytest.fixture(scope="module")
def lonely(
    tmp_path_factory: pytest.TempPathFactory,
    plane: HostileControlPlane,
    module_driver_database: str,
    token: Token,
    node_leaf: Leaf,
) -> Iterator[LonelyDriver]:
    """A running driver for a module's tests."""
    folder = tmp_path_factory.mktemp("lonely")
    with lonely_driver(folder, plane, module_driver_database, token, node_leaf) as lonely:
        lonely.driver.start()
        yield lonely
