"""Somebody has the intermediate's private key, so can issue a certificate for any node.

A certificate cannot be revoked, so a new root replaces the old one everywhere: the root is what
every process trusts. Databases, identity keys and the job-signing key stay.
"""

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

from custody.client import Network
from custody.node.control_plane_client import ControlPlaneClient, ControlPlaneUnavailable
from devstack.certificates import Certificates, Leaf
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.pki_commands import PkiCommands
from devstack.service import Service, start_together, stop_together
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import Stack, StackOptions

HERE = ("--dns", "localhost", "--ip", "127.0.0.1")


def run(drill: Drill) -> None:
    with drill.stack(StackOptions(signers=3)) as stack:
        application = drill.application(stack)
        pki = PkiCommands(stack.certificates.folder, stack.log("pki"))
        servers = ["public-api", "node-api", *(s.name for s in stack.signers.delivery_servers)]
        nodes = [node.node_id for node in (*stack.drivers, *stack.signers.all)]
        with drill.step("make keys and sign, in both modes"):
            application.make_hsm_keys()
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            application.make_wallet(Network.SOLANA, TWO_OF_THREE)
            application.sign_with_all()
        stolen = drill.folder / "stolen-pki"
        with drill.lose("a copy of the intermediate issues a certificate for the driver's id"):
            shutil.copytree(pki.folder, stolen)
            shutil.rmtree(stolen / "nodes")
            thief = Certificates.existing(stolen).node(nodes[0])
            drill.require(is_admitted(stack, thief), "the thief's certificate should work now")
        daemons: list[Service] = [*stack.control_planes, *stack.signers.delivery_servers]
        daemons += [*stack.drivers, *stack.signers.all]
        with drill.step("stop everything"):
            stop_together(daemons)
        with drill.step("make a new root and intermediate, and issue every certificate again"):
            shutil.move(pki.folder, drill.folder / "pki.old")
            pki.run("root", "--unencrypted")
            pki.run("intermediate", "--unencrypted")
            for server in servers:
                pki.run("issue", "server", server, *HERE)
            for node in nodes:
                pki.run("issue", "node", node)
        with drill.step("start everything"):
            start_together(daemons)
        drill.recovered(application)
        with drill.step("the thief's certificate is refused"):
            drill.require(not is_admitted(stack, thief), "the thief's certificate still works")
        drill.require_nothing_lost(application)


def is_admitted(stack: Stack, leaf: Leaf) -> bool:
    """Return whether the node API answers a client with this certificate."""
    url, root = stack.control_planes[0].node_url, stack.ca
    return asyncio.run(_is_admitted(url, root, leaf))


async def _is_admitted(url: str, root: Path, leaf: Leaf) -> bool:
    async with ControlPlaneClient(url, replace(leaf.client(), ca=root)) as client:
        try:
            await client.audit_heads()
        except ControlPlaneUnavailable:
            return False
    return True


SCENARIO = Scenario("13b", "The intermediate's private key is stolen", run)
