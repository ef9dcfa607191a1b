"""Several replicas and several drivers of one group work at once."""

import asyncio
import json
from collections import Counter
from uuid import UUID

import psycopg

from custody.client import AsyncCustody, Curve, Key, Scheme, Signature
from custody.wire.algorithms import MAIN_NETWORKS
from tests.acceptance.conftest import async_raw_client
from tests.second_opinion import Wanted, check_signature, check_wallet

CLIENTS = 24
EACH = 6


async def test_replicas_and_drivers_share_the_work_and_nothing_is_done_twice(stack, keys):
    async def client(number: int) -> None:
        async with stack.async_client(replica=number % 2) as custody:
            for turn in range(EACH):
                await one(custody, f"{number}-{turn}")

    async def one(custody: AsyncCustody, name: str) -> None:
        key = keys[["Ethereum", "Bitcoin", "Solana"][len(done) % 3]]
        wanted = Wanted("Message", name.encode())
        signature = await custody.sign_message(key.id, wanted.content, external_id=name)
        check_signature(key, wanted, signature)
        done.append(signature.id)

    done: list[UUID] = []
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    assert len(done) == CLIENTS * EACH

    with psycopg.connect(stack.databases.driver) as connection:
        rows = connection.execute(
            "SELECT job_id, node, status FROM journal WHERE job_id = ANY(%s)", [done]
        ).fetchall()
    assert len(rows) == len(done)
    assert {status for _, _, status in rows} == {"DONE"}
    share = Counter(node for _, node, _ in rows)
    assert set(share) == {driver.node_id for driver in stack.drivers}


async def test_wallets_made_at_once_have_keys_and_addresses_of_their_own(stack, async_custody):
    wallets = await asyncio.gather(
        *(async_custody.create_wallet(MAIN_NETWORKS[number % 3]) for number in range(18))
    )
    keys: list[Key] = await asyncio.gather(
        *(async_custody.get_key(wallet.key_id) for wallet in wallets)
    )
    for wallet, key in zip(wallets, keys, strict=True):
        check_wallet(wallet, key)
    assert len({wallet.address for wallet in wallets}) == 18
    assert len({key.public_key for key in keys}) == 18


async def test_a_key_made_at_one_replica_signs_through_the_other_at_once(stack):
    async with stack.async_client(replica=0) as here, stack.async_client(replica=1) as there:
        for _ in range(5):
            key = await here.create_key(Scheme.ECDSA, Curve.SECP256K1)
            wanted = Wanted("Hash", bytes(32))
            check_signature(key, wanted, await there.sign_hash(key.id, wanted.content))


async def test_the_largest_requests_there_can_be_are_done_at_once_too(stack, keys):
    key, content = keys["Bitcoin"], bytes(65_536)
    body = Wanted("Message", content).body()
    padded = json.dumps(body) + " " * (256 * 1024 - len(json.dumps(body)))
    async with async_raw_client(stack) as client:
        answers = await asyncio.gather(
            *(
                client.post(
                    f"/v1/keys/{key.id}/signatures?wait=30",
                    content=padded,
                    headers={"content-type": "application/json"},
                )
                for _ in range(32)
            )
        )
    for answer in answers:
        assert answer.status_code == 201, answer.text[:300]
        signature = Signature.model_validate_json(answer.content)
        check_signature(key, Wanted("Message", content), signature)


def test_the_nodes_are_listed_with_what_they_can_do(stack, custody):
    nodes = {node.id: node for node in custody.list_nodes()}
    assert set(nodes) == {driver.node_id for driver in stack.drivers}
    for node in nodes.values():
        assert node.group == "hsm"
        assert node.version
        assert node.last_seen is not None
        assert node.health.status == "ok"
        assert node.capabilities == {
            "ECDSA/secp256k1": "hsm",
            "ECDSA/secp256r1": "hsm",
            "EdDSA/ed25519": "host",
        }
