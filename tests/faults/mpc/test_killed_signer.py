"""One signer killed at each exchange of a ceremony and at each step of what is committed after it.

One request survives all of these kills: each costs an attempt at most, and at its end the
request is done, with the same set of shares in use at all three, and with nothing left over.
"""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from custody.client import (
    ChangeStatus,
    Curve,
    Custody,
    Key,
    KeyArchived,
    KeyChange,
    KeyStatus,
    Scheme,
    Signature,
    SignatureStatus,
    Store,
)
from custody.client.importing.private_key import PrivateKey
from custody.wire.algorithms import EDDSA_ED25519, SCHNORR_SECP256K1
from custody.wire.resources import RegisteredSigner
from devstack.signer import Signer
from devstack.stack import Stack
from tests.acceptance.conftest import raw_client
from tests.faults.mpc.conftest import (
    GROUP,
    SECONDS,
    SIGNERS,
    VICTIM,
    is_active_everywhere,
    kill_at,
    never_active_too_soon,
    nothing_is_left_over,
    rows,
    wait_for,
)
from tests.faults.mpc.killing_signer import COMMIT, EXCHANGES
from tests.importing import import_bare_key, sealed

AlgorithmOf = {
    "ECDSA": (Scheme.ECDSA, Curve.SECP256K1),
    "EdDSA": (Scheme.EDDSA, Curve.ED25519),
    "Schnorr": (Scheme.SCHNORR, Curve.SECP256K1),
}
Points = list[tuple[str, str]]
TAKE_INTO_USE = [
    ("ProveKey", "handled"),
    ("ProveKey", "reported"),
    ("Promise", "handled"),
    ("Promise", "committed"),
    ("ActivateKey", "handled"),
    ("ActivateKey", "committed"),
]


def points(kind: str, exchanges: tuple[str, ...] = EXCHANGES) -> Points:
    return [(kind, at) for at in (*exchanges, *COMMIT)]


def die_at_each(
    victim: Signer, folder: Path, deaths: Points, begin: Callable[[], None],
    check: Callable[[], None],
) -> None:  # fmt: skip
    """Begin, and have the victim end at one point after the other; then let it live."""
    for number, (kind, at) in enumerate(deaths):
        kill_at(victim, kind, at, folder)
        victim.kill()
        victim.start(wait=False)
        if number == 0:
            begin()
        deadline = time.monotonic() + SECONDS
        while victim.is_running:
            check()
            assert time.monotonic() < deadline, f"did not come to {kind}, {at}: see {victim.log}"
            time.sleep(0.05)
        assert victim.process.wait() == -signal.SIGKILL, f"see {victim.log}"
    victim.run_command = victim.command("run")
    victim.start()


@contextmanager
def without(signer: Signer) -> Iterator[None]:
    signer.stop()
    try:
        yield
    finally:
        signer.start()


def shown(custody: Custody) -> RegisteredSigner:
    [found] = [each for each in custody.list_signers() if each.id == VICTIM]
    return found


def make_key(custody: Custody, scheme: str) -> Key:
    return custody.create_key(*AlgorithmOf[scheme], Store.MPC, signer_group=GROUP, wait=SECONDS)


@pytest.fixture
def key(custody: Custody) -> Key:
    return make_key(custody, "EdDSA")


@pytest.mark.timeout(300)
def test_a_key_is_made_wherever_a_signer_is_killed(stack: Stack, custody, victim, tmp_path):
    made: list[UUID] = []

    def begin() -> None:
        new = custody.create_key(Scheme.EDDSA, Curve.ED25519, Store.MPC, signer_group=GROUP, wait=0)
        made.append(new.id)

    deaths = points("GenerateKey") + TAKE_INTO_USE
    die_at_each(
        victim, tmp_path, deaths, begin, lambda: never_active_too_soon(stack, custody, made[0])
    )
    done = custody.get_key(made[0], wait=SECONDS)
    assert done.status is KeyStatus.ACTIVE
    assert is_active_everywhere(stack, done.id)
    nothing_is_left_over(stack, done.id)
    assert custody.sign_message(done.id, "alive", wait=SECONDS).status is SignatureStatus.SIGNED


