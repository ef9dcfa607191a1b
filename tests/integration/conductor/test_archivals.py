"""A key of signers is archived by all of them, also by one that comes back later."""

from uuid import UUID

from custody.wire.jobs import JobKind
from tests.integration.conductor.conftest import Troupe
from tests.integration.conductor.scripted_signer import denied


def archived(troupe: Troupe, key_id: str) -> list[bool]:
    return [signer.archives.get(UUID(key_id), False) for signer in troupe.signers.values()]


async def test_all_signers_archive_a_key_and_unarchive_it(troupe: Troupe):
    key_id = (await troupe.wallet())["key_id"]
    done = await troupe.change(key_id, "archive")
    assert (done["kind"], done["status"], done["reason"]) == ("Archive", "Done", None)
    assert all(archived(troupe, key_id))
    assert (await troupe.key(key_id))["archived_at"] is not None
    path = f"/v1/keys/{key_id}/signatures"
    body = {"kind": "Message", "message": "hello"}
    assert (await troupe.api.post(path, json=body)).json()["code"] == "key_archived"
    # its shares still change, so that the oldest ones are of no use to anybody
    assert (await troupe.change(key_id, "refresh"))["status"] == "Done"
    assert (await troupe.change(key_id, "unarchive"))["status"] == "Done"
    assert not any(archived(troupe, key_id))
    assert (await troupe.sign(key_id))["status"] == "Signed"


async def test_an_archival_waits_for_a_signer_and_stops_the_key_meanwhile(troupe: Troupe):
    key_id = (await troupe.wallet())["key_id"]
    await troupe[3].stop()
    pending = await troupe.change(key_id, "archive", wait=0)
    await troupe.until(lambda: archived(troupe, key_id) == [True, True, False])
    body = {"kind": "Message", "message": "hello"}
    refused = await troupe.api.post(f"/v1/keys/{key_id}/signatures", json=body)
    assert refused.json()["code"] == "key_archived"
    again = await troupe.api.post(f"/v1/keys/{key_id}/unarchive", json={})
    assert again.json()["code"] == "change_under_way"
    await troupe[3].start()
    path = f"/v1/keys/{key_id}/archivals/{pending['id']}?wait=20"
    assert (await troupe.api.get(path)).json()["status"] == "Done"
    assert all(archived(troupe, key_id))


async def test_a_key_that_too_many_signers_do_not_archive_signs_on(troupe: Troupe):
    def deny(*_: object) -> None:
        raise denied("unsigned_request")

    key_id = (await troupe.wallet())["key_id"]
    for number in (1, 2):
        troupe[number].on[JobKind.ARCHIVE_KEY] = deny
    rejected = await troupe.change(key_id, "archive")
    assert (rejected["status"], rejected["reason"]["code"]) == ("Rejected", "unsigned_request")
    assert (await troupe.key(key_id))["archived_at"] is None
    assert (await troupe.sign(key_id))["status"] == "Signed"


async def test_an_archived_key_stops_its_children_and_gets_no_new_ones(troupe: Troupe):
    root = (await troupe.master())["id"]
    derive = f"/v1/keys/{root}/derive"
    child = (await troupe.api.post(derive, json={"path": "m/0"})).json()["id"]
    grandchild = (await troupe.api.post(derive, json={"path": "m/0/5"})).json()["id"]
    other = (await troupe.api.post(derive, json={"path": "m/1"})).json()["id"]
    assert (await troupe.change(child, "archive"))["status"] == "Done"
    hash_ = {"kind": "Hash", "hash": "0x" + "5c" * 32}
    for key_id, is_stopped in ((root, False), (child, True), (grandchild, True), (other, False)):
        answer = await troupe.api.post(f"/v1/keys/{key_id}/signatures?wait=20", json=hash_)
        found = answer.json()
        assert found.get("code") == ("key_archived" if is_stopped else None), found
    refused = await troupe.api.post(derive, json={"path": "m/0/7"})
    assert refused.json()["code"] == "key_archived"
    assert (await troupe.api.post(derive, json={"path": "m/00"})).status_code == 422
    assert (await troupe.api.post(derive, json={"path": "m/10"})).status_code == 201
