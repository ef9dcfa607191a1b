"""Whether somebody can keep a looser key with the value of a key that passes for ours."""

from dataclasses import replace

import pytest

from custody.pkcs11.doctor import hsm_checks
from custody.pkcs11.messages import TWIN_STEP
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_traits import TokenTraits
from custody.pkcs11.trials import try_token
from custody.pkcs11.twin_trial import POSSIBLE
from custody.runtime.checks import Status
from tests.integration.pkcs11.outside import objects, run
from tests.integration.pkcs11.test_weak_master_keys import all_present, started
from tests.providers.tokens import KRYOPTIC, Tokens

WITHOUT_COPYABLE = TokenTraits(master_key_without=("COPYABLE",))
"""The setting under which Kryoptic makes the copy: it refuses CKA_COPYABLE=false in one."""
ON_KRYOPTIC = pytest.mark.parametrize("provider", [KRYOPTIC], indirect=True)
"""SoftHSM takes neither an unwrap template nor CKA_ALLOWED_MECHANISMS in a copy."""

COPY = """
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.master_key_making import strongest_template
session = token.open(rw=True, user_pin=pin, attribute_mapper=NestedAttributeMapper())
wanted = strongest_template(session)
wanted.pop(Attribute.COPYABLE)
loose = session.generate_key(
    KeyType.AES, 256, label="loose", store=True,
    capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
    template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
)
names = {Attribute.LABEL: "custody", Attribute.ID: (2).to_bytes(4), Attribute.TOKEN: True}
loose.copy({**names, **wanted})
print("true")
"""


@pytest.mark.each_provider
async def test_a_token_that_copies_no_key_so_has_no_twin(tokens: Tokens, settings: HsmSettings):
    before = objects(tokens)
    found = {check.name: check async for check in hsm_checks(settings)}
    assert found[TWIN_STEP].status is Status.OK
    assert found[TWIN_STEP].detail.startswith("not possible: CKR_")
    assert objects(tokens) == before


@ON_KRYOPTIC
async def test_a_token_that_makes_the_copy_is_named(tokens: Tokens, settings: HsmSettings):
    loose = replace(settings, traits=WITHOUT_COPYABLE)
    before = objects(tokens)
    found = {check.name: check async for check in hsm_checks(loose)}
    assert (found[TWIN_STEP].status, found[TWIN_STEP].detail) == (Status.WARN, POSSIBLE)
    assert "noted" in (found[TWIN_STEP].todo or "")
    steps = {step.name: step.detail for step in await try_token(loose)}
    assert steps[TWIN_STEP] == POSSIBLE
    assert objects(tokens) == before


@ON_KRYOPTIC
async def test_the_judgement_does_not_see_the_twin(tokens: Tokens, settings: HsmSettings):
    """This is why the token is tried: ADR 31 does not promise more."""
    run(tokens, COPY)
    loose = replace(settings, traits=WITHOUT_COPYABLE)
    async with started(loose, await all_present(loose)) as hsm:
        assert "custody/2" in await hsm.check_values()
        assert not await hsm.weak()
