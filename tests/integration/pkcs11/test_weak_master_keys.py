"""A weaker master key is not used, although it was made inside the token.

The attacker has the PIN for a while, and writes to the database. He makes the next version of a
master key in a way that lets him take out what it wraps.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from custody.pkcs11.hsm import Hsm
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import KnownKey
from custody.pkcs11.settings import HsmSettings
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import settings_for
from tests.integration.pkcs11.outside import make_first_version, run
from tests.integration.pkcs11.test_workers import until

MAKE = """
from custody.pkcs11 import unwrap_template
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.master_key_making import _ways
from pkcs11 import Mechanism
session = token.open(rw=True, user_pin=pin, attribute_mapper=NestedAttributeMapper())
IS_HOST, OWN, INNER = {}, {}, {}
mechanisms = [Mechanism.AES_GCM] if IS_HOST else sorted({{way.mechanism for way in _ways(session)}})
own = {{
    Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False, Attribute.COPYABLE: False,
    Attribute.ALLOWED_MECHANISMS: mechanisms, **OWN,
}}
inner = {{**unwrap_template.insisted_on([KeyType.EC]), **INNER}}
inner = {{name: value for name, value in inner.items() if value is not None}}
if inner and not IS_HOST:
    own[Attribute.UNWRAP_TEMPLATE] = inner
