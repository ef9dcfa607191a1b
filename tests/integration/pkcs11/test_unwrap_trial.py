"""A token that does not tell a master key's unwrap template: the template is tried.

What a slow or unclear token leaves open keeps a key from being used, but is not called a weakness.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pkcs11 import Attribute, ObjectClass

from custody.pkcs11.settings import HsmSettings
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.outside import run
from tests.integration.pkcs11.test_weak_master_keys import (
    INNER,
    all_present,
    make,
    refusal,
    started,
)
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR

OF_TRIAL = "custody-doctor-attempt"
"""The label of what a trial unwraps."""

OF_OTHER_TYPE = "4 times CKR_FUNCTION_FAILED"
"""SoftHSM's answer to four other key types, by a key whose template does not fix the type."""

TRIED = """
import time
from custody.pkcs11 import strength
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.master_key import find_master_keys
from custody.pkcs11.messages import Hello, PinStanding
session = token.open(user_pin=pin, attribute_mapper=NestedAttributeMapper())
master = next(m for m in find_master_keys(session, "custody").masters if m.version == {version})
hello = Hello(
    module=module, token_label=label, pin="", pin_standing=PinStanding.NEW, host_signing=[],
    master_key_label="custody", purpose="operations",
)
strength.unwrap_template = lambda *_: None
ends = time.monotonic() + {seconds}
{more}
found = strength.weaknesses(session, hello, master, ends)
print(json.dumps([[each.what, each.doubt] for each in found]))
"""

VAGUE = """
from custody.pkcs11.attacker import Attacker
from pkcs11.exceptions import FunctionFailed, PKCS11Error
real = Attacker.unwrap
def vague(self, *arguments):
    try:
        return real(self, *arguments)
    except PKCS11Error:
        raise FunctionFailed from None
Attacker.unwrap = vague
"""
"""A token that refuses as its template says, and answers with an error that says nothing."""

VAGUE_FOR_ONE = VAGUE.replace(
    "raise FunctionFailed from None",
    "if not self.wrapping.key[Attribute.TOKEN]: raise\n        raise FunctionFailed from None",
)
"""A token that answers like this only for a stored master key, not for session keys."""

TIRED = """
from custody.pkcs11.attacker import Attacker
from pkcs11.exceptions import FunctionFailed
real = Attacker.unwrap
def tired(self, *arguments):
    self.calls = getattr(self, "calls", 0) + 1
    if self.calls > 3:
        raise FunctionFailed
    return real(self, *arguments)
Attacker.unwrap = tired
"""
"""A token that fails from the fourth call of each trial on."""

LATE = """
real_key = strength.passing_wrapping_key
def late(session):
    strength.try_template.__globals__["time"] = type("Late", (), {"monotonic": lambda: ends + 1})
    return real_key(session)
strength.passing_wrapping_key = late
"""
"""The time is over when the token has tried the judged key and the strongest key."""

NO_CONTROL = """
from custody.pkcs11.attacker import Attacker
from pkcs11.exceptions import FunctionFailed
real = Attacker.unwrap
def failing(self, stored, changes, *arguments):
    if Attribute.DERIVE in changes:
        raise FunctionFailed
    return real(self, stored, changes, *arguments)
Attacker.unwrap = failing
"""
"""A token that does not unwrap with DERIVE by any key, not even by a key without a template."""

REFUSES_ALL = """
from custody.pkcs11.attacker import Attacker
from pkcs11.exceptions import TemplateInconsistent
def refusing(self, *arguments):
    raise TemplateInconsistent
Attacker.unwrap = refusing
"""
"""A token, or an attacker's template, that refuses what the driver does not do, as a label."""


def tried(tokens: TokenFolder, more: str = "", *, version: int = 2, seconds: int = 60) -> Any:
    """Judge a master key as if the token did not tell its template."""
    return run(tokens, TRIED.format(more=more, version=version, seconds=seconds))


def without(left_out: Sequence[str]) -> str:
    return f"{{{', '.join(f'Attribute.{each}: None' for each in left_out)}}}"


def of_template(attribute: str) -> str:
    return f"the unwrap template does not fix {attribute}"


@pytest.fixture
def untold(faulty_settings: HsmSettings, faulty: FaultyModule) -> HsmSettings:
    """A token that does not tell unwrap templates."""
    faulty.withholds_attribute(Attribute.UNWRAP_TEMPLATE, CKR.ATTRIBUTE_SENSITIVE)
    return faulty_settings


@pytest.mark.parametrize(
    "left_out", [*((each,) for each in INNER[1:]), ("SIGN_RECOVER", "CLASS", "KEY_TYPE"), ()]
)
def test_a_token_that_does_not_tell_its_template_is_tried(
    left_out: tuple[str, ...], settings: HsmSettings, tokens: TokenFolder
):
    """A fixed key type or SIGN_RECOVER excludes other classes, so three are left out together."""
    make(tokens, inner=without(left_out))
    assert tried(tokens) == [
        [of_template(each), OF_OTHER_TYPE if each == "KEY_TYPE" else None] for each in left_out
    ]


def test_what_could_not_be_tried_excuses_no_key(settings: HsmSettings, tokens: TokenFolder):
    """The strongest key of the token is tried too late as well, but that says nothing of it."""
    make(tokens, inner=without(INNER))
    found = dict(tried(tokens, seconds=-1))
    assert set(found) >= {of_template(each) for each in INNER}
    assert all("no time" in doubt for doubt in found.values())


