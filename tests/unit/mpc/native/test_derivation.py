import hashlib

import pytest
from embit import bip32

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.native.verification import is_valid

DIGEST = hashlib.sha256(b"a message").digest()
PATHS = [[], [0], [2**31 - 1], [44, 60, 0, 0, 7]]


@pytest.mark.parametrize("path", PATHS)
def test_children_are_those_of_a_second_library(path: list[int]) -> None:
    share = key(DKLS)[1]
    root = bip32.HDKey(bip32.ec.PublicKey.parse(share.public_key), share.chain_code)
    child = native.derive_public_key(share.public_key, share.chain_code, path)
    assert child == root.derive(path).key.sec()


@pytest.mark.parametrize("path", PATHS)
def test_shares_sign_for_a_child_without_a_ceremony(path: list[int]) -> None:
    shares = key(DKLS)
    child = native.derive_public_key(shares[1].public_key, shares[1].chain_code, path)
    signature = parties.sign(shares, [2, 3], DIGEST, path)
    assert is_valid(DKLS, child, DIGEST, signature)


@pytest.mark.parametrize("path", [[2**31], [0, 2**32 - 1], [0] * 256])
def test_hardened_steps_and_endless_paths_are_refused(path: list[int]) -> None:
    share = key(DKLS)[1]
    with pytest.raises(native.LocalMisuse):
        native.derive_public_key(share.public_key, share.chain_code, path)
    with pytest.raises(native.LocalMisuse):
        native.Signing(share, [1, 2], DIGEST, parties.session_id(), path)


@pytest.mark.parametrize("protocol", [ED25519, TAPROOT])
def test_other_protocols_derive_nothing(protocol: str) -> None:
    share = key(protocol)[1]
    assert share.chain_code == b""
    with pytest.raises(native.LocalMisuse, match="derives no keys"):
        native.Signing(share, [1, 2], DIGEST, parties.session_id(), [0])


def test_what_is_no_key_or_chain_code_is_refused() -> None:
    share = key(DKLS)[1]
    for public_key in (b"", bytes(33), bytes(1), b"\x04" + bytes(64), b"\x02" + b"\xff" * 32):
        with pytest.raises(native.LocalMisuse):
            native.derive_public_key(public_key, share.chain_code, [0])
    with pytest.raises(native.LocalMisuse, match="chain code"):
        native.derive_public_key(share.public_key, bytes(31), [0])


def test_participants_of_different_children_do_not_sign_together() -> None:
    shares, session = key(DKLS), parties.session_id()
    with pytest.raises(parties.Ended) as ended:
        parties.run(
            {
                1: native.Signing(shares[1], [1, 2], DIGEST, session, [0]),
                2: native.Signing(shares[2], [1, 2], DIGEST, session, [1]),
            }
        )
    assert all(isinstance(error, native.ProtocolAbort) for error in ended.value.errors.values())
