"""Several tokens with the same master keys: losing one costs no request."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from pkcs11 import Attribute
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from custody.pkcs11.administration import administration
from custody.pkcs11.errors import HsmCrashed, ImportKeyMissing
from custody.pkcs11.hsm import Hsm
from custody.pkcs11.launch import HsmCannotStart
from custody.pkcs11.messages import KnownKey, RestoredKey
from custody.pkcs11.other_token_check import other_token_checks
from custody.pkcs11.settings import HsmSettings, PinFile
from custody.runtime.checks import Check, Status
from custody.wire.algorithms import ECDSA_SECP256K1, ECDSA_SECP256R1
from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.conftest import make_master_key
from tests.integration.pkcs11.outside import LABEL
from tests.integration.pkcs11.test_imports import SECRET, prepared, public_key
from tests.integration.pkcs11.test_schemes import digest, verified
from tests.integration.pkcs11.test_workers import until
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR
from tests.wrapped_imports import pkcs8

SECOND = "second"


@pytest.fixture
def second(settings: HsmSettings, tokens: TokenFolder, tmp_path: Path) -> HsmSettings:
    """A clone of the token, in the same store under its own label."""
    pin_file = tokens.copy_to(LABEL, tokens, SECOND)
    return replace(
        settings,
        token_label=SECOND,
        pin=PinFile(pin_file),
        state_directory=tmp_path / "state" / SECOND,
        workers=1,
    )


@pytest.fixture
def first(settings: HsmSettings, faulty: FaultyModule) -> HsmSettings:
    """The token, behind the faulty module."""
    return replace(settings, module=faulty.module, workers=2, deadline_seconds=1.0)


@pytest.fixture
async def stranger(settings: HsmSettings, tokens: TokenFolder, tmp_path: Path) -> HsmSettings:
    """A token in the same store, with master keys of its own under the same names."""
    made = replace(
        settings,
        token_label="stranger",
        pin=PinFile(tokens.make("stranger")),
        state_directory=tmp_path / "state" / "stranger",
        workers=1,
    )
    await make_master_key(made)
    return made


def slower(settings: HsmSettings, faulty: FaultyModule) -> HsmSettings:
    """Put the faulty module before a token, whose first login takes longer than another start."""
    faulty.delays("C_Login", 3.0, When(at=1, all_processes=True))
    return replace(settings, module=faulty.module)


@asynccontextmanager
async def pair(
    first: HsmSettings, second: HsmSettings, known: list[KnownKey], *, both: bool = True
) -> AsyncIterator[Hsm]:
    hsm = Hsm(first, others=[second])
    try:
        await hsm.start(known, accept_new=not known)
        if both:
            await until(lambda: all(hsm.workers_by_token.values()))
        yield hsm
    finally:
        await hsm.close()


async def known_keys(settings: HsmSettings) -> list[KnownKey]:
    """Return the token's master keys as a database would know them."""
    hsm = Hsm(replace(settings, workers=1))
    try:
        await hsm.start()
        return await hsm.proved_keys()
    finally:
        await hsm.close()


async def rows(first: HsmSettings, others: list[HsmSettings], known: list[KnownKey]) -> list[Check]:
    """Return the rows of ``doctor`` about the other tokens, without those of the settings."""
    checks = [check async for check in other_token_checks(first, others, known)]
    return [check for check in checks if ":" not in check.name]


def with_proofs_of(keys: list[KnownKey], all_keys: list[KnownKey]) -> list[KnownKey]:
    """Return keys, each with the proofs of all keys under its name."""
    proofs = {
        name: [proof for key in all_keys if key.name == name for proof in key.proofs]
        for name in {key.name for key in all_keys}
    }
    return [key.model_copy(update={"proofs": proofs[key.name]}) for key in keys]


async def test_both_tokens_sign_with_the_same_keys(first: HsmSettings, second: HsmSettings):
    async with pair(first, second, []) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        await until(lambda: hsm.workers == 3)
        assert hsm.shortage is None
        for number in range(20):
            verified(key, digest(number), await hsm.sign(key, digest(number)))
        shown = REGISTRY.get_sample_value("custody_hsm_token_workers", {"token": SECOND})
        assert shown == 1