async def test_a_slow_token_gets_the_time_that_a_start_has(
    untold: HsmSettings, faulty: FaultyModule
):
    known = await all_present(untold)
    faulty.delays("C_UnwrapKey", 0.25, When(label=OF_TRIAL))
    slow = replace(untold, start_seconds=10.0)
    found = await refusal(slow, known)
    assert "could not be judged: not certain" in found.what
    assert "no time" in found.what
    assert "does not fix KEY_TYPE" in found.what
    assert "does not fix TOKEN" not in found.what
    assert "do not delete the key" in found.todo
    assert "higher start_seconds" in found.todo
    async with started(replace(slow, start_seconds=40.0), known) as hsm:
        assert not await hsm.weak()


async def test_a_slow_login_leaves_time_to_try_the_template(
    untold: HsmSettings, faulty: FaultyModule
):
    known = await all_present(untold)
    faulty.delays("C_Login", 8.0)
    async with started(replace(untold, start_seconds=14.0), known) as hsm:
        assert not await hsm.weak()


async def test_an_unclear_answer_refuses_the_key_until_the_configuration_names_it(
    untold: HsmSettings, faulty: FaultyModule
):
    """No key of this token unwraps a secret key, so nothing shows what the answer means."""
    known = await all_present(untold)
    faulty.returns(
        "C_UnwrapKey", CKR.FUNCTION_FAILED, When(object_class=int(ObjectClass.SECRET_KEY))
    )
    found = await refusal(untold, known)
    assert "'custody/1' could not be judged" in found.what
    assert "CKR_FUNCTION_FAILED" in found.what
    assert "does not fix CLASS" in found.what
    assert "weaker than" not in found.what
    assert "do not delete the key" in found.todo
    value = next(key.check_value for key in known if key.name == "custody/1")
    assert f"0x{value.hex()}" in found.todo
    async with started(replace(untold, weaker=(value,)), known) as hsm:
        assert "not certain" in (await hsm.weak())["custody/1"]


async def test_a_shown_weakness_is_told_apart_from_an_unclear_answer(
    untold: HsmSettings, faulty: FaultyModule, tokens: TokenFolder
):
    make(tokens, inner=without(["DERIVE"]))
    faulty.returns(
        "C_UnwrapKey", CKR.FUNCTION_FAILED, When(object_class=int(ObjectClass.SECRET_KEY))
    )
    known = [key for key in await all_present(untold) if key.name == "custody/2"]
    found = await refusal(untold, known)
    shown, unclear = found.what.split("not certain")
    assert "weaker than this token can make it: the unwrap template does not fix DERIVE" in shown
    assert "CLASS" in unclear
    assert "DERIVE" not in unclear
    assert "only if no stored key is wrapped by it" in found.todo


def test_a_token_with_unclear_refusals_lets_its_strongest_key_work(
    settings: HsmSettings, tokens: TokenFolder
):
    assert tried(tokens, VAGUE, version=1) == []


@pytest.mark.parametrize("left_out", ["EXTRACTABLE", "TOKEN", "DERIVE", "ALLOWED_MECHANISMS"])
def test_a_token_with_unclear_refusals_shows_a_weak_key(
    left_out: str, settings: HsmSettings, tokens: TokenFolder
):
    make(tokens, inner=without([left_out]))
    assert [of_template(left_out), None] in tried(tokens, VAGUE)


def test_a_token_with_unclear_refusals_has_time_for_each_key(
    settings: HsmSettings, tokens: TokenFolder
):
    """Without the time to try a key without a template, the answers stay unclear."""
    found = tried(tokens, VAGUE + LATE, version=1)
    assert [of_template("DERIVE"), "CKR_FUNCTION_FAILED"] in found


def test_an_unclear_answer_for_one_key_excuses_no_key(settings: HsmSettings, tokens: TokenFolder):
    found = tried(tokens, VAGUE_FOR_ONE, version=1)
    assert [of_template("DERIVE"), "CKR_FUNCTION_FAILED"] in found


def test_a_token_that_fails_during_each_trial_excuses_no_key(
    settings: HsmSettings, tokens: TokenFolder
):
    make(tokens, inner=without(["EXTRACTABLE"]))
    doubt = dict(tried(tokens, TIRED))[of_template("EXTRACTABLE")]
    assert doubt == "CKR_FUNCTION_FAILED, then CKR_FUNCTION_FAILED without a change"


def test_what_no_key_of_the_token_does_excuses_no_key(settings: HsmSettings, tokens: TokenFolder):
    """The strongest key gets the same answer, but the template may not be its reason."""
    make(tokens, inner=without(["DERIVE"]))
    assert tried(tokens, NO_CONTROL) == [[of_template("DERIVE"), "CKR_FUNCTION_FAILED"]]


def test_refusals_of_a_token_that_refuses_all_prove_nothing(
    settings: HsmSettings, tokens: TokenFolder
):
    make(tokens, inner=without(["EXTRACTABLE"]))
    found = dict(tried(tokens, REFUSES_ALL))
    assert found[of_template("EXTRACTABLE")] == "refused without a change"
