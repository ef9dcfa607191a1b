"""One stack of seven signers for all tests of MPC mode: real processes, each with its database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from custody.client import AddressType, Curve, Custody, Key, Network, Scheme, Signature, Store
from devstack.signer import Signer
from devstack.stack import Stack, StackOptions
from tests.second_opinion import Wanted, check_signature

GROUPS = {"2-of-3": (2, 3), "3-of-5": (3, 5), "4-of-7": (4, 7)}
"""Threshold and number of signers by group's name; members are signer-1 to signer-n."""

SCHEMES = {
    "ECDSA": (Scheme.ECDSA, Curve.SECP256K1),
    "EdDSA": (Scheme.EDDSA, Curve.ED25519),
    "Schnorr": (Scheme.SCHNORR, Curve.SECP256K1),
}
WALLETS = {
    "Ethereum": (Network.ETHEREUM, None),
    "Bitcoin P2WPKH": (Network.BITCOIN, AddressType.P2WPKH),
    "Bitcoin Taproot": (Network.BITCOIN, AddressType.P2TR),
    "Solana": (Network.SOLANA, None),
}

SECONDS = 30


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    options = StackOptions(drivers=0, signers=7, durable=False)
    with Stack(tmp_path_factory.mktemp("mpc"), options) as stack:
        with stack.client() as custody:
            for name, (threshold, count) in GROUPS.items():
                custody.create_signer_group(name, members(count), threshold)
        yield stack


@pytest.fixture(scope="package")
def custody(stack: Stack) -> Iterator[Custody]:
    with stack.client() as custody:
        yield custody


@pytest.fixture
def signers(stack: Stack) -> Iterator[list[Signer]]:
    """All signers, to stop or freeze: at the test's end they run again, and nothing is frozen."""
    yield stack.signers.all
    for signer in stack.signers.all:
        signer.unfreeze()
        if not signer.is_running:
            signer.start(wait=False)
    for signer in stack.signers.all:
        signer.wait_until_ready()


def members(count: int) -> list[str]:
    return [f"signer-{number}" for number in range(1, count + 1)]


def make_key(custody: Custody, scheme: str, group: str = "2-of-3") -> Key:
    return custody.create_key(*SCHEMES[scheme], Store.MPC, signer_group=group, wait=120)


@pytest.fixture(scope="package")
def keys(custody: Custody) -> dict[str, Key]:
    """A 2-of-3 key of each scheme, for tests that leave its shares alone."""
    return {scheme: make_key(custody, scheme) for scheme in SCHEMES}


def sign_and_check(custody: Custody, key: Key, content: bytes) -> Signature:
    """Sign a hash, or with EdDSA a message, and have another library verify the signature."""
    if key.scheme is Scheme.EDDSA:
        signature = custody.sign_message(key.id, content)
        check_signature(key, Wanted("Message", content), signature)
    else:
        digest = content.ljust(32, b"\0")[:32]
        signature = custody.sign_hash(key.id, digest)
        check_signature(key, Wanted("Hash", digest), signature)
    return signature


@contextmanager
def frozen(custody: Custody, signers: list[Signer]) -> Iterator[None]:
    """While it lasts, nothing leaves these signers, and the control plane knows it.

    Who is left is not degraded any more: so they are the ones to be chosen first.
    """
    for signer in signers:
        signer.freeze("a test works without it")
    try:
        _until_degraded(custody, {signer.node_id for signer in signers})
        yield
    finally:
        for signer in signers:
            signer.unfreeze()


def _until_degraded(custody: Custody, wanted: set[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while wanted != (degraded := _degraded(custody)):
        assert time.monotonic() < deadline, degraded
        time.sleep(0.05)


def _degraded(custody: Custody) -> set[str]:
    return {signer.id for signer in custody.list_signers() if signer.health.status != "ok"}


def signed_by(stack: Stack, signature_id: UUID) -> set[str]:
    """The signers that made a signature, as each one's own journal has it."""
    done = set()
    for signer in stack.signers.all:
        with psycopg.connect(signer.database_url) as connection:
            found = connection.execute(
                "SELECT 1 FROM journal WHERE job_id = %s AND status = 'DONE'", (signature_id,)
            )
            if found.fetchone() is not None:
                done.add(signer.node_id)
    return done
