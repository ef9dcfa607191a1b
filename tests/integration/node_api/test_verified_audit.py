"""The client library's verification of listed audit records, against what a service may do."""

from collections.abc import Callable

import pytest

from custody.client import AuditNotVerified, AuditRecord, VerifiedAudit, verify_audit_records
from custody.control_plane.database import Database
from custody.wire.audit import chain_hash
from custody.wire.resources import Page
from tests.integration.node_api.audit_pages import Chain
from tests.integration.node_api.nodes import Node
from tests.integration.node_api.test_audit_records import checkpoint, read

Change = Callable[[list[AuditRecord]], None]


@pytest.fixture
async def chain(node: Node) -> Chain:
    """Ten records of a node, sent in two pages."""
    await node.heartbeat()
    chain = Chain(node)
    chain.grow(9)
    chain.grow(1, "KeysReadopted", operator="bo", reason="a new token")
    await chain.send(0, 4)
    await chain.send(4, 10)
    return chain


def verified(records: list[AuditRecord], chain: Chain) -> VerifiedAudit:
    return verify_audit_records(records, chain.node.id, [chain.node.signer.public_key])


async def test_a_whole_chain_is_verified_from_its_last_record(chain: Chain, database: Database):
    assert verified(await read(database), chain) == VerifiedAudit(10, 1, 10, ())
    assert verified([], chain) == VerifiedAudit(0, None, None, ())


async def test_records_that_retention_has_deleted_are_not_missed(chain: Chain, database: Database):
    await database.rows("DELETE FROM node_audit_records WHERE sequence < 3")
    assert verified(await read(database), chain) == VerifiedAudit(8, 3, 10, ())


async def test_a_pruned_part_is_a_gap(chain: Chain, database: Database):
    chain.grow(10)
    await chain.send(15, 20, checkpoint=checkpoint(chain, 15))
    found = verified(await read(database), chain)
    assert found == VerifiedAudit(15, 1, 20, ((11, 15),))


def set_field(index: int, **changes: object) -> Change:
    def change(records: list[AuditRecord]) -> None:
        records[index] = records[index].model_copy(update=changes)

    return change


def forge(records: list[AuditRecord]) -> None:
    """Change a record with its hash, so that only the record after it differs."""
    record = records[3].record.replace(b"DONE", b"FAILED")
    details = {**records[3].details, "status": "FAILED"}
    previous = records[3].previous_hash
    assert previous is not None
    records[3] = records[3].model_copy(
        update={"record": record, "details": details, "hash": chain_hash(previous, record)}
    )


def leave_out(index: int) -> Change:
    def change(records: list[AuditRecord]) -> None:
        del records[index]

    return change


def swap(records: list[AuditRecord]) -> None:
    records[1], records[2] = records[2], records[1]


CHANGES: dict[str, Change] = {
    "the newest record left out": leave_out(0),
    "a record left out": leave_out(3),
    "another order": swap,
    "twice": lambda records: records.insert(3, records[3]),
    "the head left out": set_field(0, head=None),
    "another record": set_field(3, record=b"{}"),
    "another record with its own hash": forge,
    "another hash": set_field(3, hash=bytes(32)),
    "no hash before": set_field(3, previous_hash=None),
    "another kind": set_field(0, kind="Sign"),
    "another operator": set_field(0, operator="eve"),
    "another detail": set_field(0, details={}),
    "another time": set_field(0, at=None),
    "another number": set_field(0, sequence=11),
    "another node": set_field(0, node="driver-2"),
    "all fields left out": set_field(0, kind=None, operator=None, at=None, details={}),
}


async def test_a_record_that_is_not_strict_json_hides_no_other_record(
    chain: Chain, database: Database
):
    """Half a surrogate pair, as a reason had that was typed in another encoding."""
    chain.grow(1, "Restored", operator="bo", reason="gr\udcfcn")
    chain.grow(1)
    await chain.send(10, 12)
    records = await read(database)
    Page(items=records, next_cursor=None).model_dump_json()
    assert records[1].record == chain.records[10]
    assert (records[1].kind, records[1].operator, records[1].details) == (None, None, {})
    assert verified(records, chain) == VerifiedAudit(12, 1, 12, ())
    records[1] = records[1].model_copy(update={"operator": "eve"})
    with pytest.raises(AuditNotVerified, match="record 11 is shown with fields"):
        verified(records, chain)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_by_the_service_is_found(chain: Chain, database: Database, change: Change):
    records = await read(database)
    change(records)
    with pytest.raises(AuditNotVerified):
        verified(records, chain)


async def test_a_change_that_the_service_covers_with_its_own_hashes_is_found(
    chain: Chain, database: Database
):
    """As by somebody with the database: the node's identity key is still missing."""
    other = Chain(chain.node, chain.places[:9], chain.records[:8])
    other.grow(2, "KeysReadopted", operator="eve", reason="a new token")
    for number in (9, 10):
        await database.rows(
            "UPDATE node_audit_records SET record = :record, hash = :hash,"
            " previous_hash = :previous WHERE sequence = :number",
            {
                "number": number,
                "record": other.records[number - 1],
                "hash": other.places[number].hash,
                "previous": other.places[number - 1].hash,
            },
        )
    records = await read(database)
    assert records[0].operator == "eve"
    with pytest.raises(AuditNotVerified, match="head of record 10 is of another"):
        verified(records, chain)


async def test_records_of_another_node_or_key_are_not_verified(chain: Chain, database: Database):
    records = await read(database)
    with pytest.raises(AuditNotVerified):
        verify_audit_records(records, "driver-2", [chain.node.signer.public_key])
    with pytest.raises(AuditNotVerified, match="no given key"):
        verify_audit_records(records, "driver-1", [])
