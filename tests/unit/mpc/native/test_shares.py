import hashlib

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, TAPROOT, key
from tests.unit.mpc.native.verification import is_valid

DIGEST = hashlib.sha256(b"a message").digest()
FLAGS = 2
HEADER = 35


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_stored_share_comes_back_and_signs(protocol: str) -> None:
    shares = {index: native.Share.load(share.to_bytes()) for index, share in key(protocol).items()}
    assert shares[1].to_bytes() == key(protocol)[1].to_bytes()
    signature = parties.sign(shares, [1, 2], DIGEST)
    assert is_valid(protocol, key(protocol)[1].public_key, DIGEST, signature)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_share_tells_what_is_public(protocol: str) -> None:
    for index, share in key(protocol).items():
        assert (share.protocol, share.index, share.threshold, share.signers) == (
            protocol,
            index,
            2,
            3,
        )
        assert share.public_key == key(protocol)[1].public_key
        assert len(share.public_key) == (33 if protocol == DKLS else 32)
        assert share.verifying_shares == key(protocol)[1].verifying_shares
        assert sorted(share.verifying_shares) == [1, 2, 3]
        assert share.transcript() == key(protocol)[1].transcript()
        assert not share.is_repaired


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_nothing_secret_is_printed(protocol: str) -> None:
    share = key(protocol)[2]
    expected = f"<Share 2 of 3, threshold 2, {protocol}>"
    assert [repr(share), str(share), f"{share}"] == [expected] * 3


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_what_is_not_a_share_is_refused(protocol: str) -> None:
    whole = key(protocol)[1].to_bytes()
    for data in (b"", whole[:HEADER], whole[:-1], whole + b"\0", b"\2" + whole[1:], bytes(3 << 20)):
        with pytest.raises(native.LocalMisuse):
            native.Share.load(data)
    for flags in (4, 128):
        with pytest.raises(native.LocalMisuse, match="flags"):
            native.Share.load(whole[:FLAGS] + bytes([flags]) + whole[FLAGS + 1 :])


def test_a_share_is_not_that_of_another_protocol() -> None:
    for protocol in native.PROTOCOLS:
        whole = key(protocol)[1].to_bytes()
        for other in {1, 2, 3, 4} - {whole[1]}:
            with pytest.raises(native.LocalMisuse):
                native.Share.load(whole[:1] + bytes([other]) + whole[2:])


@pytest.mark.parametrize("protocol", [ED25519, TAPROOT])
def test_a_frost_share_with_any_bit_changed_is_refused_or_another_generation(
    protocol: str,
) -> None:
    share = key(protocol)[1]
    whole = share.to_bytes()
    loaded = 0
    for at in range(HEADER, len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        try:
            other = native.Share.load(bytes(damaged))
        except (native.LocalMisuse, native.ProtocolAbort):
            continue
        loaded += 1
        assert other.transcript() != share.transcript()
    assert loaded < 64  # another signer's verifying share, where that still is a point


@pytest.mark.parametrize("protocol", [DKLS, ED25519])
def test_only_taproot_shares_are_taproot_tweaked(protocol: str) -> None:
    whole = key(protocol)[1].to_bytes()
    with pytest.raises(native.LocalMisuse, match="never taproot-tweaked"):
        native.Share.load(whole[:FLAGS] + b"\2" + whole[FLAGS + 1 :])
