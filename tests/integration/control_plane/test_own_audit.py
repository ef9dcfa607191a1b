"""The control plane's own audit: what its operators did, in a chain with signed heads."""

import json
from collections.abc import Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.audit.own_chain import Auditor, OwnChain, verify_own_chain
from custody.wire.signed_bytes import SigningKey
from tests.integration.control_plane.conftest import Replica

EARLIER, CURRENT = (SigningKey(Ed25519PrivateKey.generate()) for _ in "ab")


async def add(replica: Replica, signer: SigningKey, *kinds: str) -> None:
    async with replica.database.transaction() as connection:
        for kind in kinds:
            await Auditor("bo", signer).record(connection, kind, {"node": "driver-1"})


async def verified(replica: Replica, keys: Sequence[SigningKey] = (CURRENT,)) -> OwnChain:
    return await verify_own_chain(replica.database.rows, [key.public_key for key in keys])


@pytest.fixture
async def filled(replica: Replica) -> Replica:
    """Two records before a switch of the key, and three after."""
    await add(replica, EARLIER, "AddNode", "CreateToken")
    await add(replica, CURRENT, "SwitchJobSigningKey", "SetRetention", "RevokeToken")
    return replica


async def test_an_untouched_chain_has_no_findings(filled: Replica):
    found = await verified(filled)
    assert (found.records, found.earlier, found.findings) == (5, 2, [])
    assert (await verified(filled, [EARLIER, CURRENT])).earlier == 0
    [row] = await filled.database.rows("SELECT record FROM audit WHERE sequence = 1")
    said = json.loads(row.record)
    assert (said["kind"], said["operator"], said["details"]) == (
        "AddNode", "bo", {"node": "driver-1"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "sequences"),
    [
        ("UPDATE audit SET record = record || ' ' WHERE sequence = 4", {4}),
        ("DELETE FROM audit WHERE sequence = 3", {4}),
        ("UPDATE audit SET signature = sha512(signature) WHERE sequence = 4", {4}),
        ("UPDATE audit SET signing_key_id = 'mine' WHERE sequence = 4", {4}),
        ("UPDATE audit SET signing_key_id = 'mine' WHERE sequence = 5", {5}),
        ("UPDATE audit SET payload = (SELECT payload FROM audit WHERE sequence = 3), signature ="
         " (SELECT signature FROM audit WHERE sequence = 3) WHERE sequence = 4", {4}),
    ],
)  # fmt: skip
async def test_a_change_by_somebody_with_the_database_is_found(
    filled: Replica, change: str, sequences: set[int]
):
    await filled.database.rows(change)
    assert {sequence for sequence, _ in (await verified(filled)).findings} == sequences


async def test_a_chain_that_was_written_again_under_another_key_is_found(filled: Replica):
    """A person who has the database alone cannot sign the last head."""
    await filled.database.rows("DELETE FROM audit")
    await add(filled, SigningKey(Ed25519PrivateKey.generate()), "AddNode")
    [(sequence, what)] = (await verified(filled)).findings
    assert sequence == 1
    assert "does not know" in what