@pytest.mark.parametrize("fault", ["hangs", "crashes", "returns"])
async def test_losing_a_token_under_load_costs_no_request(
    fault: str, first: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    """The token hangs, crashes its workers or answers with an error: each request is done."""
    async with pair(first, second, []) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        requests = [asyncio.create_task(hsm.sign(key, digest(number))) for number in range(60)]
        await requests[0]
        for function in ("C_SignInit", "C_UnwrapKey", "C_GenerateKeyPair", "C_OpenSession"):
            if fault == "returns":
                faulty.returns(function, CKR.DEVICE_REMOVED)
            else:
                getattr(faulty, fault)(function)
        generated = await asyncio.gather(*(hsm.generate(ECDSA_SECP256K1) for _ in range(4)))
        for number, raw in enumerate(await asyncio.gather(*requests)):
            verified(key, digest(number), raw)
        for made in generated:
            verified(made, digest(1), await hsm.sign(made, digest(1)))
        await until(lambda: hsm.workers_by_token[LABEL] == 0)
        assert hsm.problem is None
        assert f"token {LABEL!r}" in str(hsm.shortage)


async def test_a_token_that_was_away_is_taken_back(
    first: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    async with pair(first, second, []) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        # a worker that is still starting would not be killed below
        await until(lambda: hsm.workers_by_token == {LABEL: 2, SECOND: 1})
        away = faulty.returns("C_OpenSession", CKR.DEVICE_REMOVED)
        lost = set(hsm.worker_process_ids)
        for process_id in lost:
            os.kill(process_id, signal.SIGKILL)
        await until(
            lambda: (
                hsm.workers_by_token == {LABEL: 0, SECOND: 1}
                and "DEVICE_REMOVED" in str(hsm.shortage)
            )
        )
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        faulty.remove(away)
        await until(lambda: hsm.workers_by_token == {LABEL: 2, SECOND: 1})
        assert hsm.shortage is None


async def test_the_keys_of_a_token_that_joins_late_are_judged(
    settings: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    """Somebody has made a key of the second token weaker while that token was away."""
    known = await known_keys(settings)
    away = faulty.returns("C_OpenSession", CKR.DEVICE_REMOVED)
    late = replace(second, module=faulty.module)
    async with pair(settings, late, known, both=False) as hsm:
        await until(lambda: "DEVICE_REMOVED" in str(hsm.shortage))
        weaker = faulty.changes_attribute(Attribute.DECRYPT, b"\1", When(label="custody"))
        faulty.remove(away)
        await until(lambda: "DECRYPT is true" in str(hsm.shortage))
        assert hsm.workers_by_token[SECOND] == 0
        faulty.remove(weaker)
        await until(lambda: hsm.workers_by_token[SECOND] == 1)


async def test_a_first_token_that_hangs_at_start_holds_nothing_up(
    first: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    known = await known_keys(second)
    hung = faulty.hangs("C_Login")
    slow = replace(first, start_seconds=3600.0)
    async with pair(slow, second, known, both=False) as hsm:
        key = await hsm.generate(ECDSA_SECP256K1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        assert hsm.workers_by_token == {LABEL: 0, SECOND: 1}
        assert "has not logged in yet" in str(hsm.shortage)
        await until(lambda: faulty.fired(hung) == 1)
        faulty.remove(hung)
        os.kill(faulty.calls("C_Login")[-1].process_id, signal.SIGKILL)
        await until(lambda: hsm.workers_by_token == {LABEL: 2, SECOND: 1})


@pytest.mark.parametrize("wrong_one", [LABEL, SECOND])
async def test_a_token_with_other_master_keys_does_no_work(
    wrong_one: str, settings: HsmSettings, second: HsmSettings, stranger: HsmSettings
):
    """The driver uses neither a first token nor another token with other master keys."""
    known = await known_keys(settings)
    ordered = (stranger, second) if wrong_one == LABEL else (second, stranger)
    async with pair(*ordered, known, both=False) as hsm:
        await until(lambda: "stranger" in str(hsm.shortage) and "keys" in str(hsm.shortage))
        assert hsm.workers_by_token["stranger"] == 0
        key = await hsm.generate(ECDSA_SECP256K1)
        verified(key, digest(1), await hsm.sign(key, digest(1)))
    [check] = await rows(settings, [stranger], known)
    assert check.status is Status.FAIL


@pytest.mark.parametrize(
    ("value_of", "reason"),
    [
        (LABEL, "it does not have the same master keys as the others"),
        ("stranger", "its master keys do not open what proves those of the others"),
    ],
)
async def test_a_key_to_which_the_database_gives_the_value_of_another_does_no_work(
    value_of: str, reason: str, settings: HsmSettings, stranger: HsmSettings, faulty: FaultyModule
):
    """A writer of the database can give one check value to the keys of two tokens.

    The stranger also recognises its key by the value, if that is the one that its key computes.
    """
    keys = {LABEL: await known_keys(settings), "stranger": await known_keys(stranger)}
    known = with_proofs_of(keys[value_of], [*keys[LABEL], *keys["stranger"]])
    async with pair(settings, slower(stranger, faulty), known, both=False) as hsm:
        await until(lambda: reason in str(hsm.shortage))
        assert hsm.workers_by_token["stranger"] == 0
    [check] = await rows(settings, [stranger], known)
    assert check.status is Status.FAIL


async def test_a_clone_that_opened_another_proof_is_asked_for_the_one_of_the_others(
    settings: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    keys = await known_keys(settings)
    known = with_proofs_of(keys, [*keys, *await known_keys(settings)])
    refused = faulty.returns("C_UnwrapKey", CKR.WRAPPED_KEY_INVALID, When(at=1, all_processes=True))
    with capture_logs() as logs:
        async with pair(settings, slower(second, faulty), known) as hsm:
            assert faulty.fired(refused) == 1
            assert len({call.process_id for call in faulty.calls("C_Login")}) == 2
            assert hsm.shortage is None
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_tokens_share_work_under_a_database_of_before_the_proofs(
    settings: HsmSettings, second: HsmSettings
):
    """Each token makes a proof of its own. The slower one is asked for the proof of the other."""
    known = [key.model_copy(update={"proofs": []}) for key in await known_keys(settings)]
    with capture_logs() as logs:
        async with pair(settings, second, known) as hsm:
            assert hsm.shortage is None
            assert set(await hsm.new_proofs()) == {"custody/1", "custody-host/1"}
    assert not [line for line in logs if line["log_level"] == "error"]


async def test_without_any_token_the_start_fails_with_the_first_ones_reason(
    first: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    known = await known_keys(second)
    faulty.returns("C_OpenSession", CKR.DEVICE_REMOVED)
    hsm = Hsm(first, others=[replace(second, token_label="absent")])
    with pytest.raises(HsmCannotStart, match="DEVICE_REMOVED"):
        await hsm.start(known, accept_new=False)
    await hsm.close()


async def test_doctor_has_a_row_for_each_other_token(settings: HsmSettings, second: HsmSettings):
    absent = replace(second, token_label="absent")
    shown = [(check.name, check.status) for check in await rows(settings, [second, absent], [])]
    assert shown == [(f"token {SECOND}", Status.OK), ("token absent", Status.FAIL)]


async def test_doctor_shows_the_settings_of_each_token(
    settings: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    faulty.returns("C_OpenSession", CKR.SESSION_READ_WRITE_SO_EXISTS, When(read_only=True))
    strict = replace(
        second, module=faulty.module, traits=replace(second.traits, sessions="read-write")
    )
    checks = {check.name: check async for check in other_token_checks(settings, [strict], [])}
    assert {
        f"token {SECOND}: {name}"
        for name in ("serial", "slot", "wrap_mechanisms", "sessions", "login", "gcm_iv")
    } <= checks.keys()
    assert "SESSION_READ_WRITE_SO_EXISTS" in checks[f"token {SECOND}: sessions"].detail
    assert checks[f"token {SECOND}"].status is Status.OK


async def test_doctor_compares_another_token_with_the_database_while_the_first_is_away(
    settings: HsmSettings, second: HsmSettings
):
    known = await known_keys(settings)
    away = replace(settings, token_label="absent")
    [check] = await rows(away, [second], known)
    assert check.status is Status.OK
    [check] = await rows(away, [second], [])
    assert (check.status, "absent" in check.detail) == (Status.FAIL, True)


async def test_a_clone_that_looks_imported_is_used_once_the_configuration_names_its_keys(
    settings: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    known = await known_keys(settings)
    faulty.changes_attribute(Attribute.LOCAL, b"\0", When(label="custody"))
    faulty.changes_attribute(Attribute.LOCAL, b"\0", When(label="custody-host"))
    clone = replace(second, module=faulty.module)
    [check] = await rows(settings, [clone], known)
    assert check.status is Status.FAIL
    assert "several-tokens.md" in str(check.todo)
    async with administration(settings) as first:
        values = [key.check_value for key in await first.master_keys()]
    restored = tuple(RestoredKey(check_value=value) for value in values if value is not None)
    [check] = await rows(settings, [replace(clone, restored=restored)], known)
    assert check.status is Status.OK


async def test_an_import_key_is_used_on_the_token_that_has_it_and_on_no_other(
    settings: HsmSettings, second: HsmSettings
):
    known = await known_keys(settings)
    announced = public_key(ECDSA_SECP256R1, SECRET)
    async with pair(settings, second, known) as hsm:
        one = await prepared(hsm, ECDSA_SECP256R1)
        assert one.token == LABEL
        content = one.wrap(pkcs8(ECDSA_SECP256R1, SECRET))
        assert await one.imports.present(SECOND) == []
        with pytest.raises(ImportKeyMissing):
            await replace(one, token=SECOND).take_in(content, announced)
        key = await one.take_in(content, announced)
        verified(key, digest(1), await hsm.sign(key, digest(1)))
        assert await one.imports.remove(SECOND, [one.id]) == []
        assert await one.imports.present(LABEL) == [one.id]
    async with pair(second, settings, known) as hsm:  # as another driver has its tokens
        other = await prepared(hsm, ECDSA_SECP256R1)
        assert other.token == SECOND


async def test_an_import_is_not_repeated_at_another_token(
    first: HsmSettings, second: HsmSettings, faulty: FaultyModule
):
    """Its bytes may be what crashes workers, so no other token gets them either."""
    known = await known_keys(second)
    announced = public_key(ECDSA_SECP256R1, SECRET)
    async with pair(replace(first, deadline_seconds=30.0), second, known) as hsm:
        one = await prepared(hsm, ECDSA_SECP256R1)
        content = one.wrap(pkcs8(ECDSA_SECP256R1, SECRET))
        faulty.crashes("C_UnwrapKey", When(at=1, all_processes=True))
        with pytest.raises(HsmCrashed):
            await one.take_in(content, announced)
        await until(lambda: hsm.workers_by_token[LABEL] > 0)
        key = await one.take_in(content, announced)
        verified(key, digest(1), await hsm.sign(key, digest(1)))
