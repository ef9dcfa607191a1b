"""Which identity keys can be pinned."""

import base64

import pytest
from Crypto.Signature import eddsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.runtime.errors import OperatorError
from mpc.peers import checked_identity, checked_signer

P = 2**255 - 19
ORDER_8 = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def encoded(y: int, sign: int = 0) -> bytes:
    """A point as RFC 8032, section 5.1.2 has it."""
    return (y | sign << 255).to_bytes(32, "little")


def test_a_public_key_is_taken_as_it_is():
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    assert checked_identity(base64.b64encode(key).decode()) == key


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(encoded(1), id="the neutral element: signatures of anybody verify"),
        pytest.param(encoded(1, sign=1), id="the same, not canonical"),
        pytest.param(encoded(P - 1), id="order 2"),
        pytest.param(encoded(0), id="order 4"),
        pytest.param(ORDER_8, id="order 8"),
        pytest.param(encoded(P + 1), id="the neutral element, not reduced"),
        pytest.param(encoded(2), id="not on the curve"),
        pytest.param(bytes(31), id="31 bytes"),
        pytest.param(bytes(33), id="33 bytes"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_weak_or_malformed_key_is_refused(key: bytes):
    with pytest.raises(OperatorError, match="not an identity key"):
        checked_identity(base64.b64encode(key).decode())


@pytest.mark.parametrize("times", [1, 2, 4])
def test_a_point_outside_the_prime_order_group_is_refused(times: int):
    """A good key plus a point of order 2, 4 or 8: canonical, on the curve, of large order."""
    good = eddsa.import_public_key(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    added = eddsa.import_public_key(ORDER_8).pointQ * times
    mixed = good.pointQ + added
    x, y = int(mixed.x), int(mixed.y)
    with pytest.raises(OperatorError, match="mixed order"):
        checked_identity(base64.b64encode(encoded(y, x & 1)).decode())


def test_what_is_no_base64_is_refused():
    with pytest.raises(OperatorError):
        checked_identity("not base64!")


@pytest.mark.parametrize("name", ["", "Signer", "a/b", "-a", "a" * 64])
def test_a_peer_is_named_as_nodes_are(name: str):
    with pytest.raises(OperatorError, match="not a node id"):
        checked_signer(name)
