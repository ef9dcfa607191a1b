"""The table of PKCS#11's return codes is total, and says what operators rely on."""

import itertools

import pytest
from pkcs11 import exceptions
from pkcs11.exceptions import PKCS11Error

from custody.pkcs11.endings import (
    EXCEPTIONS,
    FUNCTIONS,
    RULES,
    STEP_OF,
    Ending,
    RequestGets,
    Step,
    WorkerDoes,
    ending,
)
from custody.pkcs11.errors import BY_CODE
from custody.pkcs11.return_codes import NAME_OF, NAMES, NUMBER_OF, Kind, code_name, kind_of
from custody.pkcs11.session_errors import number_of

VENDOR = 0x80000171
UNKNOWN = 0x7FFFFFF0


def test_every_code_has_one_kind_and_one_name():
    numbers = [number for names in NAMES.values() for number in names]
    assert len(numbers) == len(set(numbers)) == len(NUMBER_OF) == 103
    assert set(NAMES) == set(Kind)
    assert 0 not in NAME_OF


@pytest.mark.parametrize("step", Step)
def test_every_function_and_code_have_one_ending(step: Step):
    assert set(RULES[step]) == set(Kind)
    assert FUNCTIONS[step]
    for number in (*NAME_OF, VENDOR, UNKNOWN):
        assert isinstance(ending(step, number), Ending)


def test_every_function_has_one_step_and_every_ending_is_used():
    assert len(STEP_OF) == sum(map(len, FUNCTIONS.values()))
    used = {each for rules in RULES.values() for each in rules.values()} | set(EXCEPTIONS.values())
    assert used == set(Ending)


def test_codes_of_vendors_and_unknown_codes_are_unclear_and_named_by_number():
    assert kind_of(VENDOR) is kind_of(UNKNOWN) is Kind.UNCLEAR
    assert code_name(VENDOR) == "the vendor's code 0x80000171"
    assert code_name(UNKNOWN) == "an unknown code 0x7ffffff0"


def test_a_request_fails_for_good_only_where_the_request_or_its_key_is_at_fault():
    final = {
        (step, kind)
        for step, kind in itertools.product(Step, Kind)
        if RULES[step][kind].facts.request is RequestGets.FAILED
    }
    assert {kind for _, kind in final} == {Kind.DATA, Kind.NOT_WRAPPABLE, Kind.CURVE}
    for step, kind in final:
        facts = RULES[step][kind].facts
        assert facts.code is not None
        assert not BY_CODE[facts.code].transient


def test_what_waits_or_comes_again_has_a_transient_code():
    for each in Ending:
        facts = each.facts
        if facts.request in (RequestGets.LATER, RequestGets.AGAIN, RequestGets.WAITS):
            assert facts.code is not None
            assert BY_CODE[facts.code].transient
        assert facts.operator.endswith((".", "--retry-pin"))


def test_a_login_that_may_have_counted_is_not_repeated():
    stopped = {
        number
        for number in (*NAME_OF, VENDOR, UNKNOWN)
        if ending(Step.LOG_IN, number).facts.worker is WorkerDoes.STOPPED
    }
    for name in ("PIN_INCORRECT", "PIN_LOCKED", "PIN_EXPIRED", "FUNCTION_FAILED", "GENERAL_ERROR"):
        assert NUMBER_OF[f"CKR_{name}"] in stopped
    assert {VENDOR, UNKNOWN} <= stopped
    for name in ("USER_ALREADY_LOGGED_IN", "DEVICE_REMOVED", "SESSION_CLOSED", "SESSION_COUNT"):
        assert NUMBER_OF[f"CKR_{name}"] not in stopped


def test_the_number_of_every_error_of_python_pkcs11_is_found():
    """The texts are those of map_rv_to_error in python-pkcs11 0.10.1."""
    made_by_python = {
        "PKCS11Error",
        "MultipleObjectsReturned",
        "MultipleTokensReturned",
        "NoSuchKey",
        "NoSuchToken",
    }
    for name, kind in vars(exceptions).items():
        if isinstance(kind, type) and issubclass(kind, PKCS11Error):
            assert (number_of(kind()) is None) is (name in made_by_python)
    assert number_of(exceptions.FunctionCancelled()) == NUMBER_OF["CKR_FUNCTION_CANCELED"]
    not_initialised = PKCS11Error("Initialisation error (not initialized). Should never see this.")
    assert number_of(not_initialised) == NUMBER_OF["CKR_CRYPTOKI_NOT_INITIALIZED"]
    assert (
        number_of(PKCS11Error("Unmapped error code 0x140")) == NUMBER_OF["CKR_CURVE_NOT_SUPPORTED"]
    )
    assert number_of(PKCS11Error("Unmapped error code 0x80000171")) == VENDOR
    assert number_of(PKCS11Error("OS exception while loading /x.so: no such file")) is None