ORDERS_OF_COPY = [(kind, at) for kind in ("PrepareImport", "DealShares") for at in COMMIT]
DEATHS_IN_COPY = {
    "EdDSA": [*ORDERS_OF_COPY, *points("CopyKey"), *TAKE_INTO_USE],
    "Schnorr": [("DealShares", "handled"), *points("CopyKey", ("seal 1", "seal 3"))],
}
"""FROST copies both in the same way: Taproot's deaths are those around its own arithmetic."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", DEATHS_IN_COPY)
def test_a_key_is_copied_wherever_a_signer_is_killed(
    stack: Stack, custody: Custody, victim, tmp_path, scheme: str
):
    """The victim is in both groups, and all old signers are needed."""
    for group in ("all-three", "all-three-again"):  # the threshold is not below the key's
        custody.create_signer_group(group, SIGNERS, 3)
    key = custody.create_key(
        *AlgorithmOf[scheme], Store.MPC, signer_group="all-three", wait=SECONDS
    )
    made: list[UUID] = []

    def begin() -> None:
        with raw_client(stack) as api:
            body = {"signer_group": "all-three-again"}
            asked = api.post(f"/v1/keys/{key.id}/copy", json=body)
            assert asked.status_code == 201, asked.text
            made.append(UUID(asked.json()["id"]))

    die_at_each(
        victim,
        tmp_path,
        DEATHS_IN_COPY[scheme],
        begin,
        lambda: never_active_too_soon(stack, custody, made[0]),
    )
    copy = custody.get_key(made[0], wait=SECONDS)
    assert (copy.status, copy.public_key) == (KeyStatus.ACTIVE, key.public_key)
    assert is_active_everywhere(stack, copy.id)
    nothing_is_left_over(stack, copy.id)
    for each in (copy, key):
        signed = (
            custody.sign_hash(each.id, bytes(32), wait=SECONDS)
            if scheme == "Schnorr"
            else custody.sign_message(each.id, "alive", wait=SECONDS)
        )
        assert signed.status is SignatureStatus.SIGNED


@pytest.mark.timeout(300)
def test_a_key_is_imported_wherever_a_signer_is_killed(stack: Stack, custody, victim, tmp_path):
    """The key is of Taproot's Schnorr, the new key above of EdDSA: FROST makes both."""
    private_key = PrivateKey(SCHNORR_SECP256K1, bytes(range(32)))
    made: list[UUID] = []

    def begin() -> None:
        created = import_bare_key(api, private_key, imported, GROUP, wait=0)
        made.append(UUID(created["id"]))

    deaths = points("ImportKey") + TAKE_INTO_USE
    with raw_client(stack) as api:
        imported = sealed(api, private_key, GROUP)
        die_at_each(
            victim, tmp_path, deaths, begin, lambda: never_active_too_soon(stack, custody, made[0])
        )
    done = custody.get_key(made[0], wait=SECONDS)
    assert (done.status, done.imported) == (KeyStatus.ACTIVE, True)
    assert done.public_key == private_key.public_key
    assert is_active_everywhere(stack, done.id)
    nothing_is_left_over(stack, done.id)
    for signer in stack.signers.all:
        assert rows(signer, "SELECT FROM import_keys WHERE key_id = %s", done.id) == []
    assert custody.sign_hash(done.id, bytes(32), wait=SECONDS).status is SignatureStatus.SIGNED


@pytest.mark.timeout(300)
def test_import_keys_are_made_wherever_a_signer_is_killed(stack: Stack, victim, tmp_path):
    private_key = PrivateKey(EDDSA_ED25519, bytes(32))
    begun: list[str] = []

    def begin() -> None:
        body = {"store": "mpc", "signer_group": GROUP, "scheme": "EdDSA", "curve": "ed25519"}
        begun.append(api.post("/v1/imports", json=body).json()["id"])

    with raw_client(stack) as api:
        die_at_each(victim, tmp_path, [("PrepareImport", at) for at in COMMIT], begin, lambda: None)
        done = api.get(f"/v1/imports/{begun[0]}", params={"wait": int(SECONDS)}).json()
        assert done["status"] == "Ready", done
        assert (
            import_bare_key(api, private_key, sealed(api, private_key, GROUP), GROUP)["status"]
            == "Active"
        )


