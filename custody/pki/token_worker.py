"""The process that holds the vendor's library while an authority's key is made or used.

Started as ``python -m custody.pki.token_worker PARENT``; one request as JSON on stdin, one answer
as JSON on stdout. What the library itself prints goes to stderr.
"""

import json
import os
import secrets
import signal
import sys
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.exceptions import PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from custody.pkcs11.login import CannotStart, name_of, open_session
from custody.pkcs11.messages import Hello, Obstacle, PinStanding
from custody.pkcs11.token_scheme import encode_public_key
from custody.runtime.hardening import die_with_parent, harden
from custody.wire.algorithms import ECDSA_SECP256R1

STDOUT, STDERR = 1, 2
ID_SIZE = 16


def main() -> int:
    answers = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    die_with_parent(signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):
        return 1  # the command has ended before this process could ask to end with it
    harden()
    request = json.load(sys.stdin)
    os.write(answers, json.dumps(_answer(request)).encode())
    return 0


def _answer(request: dict[str, str]) -> dict[str, str]:
    generates = request["do"] == "generate"
    hello = Hello(
        module=request["module"],
        token_label=request["token_label"],
        pin=request["pin"],
        pin_standing=PinStanding.NEW,
        master_key_label="",
        host_signing=[],
        purpose="administration" if generates else "operations",
    )
    try:
        session = open_session(hello)
        if generates:
            return _generate(session, request["label"])
        key = _private_key(session, bytes.fromhex(request["key_id"]))
        digest = bytes.fromhex(request["digest"])
        return {"signature": key.sign(digest, mechanism=Mechanism.ECDSA).hex()}
    except CannotStart as error:
        return {"failed": error.what, "todo": error.todo}
    except PKCS11Error as error:
        return {
            "failed": f"the token {request['token_label']!r} failed: {name_of(error)}",
            "todo": "See to the HSM's connection, and what the vendor says about this answer.",
        }


def _generate(session: pkcs11.Session, label: str) -> dict[str, str]:
    """Make a P-256 key that signs and does nothing else, and that never leaves the token."""
    key_id = secrets.token_bytes(ID_SIZE)
    parameters = session.create_domain_parameters(
        KeyType.EC,
        {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
        local=True,
    )
    public, _ = parameters.generate_keypair(
        id=key_id,
        label=label,
        store=True,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        private_template={
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.PRIVATE: True,
        },
    )
    point = encode_public_key(ECDSA_SECP256R1, public[Attribute.EC_POINT])
    return {"key_id": key_id.hex(), "point": point.hex()}


def _private_key(session: pkcs11.Session, key_id: bytes) -> Any:
    template = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: key_id}
    found = list(session.get_objects(template))
    if len(found) != 1:
        raise CannotStart(
            Obstacle.TOKEN,
            f"the token has {len(found)} private keys with the id {key_id.hex()}, and not one",
            "Name the right token in token.json of the authority's folder, or restore the token "
            "from its backup.",
        )
    return found[0]


if __name__ == "__main__":
    sys.exit(main())
