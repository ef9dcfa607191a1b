"""What the holder of PIN and database can unwrap a stored key as: nothing but what signs."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from custody.pkcs11.administration import administration
from custody.pkcs11.attacker import LABEL as ATTEMPT_LABEL
from custody.pkcs11.commands import master_key_app
from custody.pkcs11.extraction import ATTEMPTS as TRIED
from custody.pkcs11.extraction_attempts import ATTEMPTS
from custody.pkcs11.settings import HsmSettings
from custody.runtime.checks import Status
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import make_master_key, opened, settings_for
from tests.integration.pkcs11.outside import (
    leave_behind,
    make_first_version,
    objects,
    run,
)
from tests.integration.pkcs11.test_master_keys import doctor, extractions
from tests.integration.pkcs11.test_schemes import digest, verified

OPEN_UNDER_THE_FIRST_VERSION = {
    "unwrap-public",
    "unwrap-on-token",
    "unwrap-as-secret",
    "unwrap-for-other-use",
    "derive-by-unwrapped-key",
    "change-unwrapped-key",
}


@pytest.fixture
def old(empty_token: TokenFolder, tmp_path: Path) -> HsmSettings:
    """A token whose only master key fixes SENSITIVE and EXTRACTABLE alone."""
    make_first_version(empty_token)
    return settings_for(empty_token, tmp_path / "state")


def test_every_attempt_has_words_and_every_word_an_attempt():
    assert [attempt.name for attempt in ATTEMPTS] == list(TRIED)


async def test_two_fixed_attributes_let_stored_keys_out(old: HsmSettings, empty_token: TokenFolder):
    """The fault that the template of today closes: on SoftHSM these really work."""
    before = objects(empty_token)
    succeeded = {name for name, happened in (await extractions(old)).items() if happened}
    assert succeeded == OPEN_UNDER_THE_FIRST_VERSION
    assert objects(empty_token) == before
    checks = await doctor(old)
    assert checks["try: unwrap-public"].status is Status.FAIL
    assert "a process without login signs with it" in checks["try: unwrap-public"].detail


async def test_doctor_warns_where_only_an_older_version_is_open(old: HsmSettings):
    async with opened(old, accept_weaker=True) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
    await make_master_key(old)
    checks = await doctor(old)
    for name in OPEN_UNDER_THE_FIRST_VERSION:
        assert checks[f"try: {name}"].status is Status.WARN
        assert "custody/1" in checks[f"try: {name}"].detail
    async with opened(old, accept_weaker=True) as hsm:
        verified(key, digest(1), await hsm.sign(key, digest(1)))  # it still signs
        for algorithm in (ECDSA_SECP256K1, ECDSA_SECP256R1):
            new = await hsm.generate(algorithm)
            assert new.master_key == "custody/2"
            verified(new, digest(2), await hsm.sign(new, digest(2)))


async def test_the_next_attempt_removes_what_a_killed_one_left(
    settings: HsmSettings, tokens: TokenFolder
):
    before = objects(tokens)
    leave_behind(tokens, ATTEMPT_LABEL)
    assert objects(tokens) != before
    async with administration(settings) as token:
        await token.extract("unwrap-public")
    assert objects(tokens) == before


STUBBORN = """
from pkcs11 import Session
from pkcs11.exceptions import AttributeTypeInvalid, TemplateInconsistent
from custody.pkcs11 import master_key_making, token_scheme
from custody.pkcs11.attributes import NestedAttributeMapper

class Stubborn:
    def __init__(self, session):
        self._session = session
    def generate_key(self, *arguments, template, **others):
        if Attribute.COPYABLE in template.get(Attribute.UNWRAP_TEMPLATE, {}):
            raise AttributeTypeInvalid()
        return self._session.generate_key(*arguments, template=template, **others)
    def __getattr__(self, name):
        return getattr(self._session, name)

def unwrap(*arguments, original=token_scheme.unwrap):
    if Attribute.SIGN_RECOVER not in arguments[4]:
        raise TemplateInconsistent()
    return original(*arguments)
token_scheme.unwrap = unwrap

session = token.open(rw=True, user_pin=pin, attribute_mapper=NestedAttributeMapper())
print(json.dumps(master_key_making.make_master_keys(Stubborn(session), "custody", False, False)))
"""
"""A token that knows no CKA_COPYABLE in a template, nor CKA_SIGN_RECOVER of an unwrapped key: none
of the tokens that we have does that."""


async def test_what_a_token_refuses_is_left_out_and_named(empty_token: TokenFolder, tmp_path: Path):
    left_out = run(empty_token, STUBBORN)
    assert [text.partition(" (")[0] for text in left_out] == [
        "custody/1: unwrap template: SIGN_RECOVER",
        "custody/1: unwrap template: COPYABLE",
    ]
    settings = settings_for(empty_token, tmp_path / "state")
    succeeded = {name for name, happened in (await extractions(settings)).items() if happened}
    assert succeeded == {"unwrap-for-other-use"}  # MODIFIABLE alone keeps SoftHSM from copying


async def test_a_master_key_works_only_by_the_mechanism_that_the_driver_uses(
    settings: HsmSettings, tokens: TokenFolder
):
    refused: Any = run(
        tokens,
        """
from pkcs11 import Mechanism
from pkcs11.exceptions import MechanismInvalid
session = token.open(rw=True, user_pin=pin)
[master] = session.get_objects({Attribute.LABEL: "custody"})
own = session.generate_key(KeyType.AES, 256, template={Attribute.EXTRACTABLE: True})
refused = []
for mechanism, parameter in (
    (Mechanism.AES_KEY_WRAP, None),
    (Mechanism.AES_CBC, bytes(16)),
    (Mechanism.AES_CBC_PAD, bytes(16)),
):
    try:
        master.wrap_key(own, mechanism=mechanism, mechanism_param=parameter)
    except MechanismInvalid:
        refused.append(mechanism.name)
print(json.dumps(refused))
""",
    )
    assert refused == ["AES_KEY_WRAP", "AES_CBC", "AES_CBC_PAD"]


def test_generate_names_what_was_left_out(empty_token: TokenFolder, tmp_path: Path):
    command = master_key_app(lambda _context: settings_for(empty_token, tmp_path / "state"))
    done = CliRunner().invoke(command, ["generate", "--json"])
    assert done.exit_code == 0
    assert len(json.loads(done.stdout)) == 2
    assert "left out" not in done.stderr  # SoftHSM takes all of it
