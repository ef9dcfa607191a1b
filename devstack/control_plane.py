"""Control-plane processes: configuration, database, tokens, nodes, start and stop."""

import base64
import http.client
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from custody.control_plane.jobs.queue import MAX_LAPSES
from custody.control_plane.settings import initialise
from devstack import configuration_file
from devstack.certificates import Certificates
from devstack.configuration_file import Table
from devstack.launcher import Launcher
from devstack.processes import LOCALHOST, Program, free_port, run, run_for_output
from devstack.service import READY_SECONDS, Service, answers_ready, clean_environment, command

ALL_SCOPES = ("read", "wallets", "sign", "admin")


@dataclass(frozen=True)
class ControlPlaneOptions:
    """``lifetime_seconds``: life of a request; ``lease_seconds``: time that a node has for a job.

    ``max_lapses``: a job fails after this number of leases without a report.

    ``group``, ``signers``: the node groups of stores hsm and mpc. ``ceremonies``: settings of
    [ceremonies] that differ from the defaults.
    """

    lifetime_seconds: int = 900
    lease_seconds: int = 30
    max_lapses: int = MAX_LAPSES
    group: str = "hsm"
    signers: str = "mpc"
    ceremonies: Table | None = None


class ControlPlane(Service):
    """One replica. Replicas share database, job-signing key and certificates.

    ``start`` runs ``serve_command``. Tests replace it by a command that ends at a given point.
    """

    def __init__(self, name: str, config: Path, log: Path, ca: Path, launcher: Launcher) -> None:
        super().__init__(name, launcher)
        self.config = config
        self.log = log
        self._ca = ca
        self.port = free_port()
        self.node_port = free_port()
        self.metrics_port = free_port()
        self.serve_command: Sequence[str | Path] = self.command("serve")

    @property
    def url(self) -> str:
        return f"https://{LOCALHOST}:{self.port}"

    @property
    def node_url(self) -> str:
        return f"https://{LOCALHOST}:{self.node_port}"

    def program(self) -> Program:
        return self._program_of(self.serve_command)

    def is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self._ca))
        return answers_ready(
            http.client.HTTPSConnection(
                LOCALHOST, self.port, context=context, timeout=READY_SECONDS
            )
        )

    def migrate(self) -> None:
        """Bring the database to this version's schema. Raise OperatorError."""
        run(self._program("migrate"), "make the control plane's tables")

    def add_nodes(self, node_ids: Sequence[str], group: str, owner: str | None = None) -> None:
        """Register nodes; ``owner``: the owner of signers. Raise OperatorError."""
        owned = [] if owner is None else ["--owner", owner]
        program = self._program("node", "add", *node_ids, "--group", group, *owned)
        run(program, f"register {', '.join(node_ids)}")

    def create_token(self, application: str, scopes: tuple[str, ...] = ALL_SCOPES) -> str:
        """Make a bearer token. Raise OperatorError."""
        options = [text for scope in scopes for text in ("--scope", scope)]
        program = self._program("token", "create", application, *options, "--json")
        # the log must not have the token: the command shows a token once and stores only its hash
        shown = run_for_output(program, "make a token")
        token: str = json.loads(shown)["token"]
        return token

    def run(self, what: str, *arguments: str) -> None:
        """Run a command of the control plane; ``what`` names its purpose. Raise OperatorError."""
        run(self._program(*arguments), what)

    def command(self, *arguments: str) -> list[str | Path]:
        """Return a command line as an operator types it."""
        return [command("control-plane"), "--config", self.config, *arguments]

    def _program(self, *arguments: str) -> Program:
        return self._program_of(self.command(*arguments))

    def _program_of(self, arguments: Sequence[str | Path]) -> Program:
        return Program(self.name, arguments, self.config.parent, self.log, clean_environment())


class ControlPlaneFiles:
    """The files that all replicas share: the job-signing key and the certificates."""

    def __init__(self, folder: Path, certificates: Certificates, database_url: str) -> None:
        self._folder = folder
        self._ca = certificates.ca
        self._database_url = database_url
        self._public_api = certificates.server("public-api")
        self._node_api = certificates.server("node-api")
        folder.mkdir(parents=True)
        public_key = initialise(folder / "as-written-by-init.toml")
        self.job_signing_key = base64.b64encode(public_key).decode()
        (self.signing_key,) = folder.glob("*.pem")

    def replica(
        self,
        name: str,
        log: Path,
        launcher: Launcher,
        options: ControlPlaneOptions,
        delivery_servers: Sequence[str] = (),
    ) -> ControlPlane:
        """Write a replica's configuration. Its signers meet at these delivery servers."""
        delivery = {"delivery": {"servers": delivery_servers}} if delivery_servers else {}
        config = self._folder / f"{name}.toml"
        made = ControlPlane(name, config, log, self._ca, launcher)
        configuration_file.write(
            config,
            {
                "database": {"url": self._database_url},
                "public_api": {
                    "host": LOCALHOST,
                    "port": made.port,
                    "certificate": self._public_api.certificate,
                    "private_key": self._public_api.private_key,
                },
                "node_api": {
                    "host": LOCALHOST,
                    "port": made.node_port,
                    "certificate": self._node_api.certificate,
                    "private_key": self._node_api.private_key,
                    "client_ca": self._ca,
                },
                "metrics": {"host": LOCALHOST, "port": made.metrics_port},
                "jobs": {
                    "signing_key": self.signing_key,
                    "lifetime_seconds": options.lifetime_seconds,
                    "lease_seconds": options.lease_seconds,
                    "max_lapses": options.max_lapses,
                },
                "groups": {"hsm": options.group, "mpc": options.signers},
                "ceremonies": options.ceremonies or {},
                **delivery,
            },
        )
        return made
