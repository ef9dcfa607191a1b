"""Make the test vectors of docs/reference/layer4.md again: python -m tests.vectors.layer4.

The files that are here stay valid for as long as the format has version 1. Make new ones only with
a new version.
"""

import json
import sys
from pathlib import Path
from uuid import uuid5

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from custody.wire.algorithms import Network
from custody.wire.signed_bytes import SHARE_COPY_TYPE
from mpc.layer4.share_copy import ShareCopy, read_share_copy
from mpc.recover.private_key import recovered
from mpc.recover.share_set import SetFacts
from tests.unit.mpc.layer4.share_copies import IDENTITIES, KEY_ID, documents
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.recover.bucket import CUSTOMER, sealed, write_key_file

FOLDER = Path(__file__).parent
NETWORKS = {DKLS: Network.ETHEREUM, ED25519: Network.SOLANA, TAPROOT: Network.BITCOIN}


def without_protocol_share(copy: ShareCopy) -> bytes:
    """Return the document of a DKLs23 share without the 105 kB that recovery does not need."""
    stripped = copy.model_copy(update={"share": b""})
    signer = IDENTITIES[copy.signer]
    payload = stripped.model_dump_json().encode()
    return signer.sign(SHARE_COPY_TYPE, payload).model_dump_json().encode()


def main() -> None:
    if any(FOLDER.glob("*.age")):
        sys.exit("the vectors are there already: remove the .age files first")
    write_key_file(FOLDER / "customer-key")
    public_key = CUSTOMER.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    (FOLDER / "customer-key.pub").write_bytes(public_key + b"\n")
    expected = {}
    for protocol, network in NETWORKS.items():
        made = documents(key(protocol), key_id=uuid5(KEY_ID, protocol), network=network)
        copies = {index: read_share_copy(document) for index, document in made.items()}
        for index, document in made.items():
            small = without_protocol_share(copies[index]) if protocol == DKLS else document
            (FOLDER / f"{protocol}-{index}.age").write_bytes(sealed(small))
        private_key = recovered(SetFacts.of(copies[1]), [copies[1], copies[2]])
        expected[protocol] = {
            "public_key": private_key.public_key.hex(),
            "private_key": private_key.big_endian.hex(),
        }
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")


main()
