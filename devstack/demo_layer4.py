"""The demo's last part: the platform is gone, and the customer signs with t files and its key."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from custody.client import Signature
from custody.wire.signatures import SignatureResult
from devstack.customer_key import CustomerKeyPair
from devstack.customers_bucket import CustomersBucket
from devstack.demo_results import Made
from devstack.demo_steps import verify
from devstack.processes import Program, run_for_output
from devstack.progress import say, step
from devstack.service import clean_environment, command
from devstack.verification import NotVerified

MESSAGE = "Hello from the customer: signed without any signer"


@dataclass(frozen=True)
class Downloaded:
    """The share copies of t signers, and the key that opens them."""

    folder: Path
    signers: tuple[str, ...]
    customer_key: CustomerKeyPair


def download_copies(bucket: CustomersBucket, made: Made, folder: Path) -> Downloaded:
    """Download the copies of t signers of a wallet's key."""
    assert made.key.signers is not None
    signers = tuple(made.key.signers[: made.key.threshold])
    with step(f"download the share copies of {', '.join(signers)} from the customer's bucket"):
        files = bucket.download(folder, signers)
    of_key = [file for file in files if file.parent.name == str(made.key.id)]
    if len(of_key) != len(signers):
        raise NotVerified(f"{len(of_key)} copies of {made.key.id} are there, not {len(signers)}")
    return Downloaded(folder, signers, bucket.key)


def recover(made: Made, downloaded: Downloaded, log: Path) -> Made:
    """Sign with the recovered key of a wallet, and verify. Raise OperatorError or NotVerified."""
    say("Everything is stopped. The customer has the files of t signers and its own key:")
    name = f"{made.name}, recovered"
    program = Program(
        "mpc-recover",
        [
            *(command("mpc-recover"), "sign", downloaded.folder, made.identity),
            *("--customer-key", downloaded.customer_key.private_key),
            *("--message", MESSAGE, "--json"),
        ],
        downloaded.folder,
        log,
        clean_environment(),
    )
    with step(f"{name}: mpc-recover signs {MESSAGE!r}"):
        said = json.loads(run_for_output(program, "sign with the recovered key"))
    signature = _signature(made.signature, said)
    verified = verify(name, made.wallet, made.key, MESSAGE, signature)
    return replace(verified, is_recovered=True)


def result_of_recovery(recovered: Made) -> dict[str, Any]:
    """Return the recovery for result.json."""
    assert recovered.signature.signature is not None
    return {
        "address": recovered.identity,
        "message": MESSAGE,
        "signature": "0x" + recovered.signature.signature.encoded.hex(),
    }


def _signature(like: Signature, said: dict[str, Any]) -> Signature:
    fields = {name: said[name] for name in ("r", "s", "recid", "encoded")}
    return like.model_copy(
        update={
            "message": MESSAGE,
            "digest": bytes.fromhex(said["digest"].removeprefix("0x")),
            "signature": SignatureResult.model_validate(fields),
        }
    )
