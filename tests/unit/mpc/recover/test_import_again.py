"""What mpc-recover writes is what the client library imports: into a signer group again."""

import hashlib

import pytest

from custody.client.importing.formats import KeyFormat, read_private_key
from custody.client.importing.splitting import split
from custody.wire.algorithms import AddressType, Network
from mpc.recover import forms
from tests.unit.mpc.native import dealers, parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.native.verification import is_valid
from tests.unit.mpc.recover.bucket import write_copies

DIGEST = hashlib.sha256(b"a message").digest()
PASSPHRASE = "correct horse"
SOLANA, ETHEREUM = (Network.SOLANA, None), (Network.ETHEREUM, None)
TESTNET = (Network.BITCOIN_TESTNET4, AddressType.P2TR)
WAYS = [
    (ED25519, "hex", KeyFormat.ED25519_SCALAR, SOLANA),
    (DKLS, "keystore", KeyFormat.KEYSTORE, ETHEREUM),
    (DKLS, "pkcs8", KeyFormat.PKCS8, ETHEREUM),
    (DKLS, "wif", KeyFormat.WIF, (Network.BITCOIN, AddressType.P2WPKH)),
    (DKLS, "descriptor", KeyFormat.DESCRIPTOR, (Network.BITCOIN, AddressType.P2WPKH)),
    (TAPROOT, "descriptor", KeyFormat.DESCRIPTOR, (Network.BITCOIN, AddressType.P2TR)),
    (TAPROOT, "descriptor", KeyFormat.DESCRIPTOR, TESTNET),
]


@pytest.mark.parametrize(("protocol", "form", "format", "wallet"), WAYS)
def test_new_signers_sign_for_the_same_public_key(
    protocol, form, format, wallet, folder, written, monkeypatch
):
    monkeypatch.setattr(forms, "SCRYPT_N", 2**10)
    write_copies(folder, key(protocol), network=wallet[0])
    password = PASSPHRASE if form in forms.ENCRYPTED else None
    answers = f"{password}\n{password}\n" if password else None
    text = written(form, answers=answers)

    private_key = read_private_key(text, format, password=password).for_wallet(*wallet)
    public_key = key(protocol)[1].public_key
    assert private_key.public_key == public_key

    dealing = split(private_key, 2, 2)
    dealt: dealers.Received = {
        index: {dealers.APPLICATION: (None, dealing.commitments, sub_share)}
        for index, sub_share in enumerate(dealing.sub_shares, start=1)
    }
    shares = parties.refresh(dealers.hollow(protocol, public_key, 2, dealt))
    assert is_valid(protocol, public_key, DIGEST, parties.sign(shares, (1, 2), DIGEST))
