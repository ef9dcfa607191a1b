"""Host signing of every algorithm, for tokens that can do less than SoftHSM."""

import pytest

from custody.pkcs11 import host_signing
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import HSM_ALGORITHMS, Algorithm, Protection
from tests.integration.pkcs11.test_schemes import digest, verified


@pytest.mark.parametrize("algorithm", HSM_ALGORITHMS, ids=str)
def test_a_host_key_signs_what_its_public_key_verifies(algorithm: Algorithm):
    for number in range(10):
        private_key, public_key = host_signing.generate(algorithm)
        assert len(private_key) == host_signing.SECRET_SIZE
        raw = host_signing.sign_on_host(algorithm, private_key, digest(number))
        key = WrappedKey(algorithm, public_key, Protection.HOST, b"", "custody-host/1", "AES_GCM")
        verified(key, digest(number), raw)


def test_associated_data_tells_keys_and_algorithms_apart():
    bound = {
        host_signing.associated_data(algorithm, public_key)
        for algorithm in HSM_ALGORITHMS
        for public_key in (bytes(32), bytes(33), b"\x01" * 32)
    }
    assert len(bound) == 9
