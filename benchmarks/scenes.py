"""The scenes of HSM mode, one function a scene."""

import itertools
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx

from benchmarks.http_load import Load, LoadResult
from custody.runtime.tls import client_context
from custody.wire.algorithms import Curve, Network, Scheme, Store
from custody.wire.encoding import Model
from custody.wire.resources import KeyStatus, SignatureStatus
from devstack.certificates import Leaf
from devstack.driver import Driver
from devstack.launcher import Tied
from devstack.node import Surroundings
from devstack.processes import Program, free_port, wait_until
from devstack.stack import Stack

WAIT = 30
ROUND_TRIPS = 400
ALONE = "hsm-driver-alone"
STUB_READY_SECONDS = 30.0
FASTEST = 2_500
"""Prepared requests for each second: more than any machine can send."""


def run_load(load: Load) -> LoadResult:
    """Run a load in a process of its own. Raise RuntimeError with that process's stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_load"],
        input=load.model_dump_json().encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the load generator failed: {done.stderr.decode()[-2000:]}")
    return LoadResult.model_validate_json(done.stdout)


class Api:
    """Load on the public API of a running stack."""

    def __init__(self, stack: Stack, keys: int) -> None:
        self._stack = stack
        with stack.client() as custody:
            self._keys = [
                custody.create_key(Scheme.ECDSA, Curve.SECP256K1, Store.HSM, wait=WAIT).id
                for _ in range(keys)
            ]

    def signatures(self, clients: int, seconds: float, url: str | None = None) -> LoadResult:
        """Measure from POST to Signed, with a new digest each time and the keys in turn.

        ``url``: of the replica that gets the requests; by default the first one.
        """
        keys = itertools.cycle(self._keys)
        requests = [
            (
                f"/v1/keys/{next(keys)}/signatures?wait={WAIT}",
                json.dumps({"kind": "Hash", "hash": "0x" + uuid4().hex * 2}),
            )
            for _ in range(int(seconds * FASTEST))
        ]
        return self._run(requests, clients, seconds, SignatureStatus.SIGNED.value, url)

    def wallets(self, clients: int, seconds: float) -> LoadResult:
        """Measure from POST to Active."""
        body = json.dumps({"network": Network.ETHEREUM.value, "store": Store.HSM.value})
        requests = [(f"/v1/wallets?wait={WAIT}", body)] * int(seconds * FASTEST)
        return self._run(requests, clients, seconds, KeyStatus.ACTIVE.value)

    def _run(
        self,
        requests: list[tuple[str, str]],
        clients: int,
        seconds: float,
        status: str,
        url: str | None = None,
    ) -> LoadResult:
        return run_load(
            Load(
                url=url or self._stack.api_url,
                ca=str(self._stack.ca),
                headers={"authorization": f"Bearer {self._stack.api_token}"},
                clients=clients,
                requests=requests,
                seconds=seconds,
                expect=f'"status":"{status}"',
            )
        )


class Alone(Model):
    """The stub's figures of the driver: reported signatures, and the seconds that they took."""

    seconds: float
    signatures: int

    @property
    def rate(self) -> float:
        return self.signatures / self.seconds


class StubbedNodeApi:
    """The stub of the node API in its own process, and one driver that gets its jobs there."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        server = stack.certificates.server("stub")
        self._node = stack.certificates.node(ALONE)
        port = free_port()
        self._url = f"https://localhost:{port}"
        self._stub = Tied().start(_stub_program(folder, server, port), signal.SIGTERM)
        ready = folder / "stub.json"
        wait_until(self._stub, ready.exists, STUB_READY_SECONDS)
        self._driver = Driver(
            ALONE, folder / ALONE, folder / "driver.log", stack.token, Tied(forked=False)
        )
        self._options = stack.options.driver
        self._surroundings = Surroundings(
            node_url=self._url,
            job_signing_key=json.loads(ready.read_text())["job_signing_key"],
            database_url=stack.clusters[-1].create_database("alone"),
        )
        self._driver.configure(self._surroundings, self._node, self._options)
        self._driver.migrate()

    def driver_alone(self, keys: int, jobs: int, cached_keys: int = 0) -> Alone:
        """Measure the driver over ``jobs`` signatures, with journal and audit."""
        options = replace(self._options, cached_keys=cached_keys)
        self._driver.configure(self._surroundings, self._node, options)
        self._driver.start()
        try:
            with self._http() as http:
                answer = http.get("/measure", params={"keys": keys, "jobs": jobs})
        finally:
            self._driver.stop()
        return Alone.model_validate_json(answer.content)

    def round_trips(self) -> LoadResult:
        """Measure requests without work, one after the other over one mTLS connection."""
        return run_load(
            Load(
                url=self._url,
                ca=str(self._node.ca),
                certificate=str(self._node.certificate),
                private_key=str(self._node.private_key),
                headers={},
                clients=1,
                requests=[("/node/v1/extend", "{}")] * ROUND_TRIPS,
                seconds=WAIT,
                expect="extended",
            )
        )

    def stop(self) -> None:
        self._stub.stop()

    def _http(self) -> httpx.Client:
        leaf = self._node
        return httpx.Client(
            base_url=self._url,
            verify=client_context(leaf.ca, leaf.certificate, leaf.private_key),
            timeout=600,
            trust_env=False,
        )


def _stub_program(folder: Path, server: Leaf, port: int) -> Program:
    arguments: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.stub_node_api",
        folder,
        server.certificate.parent,
        str(port),
        ALONE,
        "hsm",
    ]
    return Program("stub of the node API", arguments, Path.cwd(), folder / "stub.log")
