"""A request whose own time is over: the control plane signs nothing for it."""

from uuid import UUID

import httpx
import pytest

from custody.wire.signed_bytes import SignedBytes
from tests.integration.control_plane.conftest import Replica
from tests.integration.control_plane.node import MemoryNode

EXPIRED = "2026-01-01T00:00:00Z"


@pytest.fixture
def signed(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The payload types that the job-signing key signs from now on."""
    types: list[str] = []
    sign = replica.signer.sign

    def recorded(payload_type: str, payload: bytes) -> SignedBytes:
        types.append(payload_type)
        return sign(payload_type, payload)

    monkeypatch.setattr(replica.signer, "sign", recorded)
    return types


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/wallets", {"network": "Ethereum", "store": "hsm"}),
        ("/v1/keys", {"scheme": "ECDSA", "curve": "secp256k1", "store": "hsm"}),
        ("/v1/keys/{key}/signatures", {"kind": "Hash", "hash": "0x" + "5c" * 32}),
    ],
)
async def test_an_expired_request_is_refused_before_its_job_is_signed(
    api: httpx.AsyncClient, key: UUID, signed: list[str], path: str, body: dict
):
    url = path.format(key=key)
    refused = await api.post(url, json=body | {"expires_at": EXPIRED})
    assert (refused.status_code, refused.json()["code"]) == (422, "request_expired")
    assert signed == []
    assert (await api.post(url, json=body)).status_code == 201
    assert len(signed) == 1  # so the list does record what is signed


async def test_an_expired_repetition_gets_the_first_result_and_no_other_job(
    api: httpx.AsyncClient, key: UUID, node: MemoryNode, signed: list[str]
):
    body = {"kind": "Hash", "hash": "0x" + "5c" * 32, "external_id": "payment-1"}
    first = await api.post(f"/v1/keys/{key}/signatures", json=body)
    assert await node.work() == 1
    del signed[:]
    again = await api.post(f"/v1/keys/{key}/signatures", json=body | {"expires_at": EXPIRED})
    assert (again.status_code, again.json()["status"]) == (200, "Signed")
    assert again.json()["id"] == first.json()["id"]
    assert signed == []
