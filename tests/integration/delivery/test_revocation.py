"""A revoked signer is out: its exchange under way ends, and its next one is refused."""

import asyncio
from pathlib import Path

import pytest

from mpc.ceremonies.delivery_client import DeliveryUnavailable
from tests.integration.delivery.ceremonies import ControlPlane
from tests.integration.delivery.conftest import SIGNERS, Connect, Pki, Server
from tests.integration.delivery.test_exchanges import outgoing
from tests.integration.tls.conftest import write_crl


async def test_a_revoked_signer_loses_its_exchange_and_gets_no_other(
    server: Server, connect: Connect, pki: Pki, control_plane: ControlPlane, tmp_path: Path
):
    crl = tmp_path / "crl.pem"
    write_crl(crl, pki.certificates)
    await server.start(crl=crl)
    revoked, good, last = [await connect(name) for name in SIGNERS]
    ticket = control_plane.ticket(*SIGNERS)
    exchanges = [
        asyncio.create_task(each.exchange(ticket, 0, outgoing(each, 0))) for each in (revoked, good)
    ]
    sizes = [sum(map(len, outgoing(each, 0).values())) for each in (revoked, good)]
    await server.until_held(sum(sizes))
    write_crl(crl, pki.certificates, [pki.node(revoked.name)], number=2)
    with pytest.raises(DeliveryUnavailable, match="does not accept this node's certificate"):
        await exchanges[0]
    with pytest.raises(DeliveryUnavailable):
        await revoked.client.facts("delivery-1")
    await last.exchange(ticket, 0, outgoing(last, 0))
    assert set(await exchanges[1]) == {revoked.name, last.name}
