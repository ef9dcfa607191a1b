"""The whole system, started and stopped: `make up`, the demo, tests and benchmarks use it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType

from custody.client import AsyncCustody, Custody, PinnedNodes
from custody.runtime.errors import OperatorError
from devstack.certificates import Certificates
from devstack.control_plane import ControlPlane, ControlPlaneFiles, ControlPlaneOptions
from devstack.customers_bucket import CustomersBucket
from devstack.delivery import DeliveryOptions
from devstack.driver import Driver, DriverOptions
from devstack.launcher import Launcher, Tied
from devstack.node import Node, Surroundings
from devstack.postgres import Cluster
from devstack.processes import Process, fork_server
from devstack.service import Service, start_together, stop_together
from devstack.signer import Signer, SignerOptions
from devstack.signer_groups import SIGNER_GROUPS
from devstack.signers import Signers
from devstack.token import Token

HEARTBEAT_TIMEOUT = 30.0

Step = Callable[[str], AbstractContextManager[None]]
"""A context that shows the name of a step while the step lasts."""


def quietly(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Databases:
    """URLs of migrated databases that the caller provides and removes."""

    control_plane: str
    driver: str
    signers: tuple[str, ...] = ()


@dataclass(frozen=True)
class StackOptions:
    """``separate_clusters``: a PostgreSQL server for each side, so that one alone can be stopped.

    ``standby``: one server for both sides, with a synchronous standby that all URLs name too.

    ``durable``: PostgreSQL with fsync, as in production. ``signers`` belong to ``owners`` in turn.
    ``layer4``: the signers put share copies into a customer's bucket, at an S3 server of the stack.
    ``send_audit_records``: whether the nodes send their audit records to the control plane.
    """

    drivers: int = 1
    replicas: int = 1
    signers: int = 0
    delivery_servers: int = 1
    owners: tuple[str, ...] = ("acme", "bank")
    separate_clusters: bool = False
    standby: bool = False
    durable: bool = True
    layer4: bool = False
    send_audit_records: bool = True
    control_plane: ControlPlaneOptions = field(default_factory=ControlPlaneOptions)
    driver: DriverOptions = field(default_factory=DriverOptions)
    signer: SignerOptions = field(default_factory=SignerOptions)
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)


class Stack:
    """PostgreSQL, a PKI, control planes, drivers with a token and a fresh master key, signers.

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
        self.standby: Cluster | None = None
        self.control_planes: list[ControlPlane] = []
        self.drivers: list[Driver] = []
        self.customers_bucket: CustomersBucket | None = None
        self._given = databases
        self._launcher = launcher or Tied()
        self._step = step
        self.signers = Signers(self.options, self.folder, self.log, self._launcher)

    def log(self, name: str) -> Path:
        """Return the log file of a part."""
        return self.folder / "logs" / f"{name}.log"

    def start(self) -> None:
        """Start everything and wait until the API knows each node's capabilities.

        After a failure, stop everything and raise OperatorError.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        fork_server.start()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._step("PostgreSQL"):
            self.databases = self._given or self._start_clusters()
        with self._step("certificates and configurations"):
            self._configure()
        with self._step("tables, keys, nodes, token, control plane"):
            side_by_side(self._prepare_control_plane, self._prepare_driver, self._prepare_signers)
        nodes: list[Service] = [*self.drivers, *self.signers.services]
        with self._step(f"{', '.join(node.name for node in nodes)}: start"):
            start_together(nodes)
            self._wait_for_capabilities()

    def _start_clusters(self) -> Databases:
        """Start one server for both sides, or one server for each side."""
        names = ["postgres-control-plane", "postgres-nodes"]
        for name in names if self.options.separate_clusters else ["postgres"]:
            cluster = Cluster(self.log(name), self.options.durable, self._launcher)
            self.clusters.append(cluster)
            cluster.start()
        if self.options.standby:
            self.standby = self.clusters[0].start_standby(self.log("postgres-standby"))
        first, nodes = self.clusters[0], self.clusters[-1]
        first.create_database("control_plane")
        nodes.create_database("hsm_driver")
        return Databases(
            self._url(first, "control_plane"),
            self._url(nodes, "hsm_driver"),
            tuple(self._url(nodes, database_name(signer)) for signer in self.signers.all),
        )

    def _url(self, cluster: Cluster, database: str) -> str:
        if self.standby is None:
            return cluster.url(database)
        return cluster.url_with(self.standby, database)

    def _configure(self) -> None:
        self.certificates = Certificates(self.folder / "pki")
        self.control_plane_files = ControlPlaneFiles(
            self.folder / "control-plane", self.certificates, self.databases.control_plane
        )
        for number in range(self.options.replicas):
            self.add_control_plane(numbered("control-plane", number))
        if self.options.drivers:
            self.token = Token(self.folder / "token")
        for number in range(self.options.drivers):
            self.add_driver(numbered("hsm-driver", number))
        if self.options.layer4:
            self.customers_bucket = CustomersBucket(
                self.folder / "customers-bucket",
                self.log("s3"),
                self._launcher,
                self.certificates,
                [signer.node_id for signer in self.signers.all],
            )
            self.customers_bucket.start()
        self.signers.configure(
            [control_plane.node_url for control_plane in self.control_planes],
            self.control_plane_files.job_signing_key,
            self.databases.signers,
            self.certificates,
            self.customers_bucket,
        )

    def _prepare_control_plane(self) -> None:
        first = self.control_planes[0]
        if self._given is None:
            first.migrate()
        drivers = [driver.node_id for driver in self.drivers]
        side_by_side(
            lambda: start_together(self.control_planes),
            self._create_token,
            *([partial(first.add_nodes, drivers, self.options.driver.group)] if drivers else []),
            *(
                partial(
                    first.add_nodes,
                    [signer.node_id for signer in signers],
                    self.options.signer.group,
                    owner,
                )
                for owner, signers in self.signers.by_owner().items()
            ),
        )

    def _create_token(self) -> None:
        self.api_token = self.control_planes[0].create_token("local")

    def _prepare_driver(self) -> None:
        for first in self.drivers[:1]:
            first.generate_master_key()
            if self._given is None:
                first.migrate()

    def _prepare_signers(self) -> None:
        """Migrate the first database while it is empty, and copy it for the other signers."""
        names = [database_name(signer) for signer in self.signers.all]
        if self._given is None and names:
            first, *others = names
            self.clusters[-1].create_database(first)
            self.signers.all[0].migrate()
            for name in others:
                self.clusters[-1].create_database(name, template=first)
        self.signers.pin_each_other()

    def add_control_plane(self, name: str) -> ControlPlane:
        """Configure one more replica, which the caller must start."""
        control_plane = self.control_plane_files.replica(
            name,
            self.log(name),
            self._launcher,
            self.options.control_plane,
            [server.name for server in self.signers.delivery_servers],
        )
        self.control_planes.append(control_plane)
        return control_plane

    def add_driver(self, node_id: str) -> Driver:
        """Configure one more driver, which the caller must register and start."""
        control_plane = self.control_planes[len(self.drivers) % len(self.control_planes)]
        folder, log = self.folder / node_id, self.log(node_id)
        driver = Driver(node_id, folder, log, self.token, self._launcher)
        surroundings = Surroundings(
            node_url=control_plane.node_url,
            job_signing_key=self.control_plane_files.job_signing_key,
            database_url=self.databases.driver,
            send_audit_records=self.options.send_audit_records,
        )
        driver.configure(surroundings, self.certificates.node(node_id), self.options.driver)
        self.drivers.append(driver)
        return driver

    def _wait_for_capabilities(self) -> None:
        """Wait for each node's heartbeat: before that, the API takes no requests for the node."""
        deadline = time.monotonic() + HEARTBEAT_TIMEOUT
        nodes: list[Node] = [*self.drivers, *self.signers.all]
        wanted = {node.node_id for node in nodes}
        with self.client() as custody:
            while wanted - {node.id for node in custody.list_nodes() if node.capabilities}:
                for node in nodes:
                    node.process.check()
                if time.monotonic() > deadline:
                    raise OperatorError(
                        f"the API has no heartbeat of every node after {HEARTBEAT_TIMEOUT:.0f} s",
                        f"See the logs in {self.folder / 'logs'}.",
                    )
                time.sleep(0.05)

    @property
    def api_url(self) -> str:
        return self.control_planes[0].url

    @property
    def driver_groups(self) -> dict[str, list[str]]:
        """Return the ids of the drivers of each group. This stack has one group."""
        return {self.options.driver.group: [driver.node_id for driver in self.drivers]}

    @property
    def pinned_nodes(self) -> PinnedNodes:
        """Return all nodes, for a client that does not trust the control plane."""
        signers = {signer.node_id: signer.identity_public_key for signer in self.signers.all}
        return PinnedNodes(
            {driver.node_id: driver.identity_public_key for driver in self.drivers},
            signers,
            self.driver_groups,
            {
                name: group
                for name, group in SIGNER_GROUPS.items()
                if signers.keys() >= set(group.signers)
            },
        )

    @property
    def ca(self) -> Path:
        return self.certificates.ca

    def client(
        self,
        token: str | None = None,
        replica: int = 0,
        pinned_nodes: PinnedNodes | None = None,
    ) -> Custody:
        """Return a client of one replica, with the given token or a token of all scopes."""
        url = self.control_planes[replica].url
        return Custody(url, token or self.api_token, self.ca, pinned_nodes=pinned_nodes)

    def async_client(self, token: str | None = None, replica: int = 0) -> AsyncCustody:
        return AsyncCustody(self.control_planes[replica].url, token or self.api_token, self.ca)

    def processes(self) -> list[Process]:
        """Return the running processes in the order of their start."""
        services = [*self.control_planes, *self.drivers, *self.signers.services]
        if self.customers_bucket is not None:
            services.append(self.customers_bucket.server)
        servers = [cluster.process for cluster in self.clusters]
        return [*servers, *(service.process for service in services)]

    def stop(self) -> None:
        """Stop everything. Nodes finish their work; databases are deleted."""
        stop_together([*self.drivers, *self.signers.all])
        stop_together(self.signers.delivery_servers)
        stop_together(self.control_planes)
        if self.customers_bucket is not None:
            self.customers_bucket.server.stop()
        for cluster in [*self.clusters, *([self.standby] if self.standby else [])]:
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


def side_by_side(*works: Callable[[], None]) -> None:
    """Do all works at the same time. Once all have ended, raise the first error."""
    with ThreadPoolExecutor(max(1, len(works))) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result()


def numbered(name: str, number: int) -> str:
    """Return a numbered name. The first has no number, as a single one in production."""
    return name if number == 0 else f"{name}-{number + 1}"


def database_name(signer: Signer) -> str:
    """Return the name of the signer's own database. All signers of a stack share one cluster."""
    return f"mpc_{signer.node_id.replace('-', '_')}"
