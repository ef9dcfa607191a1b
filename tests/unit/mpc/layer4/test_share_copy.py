"""What a share copy has inside, and what is refused as one."""

import itertools
import json

import pytest
from coincurve import PrivateKey
from nacl.bindings import crypto_scalarmult_ed25519_base_noclamp

from custody.wire.algorithms import Curve
from custody.wire.encoding import to_base64
from custody.wire.points import GROUP_ORDER
from custody.wire.signed_bytes import SHARE_COPY_TYPE
from mpc import _native as native
from mpc.layer4.share_copy import BadShareCopy, ShareCopy, make_share_copy, read_share_copy
from tests.unit.mpc.layer4.share_copies import IDENTITIES, documents, stored
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, TAPROOT, key


def interpolated(copies: list[ShareCopy]) -> int:
    """The value at 0 of the polynomial through the points (Shamir 1979)."""
    order = GROUP_ORDER[copies[0].curve]
    secret = 0
    for one in copies:
        factor = 1
        for other in copies:
            if other.index != one.index:
                factor = factor * other.index * pow(other.index - one.index, -1, order) % order
        secret = (secret + factor * int.from_bytes(one.secret_share)) % order
    return secret


def public_key_of(secret: int, copy: ShareCopy) -> bytes:
    if copy.curve is Curve.ED25519:
        return bytes(crypto_scalarmult_ed25519_base_noclamp(secret.to_bytes(32, "little")))
    compressed = PrivateKey(secret.to_bytes(32)).public_key.format()
    return compressed[1:] if copy.protocol == TAPROOT else compressed


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_any_t_copies_give_the_private_key(protocol: str) -> None:
    copies = [read_share_copy(each) for each in documents(key(protocol)).values()]
    secrets = {interpolated(list(quorum)) for quorum in itertools.combinations(copies, 2)}
    assert len(secrets) == 1
    assert public_key_of(secrets.pop(), copies[0]) == key(protocol)[1].public_key


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_after_a_refresh_too_but_not_with_shares_of_both_sets(protocol: str) -> None:
    before = documents(key(protocol))
    after = documents(parties.refresh(key(protocol)), generation=1)
    new = [read_share_copy(after[index]) for index in (1, 3)]
    assert public_key_of(interpolated(new), new[0]) == key(protocol)[1].public_key
    mixed = [read_share_copy(before[1]), read_share_copy(after[3])]
    assert public_key_of(interpolated(mixed), mixed[0]) != key(protocol)[1].public_key


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_secret_share_is_that_of_its_verifying_share(protocol: str) -> None:
    for index, document in documents(key(protocol)).items():
        copy = read_share_copy(document)
        secret = int.from_bytes(copy.secret_share)
        if copy.curve is Curve.ED25519:
            expected = bytes(crypto_scalarmult_ed25519_base_noclamp(secret.to_bytes(32, "little")))
        else:
            expected = PrivateKey(secret.to_bytes(32)).public_key.format()
        assert copy.verifying_shares[index] == expected
        assert copy.share == key(protocol)[index].to_bytes()


def test_nothing_secret_is_printed() -> None:
    copy = read_share_copy(documents(key(DKLS))[1])
    assert copy.secret_share.hex() not in repr(copy)
    assert "share=b" not in repr(copy).replace("verifying_share", "")


def test_a_copy_that_the_signer_has_not_signed_is_refused() -> None:
    document = json.loads(documents(key(DKLS))[1])
    other = make_share_copy(stored(key(DKLS)[1]), key(DKLS)[1], IDENTITIES["signer-2"])
    for changed in (
        document | {"signature": to_base64(bytes(64))},
        document | {"signing_key_id": "0" * 16},
        document | {"signature": json.loads(other)["signature"]},
    ):
        with pytest.raises(BadShareCopy, match="not signed"):
            read_share_copy(json.dumps(changed).encode())


def test_a_copy_that_contradicts_itself_is_refused() -> None:
    signer = IDENTITIES["signer-1"]
    copy = read_share_copy(documents(key(DKLS))[1])
    order = GROUP_ORDER[Curve.SECP256K1].to_bytes(32)
    for changes in (
        {"index": 2},
        {"threshold": 4},
        {"secret_share": "0x" + order.hex()},
        {"curve": "ed25519"},
        {"version": 2},
        {"public_key": "0x" + "00" * 33},
    ):
        payload = json.dumps(copy.model_dump(mode="json") | changes).encode()
        document = signer.sign(SHARE_COPY_TYPE, payload).model_dump_json().encode()
        with pytest.raises(BadShareCopy, match="not a share copy") as refused:
            read_share_copy(document)
        assert copy.secret_share.hex() not in str(refused.value)
