"""Signers with Layer 4 on, a bucket that hangs, and a signer that is killed meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.client import Curve, KeyStatus, Scheme, Store
from devstack.control_plane import ControlPlaneOptions
from devstack.customers_bucket import BUCKET
from devstack.stack import Stack, StackOptions
from tests.faults.mpc.conftest import GROUP, SIGNERS, VICTIM, wait_for

MISSING = "share_copy_missing"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    options = StackOptions(
        drivers=0,
        signers=3,
        durable=False,
        layer4=True,
        control_plane=ControlPlaneOptions(lease_seconds=2),
    )
    with Stack(tmp_path / "stack", options) as stack:
        with stack.client() as custody:
            custody.create_signer_group(GROUP, SIGNERS, 2)
        yield stack


def test_a_key_waits_for_the_bucket_and_a_killed_signer_puts_no_second_copy(stack: Stack) -> None:
    assert stack.customers_bucket is not None
    server, victim = stack.customers_bucket.server, stack.signers[VICTIM]
    with stack.client() as custody:
        server.pause()
        key = custody.create_key(Scheme.EDDSA, Curve.ED25519, Store.MPC, signer_group=GROUP, wait=0)

        def reason() -> str | None:
            found = custody.get_key(key.id)
            assert found.status is KeyStatus.PENDING
            return None if found.reason is None else found.reason.code

        wait_for(lambda: reason() == MISSING, "the API does not say what is missing")
        victim.kill()
        victim.start()
        assert custody.get_key(key.id).status is KeyStatus.PENDING
        server.resume()
        wait_for(lambda: custody.get_key(key.id).status is KeyStatus.ACTIVE, "not Active")
    versions = server.administrator.list_object_versions(Bucket=BUCKET)["Versions"]
    owners = [version["Key"].partition("/")[0] for version in versions]
    assert sorted(owners) == SIGNERS
