"""A signer loses the file of its encryption key. The key's own backup is left.

signer-3 is away, so a signature needs the signer that lost its key.
"""

import pyrage

from custody.client import Network
from custody.runtime.configuration import write_secret
from devstack.drills.drill import Drill
from devstack.drills.scenario import Scenario
from devstack.processes import run_for_output
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import StackOptions

BACKUP = "encryption-key"
CODE = "confirmation code: "


def run(drill: Drill) -> None:
    with drill.stack(StackOptions(drivers=0, signers=3)) as stack:
        application = drill.application(stack)
        signer, away = stack.signers["signer-1"], stack.signers["signer-3"]
        made, keeper = drill.folder / "key.age", drill.folder / "keeper.txt"
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            for network in (Network.ETHEREUM, Network.SOLANA):
                application.make_wallet(network, TWO_OF_THREE)
            application.sign_with_all()
        with drill.step("back the encryption key up, prove the file, and confirm it"):
            identity = pyrage.x25519.Identity.generate()
            write_secret(keeper, f"{identity}\n".encode())
            recipient = str(identity.to_public())
            signer.run("back up", BACKUP, "backup", "--to", str(made), "--recipient", recipient)
            inspect = signer.command(BACKUP, "inspect", str(made), "--identity", str(keeper))
            shown = run_for_output(signer.program_of(inspect), "inspect the backup")
            code = shown.partition(CODE)[2].strip()
            place = str(drill.folder)
            signer.run("confirm", BACKUP, "confirm-backup", "--code", code, "--place", place)
        with drill.lose("SIGKILL of signer-1 and signer-3; signer-1's key file is deleted"):
            away.kill()
            signer.kill()
            (signer.folder / "encryption.key").unlink()
        with drill.step("the signer does not start without its key"):
            drill.refused(lambda: signer.run("verify", "shares", "verify"), "encryption.key")
        with drill.step("restore the key from its backup, and start signer-1"):
            signer.run("restore", BACKUP, "restore", str(made), "--identity", str(keeper))
            signer.run("open every share", "shares", "verify")
            signer.start()
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("the audit chain is complete"):
            signer.run("verify the audit chain", "audit", "verify")


SCENARIO = Scenario("9a", "A signer's encryption key is lost; its own backup is left", run)
