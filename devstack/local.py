"""`make up` and `make down`: a stack that keeps running, and the files with which to use it."""

import base64
import fcntl
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from devstack import configuration_file
from devstack.launcher import Recorded
from devstack.node import Node
from devstack.postgres import END_SIGNAL as DATABASE_SIGNAL
from devstack.progress import say, step
from devstack.signer_groups import OWNERS, SIGNER_GROUPS, SIGNERS, create_signer_groups
from devstack.stack import Stack, StackOptions, side_by_side

ENVIRONMENT_FILE = "env"
RECORD_FILE = "processes"
PINNED_NODES_FILE = "pinned-nodes.toml"


class LocalStack:
    """The one stack of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.environment_file = self.folder / ENVIRONMENT_FILE
        self._record = Recorded(self.folder / RECORD_FILE)

    def up(self) -> None:
        """Start the stack, unless it is running. Stop the rest of an earlier stack first.

        The data of an earlier stack is deleted: this stack is for trials. Raise OperatorError.
        """
        with self._alone():
            if self._is_up():
                say(f"The stack is running already: {self.environment_file}")
                return
            if ended := self._end():
                say(f"Stopped the rest of an earlier stack: {', '.join(ended)}.")
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True, mode=0o700)
            self._start()

    def down(self) -> None:
        """Stop the stack that ``up`` started and delete its data, but not its logs."""
        with self._alone():
            ended = self._end()
            if self.folder.exists():
                for path in self.folder.iterdir():
                    if path.name != "logs":
                        _delete(path)
        say(f"Stopped: {', '.join(ended)}." if ended else "Nothing was running.")

    def _is_up(self) -> bool:
        processes = self._record.processes()
        return self.environment_file.exists() and all(
            process.identity.is_alive() for process in processes
        )

    def _start(self) -> None:
        options = StackOptions(signers=SIGNERS, owners=OWNERS)
        stack = Stack(self.folder, options, launcher=self._record, step=step)
        stack.start()
        try:
            with step(f"signer groups: {', '.join(SIGNER_GROUPS)}"), stack.client() as custody:
                create_signer_groups(custody)
            pinned_nodes = self.folder / PINNED_NODES_FILE
            _write_pinned_nodes(pinned_nodes, stack)
            _write_environment(self.environment_file, environment_of(stack, pinned_nodes))
        except BaseException:
            stack.stop()
            raise

    def _end(self) -> list[str]:
        """End the recorded processes that still run, the databases last. Return their names."""
        alive = [each for each in reversed(self._record.processes()) if each.identity.is_alive()]
        for are_databases in (False, True):
            side_by_side(
                *(
                    partial(each.identity.end, each.gently)
                    for each in alive
                    if (each.gently is DATABASE_SIGNAL) is are_databases
                )
            )
        for folder in self._record.folders():
            shutil.rmtree(folder, ignore_errors=True)
        return [each.name for each in alive]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold a lock, so that one `up` or `down` runs at a time."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with self.folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def environment_of(stack: Stack, pinned_nodes: Path) -> Mapping[str, str | Path | int]:
    """Return the variables with which a script uses a stack."""
    control_plane, driver = stack.control_planes[0], stack.drivers[0]
    pids = {process.name: process.pid for process in stack.processes()}
    signers = {variable(signer.name): signer for signer in stack.signers.all}
    delivery_servers = {variable(server.name): server for server in stack.signers.delivery_servers}
    return {
        "CUSTODY_API_URL": stack.api_url,
        "CUSTODY_API_TOKEN": stack.api_token,
        "CUSTODY_CA": stack.ca,
        "CUSTODY_PINNED_NODES_FILE": pinned_nodes,
        "CUSTODY_NODE_API_URL": control_plane.node_url,
        "CONTROL_PLANE_CONFIG": control_plane.config,
        "CONTROL_PLANE_DATABASE_URL": stack.databases.control_plane,
        "HSM_DRIVER_CONFIG": driver.config,
        "DRIVER_DATABASE_URL": stack.databases.driver,
        "SOFTHSM2_CONF": stack.token.configuration,
        "PKCS11_MODULE": stack.token.module,
        "PKI_DIR": stack.certificates.folder,
        "MPC_SIGNER_CONFIG": stack.signers.all[0].config,
        "MPC_DELIVERY_CONFIG": stack.signers.delivery_servers[0].config,
        "CUSTODY_SIGNER_GROUPS": ",".join(SIGNER_GROUPS),
        **{f"CUSTODY_{name}_CONFIG": signer.config for name, signer in signers.items()},
        **{f"CUSTODY_{name}_DATABASE_URL": each.database_url for name, each in signers.items()},
        **{
            f"CUSTODY_{name}_PID": service.process.pid
            for name, service in {**signers, **delivery_servers}.items()
        },
        **{f"PID_{variable(name)}": pid for name, pid in pids.items()},
    }


def variable(name: str) -> str:
    """Return a process's name as a part of a variable's name."""
    return name.upper().replace("-", "_")


def _write_pinned_nodes(path: Path, stack: Stack) -> None:
    """Write the file with which Custody.from_environment checks every address."""
    sides: dict[str, Sequence[Node]] = {"drivers": stack.drivers, "signers": stack.signers.all}
    configuration_file.write(
        path,
        {
            **{
                side: {
                    node.node_id: base64.b64encode(node.identity_public_key).decode()
                    for node in nodes
                }
                for side, nodes in sides.items()
            },
            "driver_groups": stack.driver_groups,
            **{
                f"signer_groups.{name}": {
                    "threshold": group.threshold,
                    "signers": list(group.signers),
                }
                for name, group in SIGNER_GROUPS.items()
            },
        },
    )


def _write_environment(path: Path, environment: Mapping[str, str | Path | int]) -> None:
    lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in environment.items()]
    path.touch(mode=0o600)
    path.write_text("".join(lines))


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