@pytest.mark.timeout(300)
def test_shares_are_refreshed_wherever_a_signer_is_killed(
    stack: Stack, custody: Custody, key: Key, victim, tmp_path
):
    changes = []

    def begin() -> None:
        changes.append(custody.refresh_key(key.id, wait=0))

    deaths = points("RefreshKey") + TAKE_INTO_USE
    die_at_each(victim, tmp_path, deaths, begin, lambda: None)
    done = custody.get_refresh(key.id, changes[0].id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE
    assert (key.generation, custody.get_key(key.id).generation) == (0, 1)
    nothing_is_left_over(stack, key.id)
    assert custody.sign_message(key.id, "alive", wait=SECONDS).status is SignatureStatus.SIGNED


@pytest.mark.timeout(300)
def test_a_message_is_signed_wherever_a_signer_is_killed(
    stack: Stack, custody: Custody, key: Key, victim, tmp_path
):
    begun: list[Signature] = []

    def begin() -> None:
        begun.append(custody.sign_message(key.id, f"message {len(begun)}", wait=0))

    early = [("Sign", at) for at in ("hello 0", "open 0", "seal 1")]
    # from here on the other one has all that it takes, and the request needs nobody's return
    late = [[("Sign", at)] for at in ("open 1", *COMMIT)]
    with without(stack.signers["signer-3"]):
        for deaths in (early, *late):
            die_at_each(victim, tmp_path, deaths, begin, lambda: None)
            done = custody.get_signature(key.id, begun[-1].id, wait=SECONDS)
            assert done.status is SignatureStatus.SIGNED
    nothing_is_left_over(stack, key.id)


@pytest.mark.timeout(300)
def test_a_key_is_archived_wherever_a_signer_is_killed(
    stack: Stack, custody: Custody, key: Key, victim, tmp_path
):
    def change(kind: str, ask: Callable[..., KeyChange], read: Callable[..., KeyChange]) -> None:
        begun: list[KeyChange] = []
        die_at_each(
            victim, tmp_path, points(kind, ()), lambda: begun.append(ask(key.id, wait=0)),
            lambda: None,
        )  # fmt: skip
        done = read(key.id, begun[0].id, wait=SECONDS)
        assert done.status is ChangeStatus.DONE, done

    change("ArchiveKey", custody.archive_key, custody.get_archival)
    with pytest.raises(KeyArchived):
        custody.sign_message(key.id, "stopped")
    change("UnarchiveKey", custody.unarchive_key, custody.get_unarchival)
    numbers = "SELECT number FROM archivals WHERE root_id = %s ORDER BY number"
    for signer in stack.signers.all:
        assert rows(signer, numbers, key.id) == [(1,), (2,)]
    assert custody.sign_message(key.id, "alive", wait=SECONDS).status is SignatureStatus.SIGNED


@pytest.mark.timeout(300)
def test_a_lost_share_is_repaired_wherever_its_signer_is_killed(
    stack: Stack, custody: Custody, key: Key, victim, tmp_path
):
    victim.stop()
    rows(victim, "DELETE FROM shares WHERE key_id = %s RETURNING key_id", key.id)
    for name in ("signer-1", "signer-3"):
        helper = stack.signers[name]
        helper.run("approve", "repair", "approve", str(key.id), VICTIM, "--reason", "a lost disk")
    changes = []

    def begin() -> None:
        changes.append(custody.repair_share(key.id, VICTIM, wait=0))

    die_at_each(
        victim, tmp_path, points("RepairShare", ("hello 0", "seal 1", "seal 2")), begin,
        lambda: None,
    )  # fmt: skip
    done = custody.get_repair(key.id, changes[0].id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE, done
    nothing_is_left_over(stack, key.id)
    assert custody.sign_message(key.id, "alive", wait=SECONDS).status is SignatureStatus.SIGNED


@pytest.mark.timeout(300)
@pytest.mark.parametrize("last", ["phase 2", "seal 2"])
def test_an_ecdsa_signature_survives_deaths_and_one_in_phase_2_or_after_it_waits_for_the_operator(
    stack: Stack, custody: Custody, victim, tmp_path, last: str
):
    key = make_key(custody, "ECDSA")
    digest = iter(bytes([number]) * 32 for number in range(1, 10))
    begun = []
    with without(stack.signers["signer-3"]):
        die_at_each(
            victim,
            tmp_path,
            [("Sign", at) for at in ("hello 0", "seal 1", last)],
            lambda: begun.append(custody.sign_hash(key.id, next(digest), wait=0)),
            lambda: None,
        )
        left = "SELECT signer FROM in_flight WHERE key_id = %s"
        assert rows(victim, left, key.id) == [("signer-1",)]
        command = f"mpc-signer bans resolve {key.id} signer-1 --clear"

        def says_what_to_do() -> bool:
            waiting = custody.get_signature(key.id, begun[0].id)
            assert waiting.status in (SignatureStatus.PENDING, SignatureStatus.EXECUTING), waiting
            return waiting.reason is not None and command in waiting.reason.detail

        wait_for(says_what_to_do, "the reason names no command")
        wait_for(lambda: command in (shown(custody).health.detail or ""), "health does not name it")
        assert [str(each.key_id) for each in shown(custody).left_in_flight or ()] == [str(key.id)]
    # the others are a quorum: nobody need wait for the operator
    done = custody.get_signature(key.id, begun[0].id, wait=SECONDS)
    assert done.status is SignatureStatus.SIGNED
    assert rows(victim, left, key.id) == [("signer-1",)]

    victim.run(
        "resolve",
        "bans",
        "resolve",
        str(key.id),
        "signer-1",
        "--clear",
        "--reason",
        "a test's kill",
    )
    nothing_is_left_over(stack, key.id)
    with without(stack.signers["signer-3"]):
        again = custody.sign_hash(key.id, next(digest), wait=SECONDS)
        assert again.status is SignatureStatus.SIGNED


def test_a_delivery_server_that_is_killed_in_a_ceremony_costs_an_attempt(stack: Stack, custody):
    new = custody.create_key(*AlgorithmOf["ECDSA"], Store.MPC, signer_group=GROUP, wait=0)
    used = "SELECT FROM used_tickets WHERE used_at > now() - interval '2 seconds'"
    wait_for(lambda: bool(rows(stack.signers["signer-1"], used)), "no ceremony was begun")
    killed = stack.signers.delivery_servers[0]
    killed.kill()
    try:
        done = custody.get_key(new.id, wait=SECONDS)
        assert done.status is KeyStatus.ACTIVE
        nothing_is_left_over(stack, done.id)
        signature = custody.sign_hash(done.id, bytes([9]) * 32, wait=SECONDS)
        assert signature.status is SignatureStatus.SIGNED
    finally:
        killed.start()


def test_a_signer_that_is_slow_costs_time_and_nothing_else(stack: Stack, custody, key):
    slow = stack.signers[VICTIM]
    change = custody.refresh_key(key.id, wait=0)
    for _ in range(4):
        slow.pause()
        time.sleep(0.4)  # how slow it is
        slow.resume()
        time.sleep(0.1)
    done = custody.get_refresh(key.id, change.id, wait=SECONDS)
    assert done.status is ChangeStatus.DONE
    nothing_is_left_over(stack, key.id)


def test_a_refresh_waits_for_a_signer_that_hangs_and_the_others_sign_meanwhile(
    stack: Stack, custody, key
):
    silent = stack.signers[VICTIM]
    silent.pause()
    try:
        change = custody.refresh_key(key.id, wait=0)
        signature = custody.sign_message(key.id, "meanwhile", wait=SECONDS)
        assert signature.status is SignatureStatus.SIGNED
        assert custody.get_refresh(key.id, change.id).status is not ChangeStatus.DONE
    finally:
        silent.resume()
    assert custody.get_refresh(key.id, change.id, wait=SECONDS).status is ChangeStatus.DONE
    nothing_is_left_over(stack, key.id)
