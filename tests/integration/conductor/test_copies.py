"""The copies of a key, as the API shows them: with the key, with its wallet and in a list."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from custody.control_plane.conductor.queries import READ_REQUESTS
from custody.control_plane.tables import jobs
from custody.wire.jobs import JobKind
from tests.integration.conductor.conftest import Troupe
from tests.integration.conductor.scripted_signer import failed


async def copies_of(troupe: Troupe, key_id: str) -> list[dict[str, Any]]:
    answer = await troupe.api.get(f"/v1/keys/{key_id}/copies")
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_key_and_wallet_show_the_copies_that_did_not_fail_and_the_list_shows_all(
    troupe: Troupe,
):
    wallet = await troupe.wallet()
    other = await troupe.wallet()
    await troupe.group(3, of=3, name="zurich")
    for signer in troupe.signers.values():
        signer.on[JobKind.PREPARE_IMPORT] = _not_now
    key_id = wallet["key_id"]
    first, second = [
        await troupe.change(key_id, "copy", wait=0, signer_group="zurich") for _ in range(2)
    ]
    assert {each["copied_from"] for each in (first, second)} == {key_id}
    await _shows(troupe, wallet, [first["id"], second["id"]])

    await troupe.expire(first["id"])
    await troupe.until(lambda: _has_status(troupe, first["id"], "Failed"))
    await _shows(troupe, wallet, [second["id"]])
    listed = await copies_of(troupe, key_id)
    assert [(each["id"], each["status"]) for each in listed] == [
        (second["id"], "Pending"),
        (first["id"], "Failed"),
    ]
    assert {(each["signer_group"], each["threshold"]) for each in listed} == {("zurich", 3)}
    await _shows(troupe, other, [])
    assert await copies_of(troupe, other["key_id"]) == []
    assert (await troupe.api.get(f"/v1/keys/{uuid4()}/copies")).status_code == 404


async def test_a_change_of_a_copy_waits_until_the_copy_is_made(troupe: Troupe):
    wallet = await troupe.wallet()
    await troupe.group(3, of=3, name="zurich")
    for signer in troupe.signers.values():
        signer.on[JobKind.PREPARE_IMPORT] = _not_now
    copy = await troupe.change(wallet["key_id"], "copy", wait=0, signer_group="zurich")
    made_by = (await troupe.job_row(copy["id"]))._asdict()
    refresh = made_by | {
        "id": uuid4(),
        "kind": JobKind.REFRESH_KEY.value,
        "external_id": None,
        "state": "Queued",
        "attempt": 0,
        "created_at": datetime.now(UTC),
        "run_after": datetime.now(UTC) + timedelta(hours=1),  # the conductor leaves it alone
    }
    replica = troupe.conducting.replica
    async with replica.engine.begin() as connection:
        await connection.execute(insert(jobs).values(refresh))
    wanted = {"ids": [refresh["id"]], "group": made_by["node_group"], "limit": 10}
    read = await replica.database.rows(READ_REQUESTS, wanted)
    assert [row.is_blocked for row in read if row.id == refresh["id"]] == [True]


async def _shows(troupe: Troupe, wallet: dict[str, Any], wanted: list[str]) -> None:
    shown = (await troupe.api.get(f"/v1/wallets/{wallet['id']}")).json()
    listed = (await troupe.api.get("/v1/wallets", params={"key_id": wallet["key_id"]})).json()
    assert shown["copies"] == wanted
    assert listed["items"][0]["copies"] == wanted
    assert (await troupe.key(wallet["key_id"]))["copies"] == wanted


async def _has_status(troupe: Troupe, key_id: str, status: str) -> bool:
    return bool((await troupe.key(key_id))["status"] == status)


def _not_now(*_: object) -> None:
    raise failed("import_not_scripted")
