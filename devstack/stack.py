"""The whole system, started and stopped: what `make up`, the demo, tests and benchmarks share."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from control_plane.client import AsyncCustody, Custody
from daemon.errors import OperatorError
from devstack.certificates import Certificates
from devstack.control_plane import ControlPlane, ControlPlaneFiles, ControlPlaneOptions
from devstack.driver import Driver, DriverOptions
from devstack.launcher import Launcher, Tied
from devstack.node import Surroundings
from devstack.postgres import Cluster
from devstack.processes import Process
from devstack.service import Service, stop_together
from devstack.token import Token

HEARTBEAT_TIMEOUT = 30.0

Step = Callable[[str], AbstractContextManager[None]]
"""Says what is being done for as long as it takes."""


def quietly(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Databases:
    """URLs of migrated databases that somebody else looks after."""

    control_plane: str
    driver: str


@dataclass(frozen=True)
class StackOptions:
    """``separate_clusters``: a PostgreSQL server for each side, so that one alone can be stopped.

    ``durable``: PostgreSQL with fsync, as in production.
    """

    drivers: int = 1
    replicas: int = 1
    separate_clusters: bool = False
    durable: bool = True
    control_plane: ControlPlaneOptions = field(default_factory=ControlPlaneOptions)
    driver: DriverOptions = field(default_factory=DriverOptions)


class Stack:
    """PostgreSQL, a token with a fresh master key, a PKI, control planes and drivers.

    ``with Stack(folder) as stack: stack.client().create_wallet(...)``
    """

    def __init__(
        self,
        folder: Path,
        options: StackOptions | None = None,
        databases: Databases | None = None,
        launcher: Launcher | None = None,
        step: Step = quietly,
    ) -> None:
        self.folder = folder.resolve()
        self.options = options or StackOptions()
        self.clusters: list[Cluster] = []
        self.control_planes: list[ControlPlane] = []
        self.drivers: list[Driver] = []
        self._given = databases
        self._launcher = launcher or Tied()
        self._step = step

    def log(self, name: str) -> Path:
        """Where a part's output goes."""
        return self.folder / "logs" / f"{name}.log"

    def start(self) -> None:
        """Start everything and wait until a driver's capabilities are known to the API.

        Raises OperatorError, having stopped what was started.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._step("PostgreSQL"):
            self.databases = self._given or self._start_clusters()
        with self._step("certificates and configurations"):
            self._configure()
        with self._step("tables, master key, node, token"), ThreadPoolExecutor() as threads:
            for done in [
                threads.submit(self._prepare_control_plane),
                threads.submit(self._prepare_driver),
            ]:
                done.result()
        with self._step("control plane: start"):
            for control_plane in self.control_planes:
                control_plane.start(wait=False)
            for control_plane in self.control_planes:
                control_plane.wait_until_ready()
        with self._step("hsm-driver: start"):
            for driver in self.drivers:
                driver.start(wait=False)
            for driver in self.drivers:
                driver.wait_until_ready()
            self._wait_for_capabilities()

    def _start_clusters(self) -> Databases:
        """One server for both sides, or one for each."""
        names = ["postgres-control-plane", "postgres-driver"]
        for name in names if self.options.separate_clusters else ["postgres"]:
            cluster = Cluster(self.log(name), self.options.durable, self._launcher)
            self.clusters.append(cluster)
            cluster.start()
        return Databases(
            self.clusters[0].create_database("control_plane"),
            self.clusters[-1].create_database("hsm_driver"),
        )

    def _configure(self) -> None:
        self.certificates = Certificates(self.folder / "pki")
        self.token = Token(self.folder / "token")
        self.control_plane_files = ControlPlaneFiles(
            self.folder / "control-plane", self.certificates, self.databases.control_plane
        )
        for number in range(self.options.replicas):
            self.add_control_plane(numbered("control-plane", number))
        for number in range(self.options.drivers):
            self._configure_driver(numbered("hsm-driver", number), self.options.driver)

    def _prepare_control_plane(self) -> None:
        first = self.control_planes[0]
        if self._given is None:
            first.migrate()
        for driver in self.drivers:
            first.add_node(driver.node_id, driver.group)
        self.api_token = first.create_token("local")

    def _prepare_driver(self) -> None:
        first = self.drivers[0]
        first.generate_master_key()
        if self._given is None:
            first.migrate()

    def add_control_plane(self, name: str) -> ControlPlane:
        """Configure one more replica; it is the caller's to start."""
        control_plane = self.control_plane_files.replica(
            name, self.log(name), self._launcher, self.options.control_plane
        )
        self.control_planes.append(control_plane)
        return control_plane

    def _configure_driver(self, node_id: str, options: DriverOptions) -> Driver:
        control_plane = self.control_planes[len(self.drivers) % len(self.control_planes)]
        folder, log = self.folder / node_id, self.log(node_id)
        driver = Driver(node_id, folder, log, self.token, self._launcher)
        surroundings = Surroundings(
            node_url=control_plane.node_url,
            job_signing_key=self.control_plane_files.job_signing_key,
            database_url=self.databases.driver,
        )
        driver.configure(surroundings, self.certificates.node(node_id), options)
        self.drivers.append(driver)
        return driver

    def _wait_for_capabilities(self) -> None:
        """Heartbeats tell the API what each driver can do; until then it takes no requests."""
        deadline = time.monotonic() + HEARTBEAT_TIMEOUT
        wanted = {driver.node_id for driver in self.drivers}
        with self.client() as custody:
            while wanted - {node.id for node in custody.list_nodes() if node.capabilities}:
                for driver in self.drivers:
                    driver.process.check()
                if time.monotonic() > deadline:
                    raise OperatorError(
                        f"no heartbeat of every driver after {HEARTBEAT_TIMEOUT:.0f} s",
                        f"See the logs in {self.folder / 'logs'}.",
                    )
                time.sleep(0.05)

    @property
    def api_url(self) -> str:
        return self.control_planes[0].url

    @property
    def ca(self) -> Path:
        return self.certificates.ca

    def client(self, token: str | None = None, replica: int = 0) -> Custody:
        """A client of one replica, with all scopes or with the token given."""
        return Custody(self.control_planes[replica].url, token or self.api_token, self.ca)

    def async_client(self, token: str | None = None, replica: int = 0) -> AsyncCustody:
        return AsyncCustody(self.control_planes[replica].url, token or self.api_token, self.ca)

    def processes(self) -> list[Process]:
        """What is running, in the order of its start."""
        services: list[Service] = [*self.control_planes, *self.drivers]
        servers = [cluster.process for cluster in self.clusters]
        return [*servers, *(service.process for service in services)]

    def stop(self) -> None:
        """Stop everything: drivers finish what is under way; databases are deleted."""
        stop_together(self.drivers)
        stop_together(self.control_planes)
        for cluster in self.clusters:
            cluster.remove()

    def __enter__(self) -> "Stack":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def numbered(name: str, number: int) -> str:
    """The first has the plain name, so that one alone looks as in production."""
    return name if number == 0 else f"{name}-{number + 1}"
