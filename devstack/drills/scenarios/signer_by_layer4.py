"""A signer loses its database and its encryption key, and has no backup. Layer 4 brings it back."""

import contextlib
import json
import time
from pathlib import Path

from custody.client import Network
from custody.runtime.errors import OperatorError
from devstack.customer_key import create_customer_key
from devstack.drills.drill import Drill, DrillFailed
from devstack.drills.scenario import Scenario
from devstack.processes import Program, run, run_for_output
from devstack.service import clean_environment, command
from devstack.signer import Signer
from devstack.signer_groups import TWO_OF_THREE, create_signer_groups
from devstack.stack import Stack, StackOptions, database_name
from mpc.shares.encryption_key import create_key_file

LOST = "signer-1"
ANSWERS_SECONDS = 90.0
HAND_OVER = """
mkdir "$2"
for file in "$1"/*/*.age; do
    age --decrypt --identity "$3" "$file" | age --recipients-file "$4" > "$2/$(basename "$file")"
done
"""
"""As handover.sh of docs/how-to/recover/signer-by-layer4.md, for a key without a passphrase."""


def _run(drill: Drill) -> None:
    with drill.stack(StackOptions(drivers=0, signers=3, layer4=True)) as stack:
        application = drill.application(stack)
        with drill.step("make keys and sign"):
            with stack.client() as custody:
                create_signer_groups(custody, [TWO_OF_THREE])
            for network in (Network.ETHEREUM, Network.SOLANA):
                application.make_wallet(network, TWO_OF_THREE)
            application.sign_with_all()
        lost = stack.signers[LOST]
        with drill.lose(f"the database of {LOST} is dropped, and its encryption key is deleted"):
            lost.kill()
            stack.clusters[-1].drop_database(database_name(lost))
            (lost.folder / "encryption.key").unlink()
        with drill.step("make an empty database, its tables and a new encryption key"):
            stack.clusters[-1].create_database(database_name(lost))
            lost.migrate()
            create_key_file(lost.folder / "encryption.key")
        with drill.step("the customer hands over the copies of this signer, under another key"):
            files, key = _handed_over(drill, stack)
        with drill.step("mpc-recover restore-signer"):
            words = ("restore-signer", files, "--customer-key", key, "--config", lost.config)
            _run_in(drill, lost, command("mpc-recover"), *words, "--reason", "drill")
        with drill.step("pin the other signers, state the restore, and acknowledge it"):
            stack.signers.pin_each_other()
            lost.run("state the restore", "audit", "restored", "--reason", "drill")
            stack.control_planes[0].run(
                "acknowledge it", "node", "restored", LOST, "--reason", "drill", "--yes"
            )
        with drill.step("every share opens; start the signer"):
            lost.run("open every share", "shares", "verify")
            lost.start()
        with drill.step("the restored signer learns the bans of its peers"):
            _wait_for_answers(lost)
        with drill.step("stop signer-3, so that the restored signer must sign"):
            stack.signers["signer-3"].stop()
        drill.recovered(application)
        drill.require_nothing_lost(application)
        with drill.step("the audit chain of the signer is complete"):
            lost.run("verify the audit chain", "audit", "verify")


def _wait_for_answers(signer: Signer) -> None:
    """Wait until every peer has answered. Raise DrillFailed."""
    program = signer.program_of(signer.command("bans", "answers", "--json"))
    deadline = time.monotonic() + ANSWERS_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OperatorError):  # exit code 1: answers are missing
            if json.loads(run_for_output(program, "see the answers"))["all_answered_at"]:
                return
        time.sleep(1)
    raise DrillFailed(f"{signer.node_id} has no answers after {ANSWERS_SECONDS:.0f} s")


def _handed_over(drill: Drill, stack: Stack) -> tuple[Path, Path]:
    """Return the folder of the files, and the private key that opens them."""
    assert stack.customers_bucket is not None
    bucket = drill.folder / "bucket"
    stack.customers_bucket.download(bucket, [LOST])
    once = create_customer_key(drill.folder / "once")
    files = drill.folder / "handover"
    customer_key = stack.customers_bucket.key.private_key
    names = (bucket / LOST, files, customer_key, once.public_key)
    _run_in(drill, stack.signers[LOST], "bash", "-e", "-c", HAND_OVER, "-", *names)
    return files, once.private_key


def _run_in(drill: Drill, signer: Signer, *arguments: str | Path) -> None:
    log = drill.folder / "commands.log"
    run(Program("recovery", list(arguments), signer.folder, log, clean_environment()), "recover")


SCENARIO = Scenario(
    "8c", "A signer's database and encryption key are lost: by Layer 4", _run, waits=True
)
