"""Errors of a token while it takes in a private key: one error ends no import for good."""

import pytest

from custody.pkcs11.settings import HsmSettings
from custody.wire.algorithms import ECDSA_SECP256R1
from tests.integration.pkcs11.conftest import opened
from tests.integration.pkcs11.test_imports import SECRET, prepared, public_key
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR
from tests.wrapped_imports import pkcs8


@pytest.mark.parametrize(
    ("function", "number"),
    [("C_UnwrapKey", 1), ("C_UnwrapKey", 2), ("C_Sign", 1)],
    ids=["the AES key", "the private key", "the first signature"],
)
async def test_a_key_is_taken_in_although_the_token_answers_once_with_an_error(
    faulty: FaultyModule, faulty_settings: HsmSettings, function: str, number: int
):
    """A failed import spends the external id of its key, and a token may be busy for a moment."""
    async with opened(faulty_settings, deadline_seconds=60.0) as hsm:
        one = await prepared(hsm, ECDSA_SECP256R1)
        rule = faulty.returns(function, CKR.DEVICE_ERROR, When(at=number))
        wrapped = one.wrap(pkcs8(ECDSA_SECP256R1, SECRET))
        key = await one.take_in(wrapped, public_key(ECDSA_SECP256R1, SECRET))
        assert faulty.fired(rule) == 1
        verified(key, digest(1), await hsm.sign(key, digest(1)))
