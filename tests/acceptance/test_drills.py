"""The comparison of the drills finds exactly what is lost, and nothing else."""

import psycopg

from custody.client import Network
from devstack.drills.application import Application
from devstack.stack import Stack


def test_a_lost_key_and_a_changed_signature_are_named_and_nothing_else(stack: Stack):
    application = Application(lambda: stack.client(pinned_nodes=stack.pinned_nodes))
    ethereum, solana = (
        application.make_wallet(each) for each in (Network.ETHEREUM, Network.SOLANA)
    )
    signatures = application.sign_with_all()
    with application.load(2):
        application.sign(ethereum, "during the load")
    assert len(application.signatures) >= 3
    assert application.losses() == []

    with psycopg.connect(stack.databases.driver) as connection:
        connection.execute("DELETE FROM wrapped_keys WHERE key_id = %s", [solana.key.id])
    with psycopg.connect(stack.databases.control_plane) as connection:
        connection.execute("DELETE FROM jobs WHERE id = %s", [signatures[0].id])
    lost_key, lost_signature = application.losses()
    assert lost_key.startswith(f"{solana.name}: Failed: ")
    assert lost_signature.startswith(f"signature {signatures[0].id}: NotFound: ")
