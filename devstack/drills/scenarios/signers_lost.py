"""Signers of a 2-of-3 group are lost: first one, then a second, which is one too many.

With two signers left, signing continues. With one left, a request stays Pending until a signer is
back. The clock runs from the loss of the second signer until the first signature after its return.
"""

import time

from custody.client import Network
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.service import start_together
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import StackOptions

WAITING = "waiting_for_signers"
NOTICED_SECONDS = 30.0
MESSAGE = "asked for while one signer is left"


def run(drill: Drill) -> None:
    with drill.stack(StackOptions(drivers=0, signers=3)) as stack:
        application = drill.application(stack)
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            for network in (Network.ETHEREUM, Network.SOLANA):
                application.make_wallet(network, TWO_OF_THREE)
            application.sign_with_all()
        away = [stack.signers["signer-2"], stack.signers["signer-3"]]
        with drill.step("SIGKILL of signer-3; sign with each key by the two that are left"):
            away[1].kill()
            application.sign_with_all("with two of three signers")
        with drill.lose("SIGKILL of signer-2: one signer is left"):
            away[0].kill()
        with drill.step("a request says that it waits for signers"):
            key = application.keys[-1]
            with application.connect() as custody:
                waiting = custody.sign_message(key.key.id, MESSAGE, wait=0)
                deadline = time.monotonic() + NOTICED_SECONDS
                while waiting.reason is None or waiting.reason.code != WAITING:
                    drill.require(
                        not waiting.status.is_final and time.monotonic() < deadline,
                        f"the request is {waiting.status.value}, and says {waiting.reason}",
                    )
                    time.sleep(0.1)
                    waiting = custody.get_signature(key.key.id, waiting.id)
        with drill.step("start both signers again: the pending request is signed"):
            start_together(away)
            with application.connect() as custody:
                signed = custody.get_signature(key.key.id, waiting.id, wait=60)
            application.verified(key, MESSAGE, signed)
        drill.recovered(application, key)
        drill.require_nothing_lost(application)
        with drill.step("every audit chain is complete"):
            for signer in stack.signers.all:
                signer.run("verify the audit chain", "audit", "verify")


SCENARIO = Scenario("7", "Signers are lost: n - t of them, and then one more", run)
