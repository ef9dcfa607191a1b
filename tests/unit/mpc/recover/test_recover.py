"""Private keys from share copies, in the forms that wallets import."""

import base64
import json

import pytest
from buidl.ecc import PrivateKey as BuidlPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from eth_account import Account
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp
from solders.pubkey import Pubkey

from custody.wire.addresses import address_of
from custody.wire.algorithms import ECDSA_SECP256K1, Network
from custody.wire.derivation import child_public_key
from mpc import _native as native
from mpc.recover import forms
from tests.unit.mpc.layer4.share_copies import KEY_ID
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.recover.bucket import write_copies

PASSPHRASE = "correct horse"
TWICE = f"{PASSPHRASE}\n{PASSPHRASE}\n"


def public_key_of(protocol: str, scalar: int) -> bytes:
    if protocol == ED25519:
        return bytes(crypto_scalarmult_ed25519_base_noclamp(scalar.to_bytes(32, "little")))
    point = BuidlPrivateKey(scalar).point
    return bytes(point.bip340() if protocol == TAPROOT else point.sec())


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_any_t_copies_give_the_private_key(protocol, missing, folder, written):
    write_copies(folder, key(protocol))[missing].unlink()
    scalar = int(written("hex"), 16)
    assert public_key_of(protocol, scalar) == key(protocol)[1].public_key
    if protocol == TAPROOT:
        assert BuidlPrivateKey(scalar).point.parity == 0


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_the_newest_set_with_enough_copies_is_used(protocol, folder, written):
    write_copies(folder, key(protocol))
    after = write_copies(folder, parties.refresh(key(protocol)), generation=1)
    after[1].unlink()
    assert public_key_of(protocol, int(written("hex"), 16)) == key(protocol)[1].public_key


def test_wif_is_what_a_bitcoin_library_imports(folder, written):
    write_copies(folder, key(DKLS), network=Network.BITCOIN)
    imported = BuidlPrivateKey.parse(written("wif").strip())
    assert imported.point.sec() == key(DKLS)[1].public_key


def test_a_descriptor_gives_the_address_of_the_wallet(folder, written):
    import bdkpython as bdk

    write_copies(folder, key(DKLS), network=Network.BITCOIN)
    descriptor = bdk.Descriptor(written("descriptor").strip(), bdk.NetworkKind.MAIN)
    expected = address_of(Network.BITCOIN, ECDSA_SECP256K1, key(DKLS)[1].public_key)
    assert str(descriptor.derive_address(0, bdk.Network.BITCOIN)) == expected


def test_a_taproot_descriptor_does_not_tweak_again(folder, written):
    write_copies(folder, key(TAPROOT), network=Network.BITCOIN)
    text = written("descriptor").strip()
    wif = text.removeprefix("rawtr(").partition(")")[0]
    assert text.startswith("rawtr(")
    assert BuidlPrivateKey.parse(wif).point.bip340() == key(TAPROOT)[1].public_key


def test_pkcs8_opens_with_its_passphrase_alone(folder, written):
    write_copies(folder, key(DKLS))
    pem = written("pkcs8", answers=TWICE).encode()
    opened = load_pem_private_key(pem, PASSPHRASE.encode())
    scalar = opened.private_numbers().private_value  # type: ignore[union-attr]
    assert public_key_of(DKLS, scalar) == key(DKLS)[1].public_key
    with pytest.raises(ValueError, match="password"):
        load_pem_private_key(pem, b"wrong")


def test_an_ethereum_library_opens_the_keystore(folder, written, monkeypatch):
    monkeypatch.setattr(forms, "SCRYPT_N", 2**10)  # the real value takes a second for each side
    write_copies(folder, key(DKLS), network=Network.ETHEREUM)
    keystore = json.loads(written("keystore", answers=TWICE))
    scalar = int.from_bytes(Account.decrypt(keystore, PASSPHRASE))
    address = address_of(Network.ETHEREUM, ECDSA_SECP256K1, key(DKLS)[1].public_key)
    assert public_key_of(DKLS, scalar) == key(DKLS)[1].public_key
    assert "0x" + keystore["address"] == address.lower()


@pytest.mark.parametrize("form", ["solana", "pkcs8", "wif", "keystore", "descriptor"])
def test_an_ed25519_key_without_a_seed_has_one_form(form, folder, command, tmp_path):
    write_copies(folder, key(ED25519), network=Network.SOLANA)
    output = tmp_path / "recovered"
    done = command("recover", str(KEY_ID), "--form", form, "--output", str(output), answers=TWICE)
    assert done.exit_code == 1
    assert "without a seed" in done.output
    assert "Form hex exists, and the sign command" in done.output
    assert not output.exists()


def test_a_derived_key_by_its_path(folder, written):
    write_copies(folder, key(DKLS))
    share = key(DKLS)[1]
    scalar = int(written("hex", "--path", "m/0/5"), 16)
    expected = child_public_key(share.public_key, share.chain_code, (0, 5))
    assert public_key_of(DKLS, scalar) == expected


@pytest.mark.parametrize(
    ("protocol", "path", "why"),
    [(ED25519, "m/0", "have no children"), (DKLS, "m/0'", "hardened"), (DKLS, "0/5", "a path is")],
)
def test_a_path_that_does_not_exist_is_refused(protocol, path, why, folder, command, tmp_path):
    write_copies(folder, key(protocol))
    words = (str(KEY_ID), "--output", str(tmp_path / "out"), "--path", path)
    done = command("recover", *words)
    assert done.exit_code == 1
    assert why in done.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["id", "beginning", "public key", "address"])
def test_a_key_by_each_of_its_names(name, folder, command, tmp_path):
    write_copies(folder, key(ED25519), network=Network.SOLANA)
    public_key = key(ED25519)[1].public_key
    names = {
        "id": str(KEY_ID),
        "beginning": str(KEY_ID)[:8],
        "public key": "0x" + public_key.hex(),
        "address": str(Pubkey.from_bytes(public_key)),
    }
    done = command("recover", names[name], "--output", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert public_key_of(ED25519, int((tmp_path / "out").read_text(), 16)) == public_key


def test_a_key_that_is_not_there_is_refused(folder, command, tmp_path):
    write_copies(folder, key(ED25519))
    done = command("recover", "0123", "--output", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "these files have no key 0123" in done.output


def test_too_few_copies_name_the_signers_that_are_missing(folder, command, tmp_path):
    paths = write_copies(folder, key(ED25519))
    paths[1].unlink()
    paths[3].unlink()
    done = command("recover", str(KEY_ID), "--output", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "needs 2 shares of one set, and these files have 1" in done.output
    assert "signer-1, signer-3" in done.output


def test_an_existing_file_stays(folder, command, tmp_path):
    write_copies(folder, key(ED25519))
    (tmp_path / "out").write_text("the key of another wallet")
    done = command("recover", str(KEY_ID), "--output", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "File exists" in done.output
    assert (tmp_path / "out").read_text() == "the key of another wallet"


def test_an_unknown_form_is_refused_before_anything_is_read(command, tmp_path):
    done = command("recover", "x", "--form", "qr", "--output", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "qr is not a form" in done.output
    assert not (tmp_path / "out").exists()


def test_base64_of_nothing_secret_is_printed(folder, command, tmp_path):
    write_copies(folder, key(ED25519))
    done = command("recover", str(KEY_ID), "--output", str(tmp_path / "out"))
    secret = bytes.fromhex((tmp_path / "out").read_text())
    assert secret.hex() not in done.output
    assert base64.b64encode(secret).decode() not in done.output
