"""A private key from each format becomes shares, and the signers sign for its public key.

The client library reads and splits. The native module checks, refreshes and signs. Other
libraries verify.
"""

import hashlib

import pytest

from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.private_key import PrivateKey
from custody.client.importing.splitting import split
from custody.wire.algorithms import (
    ECDSA_SECP256K1,
    EDDSA_ED25519,
    SCHNORR_SECP256K1,
    AddressType,
    Curve,
    Network,
)
from custody.wire.points import GROUP_ORDER
from custody.wire.tickets import protocol_of
from mpc import _native as native
from tests.unit.mpc.native import dealers, parties
from tests.unit.mpc.native.verification import is_valid

DIGEST = hashlib.sha256(b"a message").digest()
N = GROUP_ORDER[Curve.SECP256K1]
# Bitcoin wiki, "Wallet import format"
WIF = "KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617"
# RFC 8410, section 10.3
ED25519_PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
"""


def ecdsa(number: int) -> PrivateKey:
    return PrivateKey(ECDSA_SECP256K1, number.to_bytes(32))


KEYS = {
    "wif": read_private_key(WIF, KeyFormat.WIF),
    "taproot of a wif": read_private_key(WIF, KeyFormat.WIF).for_wallet(
        Network.BITCOIN, AddressType.P2TR
    ),
    "bare schnorr": ecdsa(7).for_algorithm(SCHNORR_SECP256K1),
    "pkcs8 of ed25519": read_private_key(ED25519_PEM, KeyFormat.PKCS8),
    "ed25519 without a seed": PrivateKey(EDDSA_ED25519, (7).to_bytes(32), is_seedless=True),
    "seed of zeros": PrivateKey(EDDSA_ED25519, bytes(32)),
    "leading zeros": ecdsa(2**240 + 7),
    "n - 1": ecdsa(N - 1),
    "taproot of n - 1": ecdsa(N - 1).taproot_output(),
}


def received(key: PrivateKey) -> dealers.Received:
    dealing = split(key, 2, 2)
    return {
        index: {dealers.APPLICATION: (None, dealing.commitments, sub_share)}
        for index, sub_share in enumerate(dealing.sub_shares, start=1)
    }


@pytest.mark.parametrize("name", KEYS)
def test_the_signers_sign_for_the_imported_public_key(name: str) -> None:
    key = KEYS[name]
    protocol = protocol_of(key.algorithm)
    hollow = dealers.hollow(protocol, key.public_key, 2, received(key))
    shares = parties.refresh(hollow)
    signature = parties.sign(shares, (1, 2), DIGEST)
    assert is_valid(protocol, key.public_key, DIGEST, signature)


def test_a_sub_share_that_the_client_refuses_is_refused_by_the_signer() -> None:
    key = KEYS["wif"]
    dealt = received(key)
    first, second = dealt[1][dealers.APPLICATION], dealt[2][dealers.APPLICATION]
    dealt[1][dealers.APPLICATION] = (None, first[1], second[2])
    with pytest.raises(native.ProtocolAbort) as caught:
        dealers.hollow(protocol_of(key.algorithm), key.public_key, 2, dealt)
    assert list(caught.value.culprits) == [dealers.APPLICATION]
