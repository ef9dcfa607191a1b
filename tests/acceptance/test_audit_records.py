"""The audit of drivers, as an admin reads it at the control plane."""

from pathlib import Path

from custody.client import Custody, Key
from custody.wire.audit import AuditHead, chain_hash
from custody.wire.signed_bytes import AUDIT_HEAD_TYPE, PinnedKeys
from devstack.driver import Driver
from devstack.stack import Stack
from tests.commands import run_command
from tests.waiting import wait_until


def test_an_admin_reads_and_verifies_what_a_driver_has_signed(
    stack: Stack, custody: Custody, keys: dict[str, Key]
) -> None:
    signature = custody.sign_message(keys["Ethereum"].id, "for the audit")

    def driver_of_signature() -> Driver | None:
        for driver in stack.drivers:
            for record in custody.list_audit_records(node=driver.node_id, kind="Sign"):
                if record.details["job_id"] == str(signature.id):
                    return driver
        return None

    driver = wait_until(driver_of_signature)
    records = list(custody.list_audit_records(node=driver.node_id))
    [last, *_] = records
    assert last.head is not None
    identity = PinnedKeys([driver.identity_public_key])
    head = AuditHead.model_validate_json(identity.open(AUDIT_HEAD_TYPE, last.head))
    expected = head.hash
    for record in records:
        assert record.hash == expected
        assert record.previous_hash is not None
        assert chain_hash(record.previous_hash, record.record) == record.hash
        expected = record.previous_hash
    assert expected == bytes(32), "the chain is whole, from its first record on"
    [shown] = [each for each in custody.list_audit_heads() if each.node == driver.node_id]
    assert (shown.records_from, shown.alarm) == (1, None)


def test_a_driver_exports_what_agrees_with_the_heads_at_the_control_plane(
    stack: Stack, custody: Custody, keys: dict[str, Key], tmp_path: Path
) -> None:
    custody.sign_message(keys["Ethereum"].id, "for the export")
    for driver in stack.drivers:
        file = tmp_path / f"{driver.node_id}.jsonl"
        for words in (("export", "--to", str(file)), ("verify", "--file", str(file))):
            done = run_command(driver.command("audit", *words))
            assert done.returncode == 0, done.stdout + done.stderr
