"""The scenes of MPC mode: keys and signatures over the API, by groups of real signers."""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import uvloop

from benchmarks.http_load import Load, LoadResult
from benchmarks.library_alone import Alone, Library
from benchmarks.scenes import ROUND_TRIPS, WAIT, run_load
from custody.wire.algorithms import ECDSA_SECP256K1, EDDSA_ED25519, Algorithm, Store
from custody.wire.encoding import Model
from custody.wire.resources import SignatureStatus
from custody.wire.tickets import PROTOCOL
from devstack.stack import Stack
from mpc.ceremonies.delivery_client import DeliveryClient, DeliveryServer

CLIENTS = (1, 8)
KEYS = {ECDSA_SECP256K1: 2, EDDSA_ED25519: 8}
"""The number of keys that share the load: signatures with one ECDSA key take turns in phase 2."""
DKG_WAIT = 300.0
WARM_UP_SECONDS = 1.5


@dataclass(frozen=True)
class Case:
    """t of n signers with keys of an algorithm. ``exchanges``: of one signature, with the hello."""

    algorithm: Algorithm
    threshold: int
    signers: int
    exchanges: int

    @property
    def name(self) -> str:
        return f"{self.algorithm.scheme.value.lower()}_{self.threshold}_of_{self.signers}"


CASES = tuple(
    Case(algorithm, threshold, signers, exchanges)
    for algorithm, exchanges in ((ECDSA_SECP256K1, 4), (EDDSA_ED25519, 2))
    for threshold, signers in ((2, 3), (3, 5))
)


class Measured(Model):
    """One case: the library alone, and over the API. ``signatures``: by number of clients."""

    exchanges: int
    alone: Alone
    generate: list[float]
    signatures: dict[int, LoadResult]


class SignerGroups:
    """Load on a running stack. It makes signer groups and their keys first."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._made: set[str] = set()

    def measure(self, case: Case, seconds: float) -> Measured:
        alone = Library(PROTOCOL[case.algorithm], case.threshold, case.signers).measure(seconds)
        keys, generate = self._generate(case)
        self._sign(case, keys, max(CLIENTS), WARM_UP_SECONDS)
        return Measured(
            exchanges=case.exchanges,
            alone=alone,
            generate=generate,
            signatures={clients: self._sign(case, keys, clients, seconds) for clients in CLIENTS},
        )

    def round_trip(self) -> float:
        """Return the median seconds in which a signer's client asks a delivery server its name."""
        leaf = self._stack.certificates.node("signer-that-asks")
        (running,) = self._stack.signers.delivery_servers
        server = DeliveryServer(running.name, running.url, leaf.client())

        async def ask() -> list[float]:
            times = []
            async with DeliveryClient([server]) as client:
                for _ in range(ROUND_TRIPS):
                    began = time.perf_counter()
                    await client.facts(server.name)
                    times.append(time.perf_counter() - began)
            return times

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return statistics.median(runner.run(ask()))

    def memory(self) -> dict[str, int]:
        """Return the resident memory of each signer, in bytes."""
        return {signer.node_id: _resident(signer.process.pid) for signer in self._stack.signers.all}

    def _generate(self, case: Case) -> tuple[list[UUID], list[float]]:
        """Make keys one after the other. Return them, with the seconds from POST to Active."""
        group = f"{case.threshold}-of-{case.signers}"
        keys, times = [], []
        with self._stack.client() as custody:
            if group not in self._made:
                names = [signer.node_id for signer in self._stack.signers.all[: case.signers]]
                custody.create_signer_group(group, names, case.threshold)
                self._made.add(group)
            for _ in range(KEYS[case.algorithm]):
                began = time.perf_counter()
                key = custody.create_key(
                    case.algorithm.scheme,
                    case.algorithm.curve,
                    Store.MPC,
                    signer_group=group,
                    wait=DKG_WAIT,
                )
                times.append(time.perf_counter() - began)
                keys.append(key.id)
        return keys, times

    def _sign(self, case: Case, keys: Sequence[UUID], clients: int, seconds: float) -> LoadResult:
        """Measure from POST to Signed, with a new message each time and the keys in turn."""
        turn = itertools.cycle(keys)
        requests = [
            (f"/v1/keys/{next(turn)}/signatures?wait={WAIT}", _body(case.algorithm))
            for _ in range(int(seconds * 1_000))
        ]
        return run_load(
            Load(
                url=self._stack.api_url,
                ca=str(self._stack.ca),
                headers={"authorization": f"Bearer {self._stack.api_token}"},
                clients=clients,
                requests=requests,
                seconds=seconds,
                expect=f'"status":"{SignatureStatus.SIGNED.value}"',
            )
        )


def _body(algorithm: Algorithm) -> str:
    digest = "0x" + uuid4().hex * 2
    if algorithm == EDDSA_ED25519:
        return json.dumps({"kind": "Message", "message": digest})
    return json.dumps({"kind": "Hash", "hash": digest})


def _resident(pid: int) -> int:
    """Return a process's resident memory in bytes: VmRSS (proc(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has no resident memory")
