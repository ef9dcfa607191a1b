"""From a group to a signature: every kind of key, through the real node API."""

import asyncio
from typing import Any

import pytest

from custody.wire.derivation import child_public_key
from custody.wire.tickets import CeremonyKind
from tests.integration.conductor.conftest import CALM, Troupe

KINDS: dict[str, dict[str, Any]] = {
    "Ethereum": {"network": "Ethereum"},
    "Bitcoin": {"network": "Bitcoin"},
    "Taproot": {"network": "Bitcoin", "address_type": "p2tr"},
    "Solana": {"network": "Solana"},
}


@CALM
async def test_a_wallet_is_made_by_all_proved_by_quorums_and_activated_by_all(troupe: Troupe):
    wallet = await troupe.wallet()
    assert wallet["status"] == "Active", wallet
    assert wallet["signer_group"] == "treasury"
    key = await troupe.key(wallet["key_id"])
    assert (key["threshold"], key["generation"], key["protection"]) == (2, 0, "mpc")
    assert key["signers"] == ["signer-1", "signer-2", "signer-3"]
    assert len(key["attestations"]) == 3
    assert await troupe.steps_of(wallet["key_id"]) == [
        ("GenerateKey", "done"),
        *[("ProveKey", "done")] * 3,
        ("Promise", "done"),
        ("ActivateKey", "done"),
    ]
    assert all(len(signer.active) == 1 for signer in troupe.signers.values())
    await troupe.has_free_slots()


@CALM
@pytest.mark.parametrize("kind", KINDS)
async def test_a_wallet_of_every_network_signs(troupe: Troupe, kind: str):
    wallet = await troupe.wallet(**KINDS[kind])
    assert wallet["status"] == "Active", wallet
    signed = await troupe.sign(wallet["key_id"])
    assert signed["status"] == "Signed", signed
    assert await troupe.steps_of(signed["id"]) == [("Sign", "done")]
    await troupe.has_free_slots()


async def test_every_share_signs_before_a_key_is_active(troupe: Troupe):
    await troupe.wallet()
    proving = [ticket for ticket in troupe.stage.tickets if ticket.kind is CeremonyKind.SIGN]
    assert {each.signer for ticket in proving for each in ticket.participants} == {
        "signer-1",
        "signer-2",
        "signer-3",
    }


async def test_requests_are_spread_over_all_signers_and_delivery_servers(troupe: Troupe):
    wallet = await troupe.wallet()
    troupe.stage.tickets.clear()
    signed = await asyncio.gather(
        *(troupe.sign(wallet["key_id"], f"message {number}") for number in range(24))
    )
    assert {each["status"] for each in signed} == {"Signed"}
    tickets = troupe.stage.tickets
    chosen = [each.signer for ticket in tickets for each in ticket.participants]
    assert all(chosen.count(signer) >= 4 for signer in troupe.signers)
    assert {ticket.delivery for ticket in tickets} == {"delivery-1", "delivery-2"}


async def test_no_signer_gets_more_ceremonies_than_it_has_slots(troupe: Troupe):
    wallet = await troupe.wallet()
    most = dict.fromkeys(troupe.signers, 0)
    held = dict.fromkeys(troupe.signers, 0)

    def script(name: str) -> None:
        signer = troupe.signers[name]
        handle = signer._handle

        async def counted(kind: Any, job: Any, ticket: Any) -> Any:
            held[name] += 1
            most[name] = max(most[name], held[name])
            await asyncio.sleep(0.05)
            try:
                return await handle(kind, job, ticket)
            finally:
                held[name] -= 1

        signer._handle = counted  # type: ignore[method-assign]

    for name, signer in troupe.signers.items():
        signer.slots = 2
        await signer.beat()
        script(name)
    signed = await asyncio.gather(
        *(troupe.sign(wallet["key_id"], f"message {number}") for number in range(20))
    )
    assert {each["status"] for each in signed} == {"Signed"}
    assert max(most.values()) <= 2


async def test_a_child_is_there_at_once_and_signs_by_its_roots_shares(troupe: Troupe):
    master = await troupe.master()
    child = await troupe.derive(master["id"], path="m/0/5")
    assert child["status"] == "Active"
    assert (child["root"], child["path"], child["generation"]) == (master["id"], "m/0/5", None)
    found = child_public_key(
        bytes.fromhex(master["public_key"][2:]), bytes.fromhex(master["chain_code"][2:]), (0, 5)
    )
    assert child["public_key"] == "0x" + found.hex()
    assert child["attestations"] == master["attestations"]
    signed = await troupe.sign(child["id"], hash_function="SHA-256")
    assert signed["status"] == "Signed"
    assert str(troupe.stage.tickets[-1].key_id) == master["id"]


async def test_a_grandchild_counts_from_the_same_root(troupe: Troupe):
    master = (await troupe.master())["id"]
    child = await troupe.derive(master, path="m/0")
    grandchild = await troupe.derive(child["id"], path="m/7/1")
    straight = await troupe.derive(master, path="m/0/7/1")
    assert grandchild["root"] == master
    assert grandchild["path"] == "m/0/7/1"
    assert grandchild["public_key"] == straight["public_key"]
    assert grandchild["chain_code"] == straight["chain_code"]


async def test_a_wallet_from_a_master_key_is_active_at_once(troupe: Troupe):
    master = (await troupe.master())["id"]
    before = len(troupe.stage.tickets)
    body = {
        "network": "Bitcoin",
        "store": "mpc",
        "master_key": master,
        "path": "m/84/0",
        "external_id": "user-17",
    }
    made = await troupe.api.post("/v1/wallets", json=body)
    assert (made.status_code, made.json()["status"]) == (201, "Active")
    assert made.json()["address"].startswith("bc1q")
    again = await troupe.api.post("/v1/wallets", json=body)
    assert (again.status_code, again.json()["id"]) == (200, made.json()["id"])
    other = await troupe.api.post("/v1/wallets", json={**body, "path": "m/84/1"})
    assert other.json()["code"] == "external_id_conflict"
    assert len(troupe.stage.tickets) == before


@pytest.mark.parametrize(
    "path", ["m", "m/", "m/0'", "m/0h", "0/1", "m/2147483648", "m/-1", "m" + "/1" * 11]
)
async def test_a_path_that_public_keys_cannot_follow_is_refused(troupe: Troupe, path: str):
    master = (await troupe.master())["id"]
    answer = await troupe.api.post(f"/v1/keys/{master}/derive", json={"path": path})
    assert answer.status_code == 422
    assert answer.json()["code"] in ("invalid_request", "not_derivable")


async def test_an_ed25519_key_has_no_children(troupe: Troupe):
    wallet = await troupe.wallet("Solana")
    answer = await troupe.api.post(f"/v1/keys/{wallet['key_id']}/derive", json={"path": "m/0"})
    assert (answer.status_code, answer.json()["code"]) == (422, "not_derivable")