own[Attribute.MODIFIABLE] = own.pop(Attribute.MODIFIABLE)
uses = MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT
session.generate_key(
    KeyType.AES, 256, label="custody-host" if IS_HOST else "custody", id=(2).to_bytes(4),
    store=True, capabilities=uses if IS_HOST else MechanismFlag.WRAP | MechanismFlag.UNWRAP,
    template={{name: value for name, value in own.items() if value is not None}},
)
print("true")
"""

COPY = """
print(json.dumps(True))
original = next(
    key for key in session.get_objects({{Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY}})
    if key[Attribute.ID] == (2).to_bytes(4) and key[Attribute.LABEL] in ("custody", "custody-host")
)
assert len(original[Attribute.VALUE]) == 32
original.copy({{
    Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False,
}})
original.destroy()
"""
"""What the attacker runs after MAKE: read the key, and leave a copy that nobody can read."""

OWN = {
    "DECRYPT": "True",
    "ENCRYPT": "True",
    "SIGN": "True",
    "VERIFY": "True",
    "DERIVE": "True",
    "PRIVATE": "False",
    "SENSITIVE": "False",
    "EXTRACTABLE": "True",
    "MODIFIABLE": "True",
    "COPYABLE": "True",
    "ALLOWED_MECHANISMS": "[Mechanism.AES_KEY_WRAP_PAD, Mechanism.AES_ECB]",
}
OWN_OF_HOST = {
    **dict.fromkeys(("WRAP", "UNWRAP", "DERIVE", "SIGN", "VERIFY", "EXTRACTABLE"), "True"),
    "ALLOWED_MECHANISMS": "[Mechanism.AES_GCM, Mechanism.AES_ECB]",
}
INNER = (
    "CLASS", "KEY_TYPE", "TOKEN", "PRIVATE", "SENSITIVE", "EXTRACTABLE", "DERIVE", "DECRYPT",
    "UNWRAP", "SIGN_RECOVER", "COPYABLE", "MODIFIABLE", "ALLOWED_MECHANISMS",
)  # fmt: skip


def make(tokens: TokenFolder, own: str = "{}", inner: str = "{}", *, is_host: bool = False) -> None:
    """Generate version 2 inside the token."""
    run(tokens, MAKE.format(is_host, own, inner))


async def all_present(settings: HsmSettings) -> list[KnownKey]:
    """Everything on the token as the attacker would write it into the database."""
    hsm = Hsm(replace(settings, workers=1, accept_weaker=True))
    try:
        await hsm.start()
        proofs = await hsm.proofs()
        return [
            KnownKey(name=name, check_value=value, proofs=[proofs[name]] if name in proofs else [])
            for name, value in (await hsm.check_values()).items()
        ]
    finally:
        await hsm.close()


@asynccontextmanager
async def started(settings: HsmSettings, known: list[KnownKey]) -> AsyncIterator[Hsm]:
    hsm = Hsm(replace(settings, workers=1))
    try:
        await hsm.start(known, accept_new=False)
        yield hsm
    finally:
        await hsm.close()


async def refusal(settings: HsmSettings, known: list[KnownKey] | None = None) -> HsmCannotStart:
    known = await all_present(settings) if known is None else known
    with pytest.raises(HsmCannotStart) as caught:
        async with started(settings, known):
            pass
    return caught.value


async def test_a_key_as_strong_as_ours_is_used(settings: HsmSettings, tokens: TokenFolder):
    make(tokens)
    async with started(settings, await all_present(settings)) as hsm:
        assert "custody/2" in await hsm.check_values()


@pytest.mark.parametrize("attribute", OWN)
async def test_a_wrapping_key_that_allows_more_is_refused(
    attribute: str, settings: HsmSettings, tokens: TokenFolder
):
    make(tokens, f"{{Attribute.{attribute}: {OWN[attribute]}}}")
    assert attribute in (await refusal(settings)).what


async def test_a_wrapping_key_that_allows_more_mechanisms_than_ours_is_refused(
    settings: HsmSettings, tokens: TokenFolder
):
    """The driver unwraps by each of these, but a key that master-key generate makes has one."""
    several = "AES_KEY_WRAP", "AES_KEY_WRAP_PAD", "AES_KEY_WRAP_KWP"
    listed = ", ".join(f"Mechanism.{name}" for name in several)
    make(tokens, f"{{Attribute.ALLOWED_MECHANISMS: [{listed}]}}")
    found = (await refusal(settings)).what
    assert "ALLOWED_MECHANISMS has 3 or more mechanisms" in found


async def test_a_wrapping_key_of_another_mechanism_is_used(
    settings: HsmSettings, tokens: TokenFolder
):
    """The configuration named this mechanism when the key was made."""
    make(tokens, "{Attribute.ALLOWED_MECHANISMS: [Mechanism.AES_KEY_WRAP]}")
    async with started(settings, await all_present(settings)) as hsm:
        assert "custody/2" in await hsm.check_values()


@pytest.mark.parametrize("attribute", OWN_OF_HOST)
async def test_an_encrypting_key_that_allows_more_is_refused(
    attribute: str, settings: HsmSettings, tokens: TokenFolder
):
    make(tokens, f"{{Attribute.{attribute}: {OWN_OF_HOST[attribute]}}}", is_host=True)
    assert attribute in (await refusal(settings)).what


@pytest.mark.parametrize("is_host", [False, True], ids=["wraps", "encrypts"])
async def test_a_key_that_was_readable_before_is_refused(
    is_host: bool, settings: HsmSettings, tokens: TokenFolder
):
    readable = "{Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, " + (
        "Attribute.MODIFIABLE: True, Attribute.COPYABLE: True}"
    )
    run(tokens, (MAKE.replace('print("true")', "") + COPY).format(is_host, readable, "{}"))
    found = (await refusal(settings)).what
    assert "ALWAYS_SENSITIVE is false, NEVER_EXTRACTABLE is false" in found
    assert ", SENSITIVE" not in found
    assert "MODIFIABLE" not in found


@pytest.mark.parametrize("attribute", INNER)
async def test_a_key_that_unwraps_more_is_refused(
    attribute: str, settings: HsmSettings, tokens: TokenFolder
):
    make(tokens, inner=f"{{Attribute.{attribute}: None}}")
    found = await refusal(settings)
    assert f"the unwrap template does not fix {attribute}" in found.what
    assert "CLASS" not in found.what or attribute == "CLASS"


async def test_a_key_of_an_early_version_is_refused_until_the_configuration_names_it(
    empty_token: TokenFolder, tmp_path
):
    make_first_version(empty_token)
    settings = settings_for(empty_token, tmp_path / "state")
    known = await all_present(settings)
    told = (await refusal(settings)).todo
    assert f"0x{known[0].check_value.hex()}" in told
    pinned = replace(settings, weaker=tuple(key.check_value for key in known))
    async with started(pinned, known) as hsm:
        assert set(await hsm.check_values()) == {"custody/1", "custody-host/1"}
    with pytest.raises(HsmCannotStart, match="custody-host/1"):
        async with started(replace(pinned, weaker=pinned.weaker[:1]), known):
            pass


async def test_a_weak_key_that_takes_the_place_of_a_judged_one_is_refused(
    settings: HsmSettings, tokens: TokenFolder
):
    """The attacker states the weak key's check value in the database before, as the judged key's.

    Later workers do not judge, and recognise a key without a proof by the value that it computes.
    """
    (value,) = run(tokens, KEPT)
    known = [
        key.model_copy(update={"check_value": bytes.fromhex(value)})
        if key.name == "custody/1"
        else key
        for key in await all_present(settings)
    ]
    async with started(settings, known) as hsm:
        run(tokens, EXCHANGE)
        for process_id in hsm.worker_process_ids:
            os.kill(process_id, signal.SIGKILL)
        await until(lambda: "not those of before" in str(hsm.problem))


KEPT = """
from custody.pkcs11.key_proof import computed_check_value
from custody.pkcs11.master_key import MasterKey
session = token.open(rw=True, user_pin=pin)
key = session.generate_key(
    KeyType.AES, 256, label="kept", id=(1).to_bytes(4), store=True,
    capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP | MechanismFlag.DECRYPT,
    template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
)
print(json.dumps([computed_check_value(session, MasterKey("custody", 1, key, False)).hex()]))
"""

EXCHANGE = """
session = token.open(rw=True, user_pin=pin)
def only(label):
    (key,) = session.get_objects({Attribute.LABEL: label})
    return key
only("custody").destroy()
only("kept")[Attribute.LABEL] = "custody"
print("true")
"""
