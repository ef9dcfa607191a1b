"""The faulty module as other tokens: python-pkcs11 sees what a test commands, and nothing else."""

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11.exceptions import (
    AttributeSensitive,
    AttributeTypeInvalid,
    DataLenRange,
    DeviceError,
    FunctionFailed,
    MechanismInvalid,
    PKCS11Error,
    SessionCount,
    SessionReadWriteSOExists,
    TemplateInconsistent,
)

from softhsm.tokens import TokenFolder
from tests.integration.pkcs11.outside import LABEL
from tests.providers.faulty_module import FaultyModule, When
from tests.providers.return_codes import CKR
from tests.waiting import wait_until

NONCE = 12
TAG_BITS = 128
FIXED = b"\x5a" * NONCE


class Process(ProcessPoolExecutor):
    """A process that uses the module: PKCS#11 keeps its state for each process."""

    def __init__(self) -> None:
        super().__init__(max_workers=1, mp_context=get_context("spawn"))

    def do(self, what: Callable[..., object], *arguments: object) -> object:
        """Call a function of this file in the process. Raise what the function raises."""
        return self.submit(what, *arguments).result()


@pytest.fixture
def pin(tokens: TokenFolder) -> str:
    return tokens.pin_file(LABEL).read_text()


@pytest.fixture
def process(faulty: FaultyModule) -> Iterator[Process]:
    with Process() as started:
        yield started


def opened_session(faulty: FaultyModule, pin: str, rw: bool = True) -> pkcs11.Session:
    token = pkcs11.lib(str(faulty.module)).get_token(token_label=LABEL)
    return token.open(rw=rw, user_pin=pin)


def use_attributes(faulty: FaultyModule, pin: str) -> None:
    with opened_session(faulty, pin) as session:
        sensitive = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False}
        key = session.generate_key(KeyType.AES, 256, label="one", store=False, template=sensitive)
        other = session.generate_key(KeyType.AES, 256, label="two", store=False, template=sensitive)
        assert key[Attribute.SENSITIVE]
        changed = faulty.changes_attribute(Attribute.SENSITIVE, b"\0", When(label="one"))
        assert not key[Attribute.SENSITIVE]
        assert other[Attribute.SENSITIVE]
        assert key[Attribute.LABEL] == "one"
        assert faulty.fired(changed) == 1
        faulty.changes_attribute(Attribute.LABEL, b"a longer label than its own")
        assert key[Attribute.LABEL] == "a longer label than its own"
        faulty.clear()
        faulty.withholds_attribute(Attribute.LABEL, CKR.ATTRIBUTE_SENSITIVE)
        with pytest.raises((AttributeSensitive, AttributeTypeInvalid)):
            key[Attribute.LABEL]
        assert key[Attribute.SENSITIVE]
        faulty.clear()
        faulty.changes_attribute(Attribute.VALUE, b"k" * 32)  # SoftHSM itself keeps it secret
        assert key[Attribute.VALUE] == b"k" * 32


def refuse_templates(faulty: FaultyModule, pin: str) -> None:
    def generate() -> None:
        session.generate_key(KeyType.AES, 256, store=False, template={Attribute.MODIFIABLE: False})

    with opened_session(faulty, pin) as session:
        generate()
        refused = When(attribute=Attribute.MODIFIABLE)
        faulty.returns("C_GenerateKey", CKR.ATTRIBUTE_TYPE_INVALID, refused)
        with pytest.raises(AttributeTypeInvalid):
            generate()
        session.generate_key(KeyType.AES, 256, store=False)
        secret = {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: b"k" * 32,
            Attribute.TOKEN: False,
        }
        session.create_object(secret)
        secrets = When(object_class=ObjectClass.SECRET_KEY)
        faulty.returns("C_CreateObject", CKR.TEMPLATE_INCONSISTENT, secrets)
        with pytest.raises(TemplateInconsistent):
            session.create_object(secret)
        session.create_object(
            {Attribute.CLASS: ObjectClass.DATA, Attribute.VALUE: b"v", Attribute.TOKEN: False}
        )


def use_mechanisms_and_sessions(faulty: FaultyModule, pin: str) -> None:
    slot = pkcs11.lib(str(faulty.module)).get_slots()[0]
    with opened_session(faulty, pin, rw=False) as session:
        key: Any = session.generate_key(KeyType.AES, 256, store=False)
        hidden = faulty.hides_mechanism(Mechanism.AES_CBC)
        assert Mechanism.AES_CBC not in slot.get_mechanisms()
        assert Mechanism.AES_GCM in slot.get_mechanisms()
        for use in (
            lambda: slot.get_mechanism_info(Mechanism.AES_CBC),
            lambda: key.encrypt(b"d" * 16, mechanism=Mechanism.AES_CBC, mechanism_param=b"i" * 16),
        ):
            with pytest.raises(MechanismInvalid):
                use()
        faulty.remove(hidden)
        assert Mechanism.AES_CBC in slot.get_mechanisms()
        faulty.returns("C_Encrypt", CKR.DATA_LEN_RANGE, When(longer_than=16))
        for length in (16, 32, 16):  # the failed operation has ended: the third one begins
            try:
                key.encrypt(b"d" * length, mechanism=Mechanism.AES_ECB)
                assert length == 16
            except DataLenRange:
                assert length == 32
    faulty.clear()
    faulty.returns("C_OpenSession", CKR.SESSION_READ_WRITE_SO_EXISTS, When(read_only=True))
    with pytest.raises(SessionReadWriteSOExists):
        opened_session(faulty, pin, rw=False)
    opened_session(faulty, pin).close()


def see_added_slots(faulty: FaultyModule, pin: str) -> None:
    library = pkcs11.lib(str(faulty.module))
    before = [slot.slot_id for slot in library.get_slots()]
    added = faulty.adds_slot("another")
    slots = library.get_slots()
    assert [slot.slot_id for slot in slots[1:]] == before
    token = slots[0].get_token()
    assert token.label == "another"
    assert token.flags & TokenFlag.TOKEN_INITIALIZED
    with pytest.raises(PKCS11Error):
        token.open()
    opened_session(faulty, pin).close()
    faulty.remove(added)
    faulty.adds_slot("another", token_info=CKR.DEVICE_ERROR)
    with pytest.raises(DeviceError):
        library.get_slots()[0].get_token()
    assert library.get_slots()[1].get_token() is not None
    faulty.clear()
    late = faulty.delays("C_GetSlotInfo", 0.001, When(at=2))
    library.get_slots()
    library.get_slots()
    assert faulty.fired(late) == 1


def ask_added_slot_for_its_token(faulty: FaultyModule) -> None:
    pkcs11.lib(str(faulty.module)).get_slots()[0].get_token()


def encrypt_with_new_ivs(faulty: FaultyModule, pin: str) -> None:
    with opened_session(faulty, pin) as session:
        key: Any = session.generate_key(KeyType.AES, 256, store=False)

        def encrypt(nonce: bytes) -> bytes:
            parameters = GCMParams(nonce, b"aad", TAG_BITS)
            done: bytes = key.encrypt(
                b"data", mechanism=Mechanism.AES_GCM, mechanism_param=parameters
            )
            return done

        def decrypt(nonce: bytes, encrypted: bytes) -> bytes:
            parameters = GCMParams(nonce, b"aad", TAG_BITS)
            done: bytes = key.decrypt(
                encrypted, mechanism=Mechanism.AES_GCM, mechanism_param=parameters
            )
            return done

        assert decrypt(FIXED, encrypt(FIXED)) == b"data"
        appended = faulty.replaces_gcm_iv(appended=True)
        encrypted = encrypt(FIXED)
        assert len(encrypted) == len(b"data") + TAG_BITS // 8 + NONCE
        assert decrypt(encrypted[-NONCE:], encrypted[:-NONCE]) == b"data"
        assert encrypt(FIXED) != encrypted
        faulty.remove(appended)
        faulty.replaces_gcm_iv(appended=False)
        nonce = bytes(bytearray(FIXED))  # its memory is overwritten
        encrypted = encrypt(nonce)
        assert nonce != FIXED
        assert decrypt(nonce, encrypted) == b"data"


def fork_and_go_on(faulty: FaultyModule, pin: str) -> None:
    with opened_session(faulty, pin) as session:
        faulty.forks("C_GenerateRandom", When(at=1), parent_dies=False)
        session.generate_random(64)
        session.generate_random(64)
        (child,) = faulty.children()
        os.kill(child, 0)
        faulty.returns("C_GenerateRandom", CKR.FUNCTION_FAILED)
        with pytest.raises(FunctionFailed):
            session.generate_random(64)


@pytest.mark.parametrize(
    "use",
    [
        use_attributes,
        refuse_templates,
        use_mechanisms_and_sessions,
        see_added_slots,
        encrypt_with_new_ivs,
        fork_and_go_on,
    ],
)
def test_the_module_does_as_commanded(
    use: Callable[[FaultyModule, str], None], process: Process, faulty: FaultyModule, pin: str
):
    process.do(use, faulty, pin)


KEPT: list[pkcs11.Session] = []


def keep_session(faulty: FaultyModule, pin: str) -> int:
    KEPT.append(opened_session(faulty, pin))
    return os.getpid()


def got_session(faulty: FaultyModule, pin: str) -> bool:
    """Return False while the descriptors of a dying process are still open."""
    try:
        opened_session(faulty, pin).close()
    except SessionCount:
        return False
    return True


def test_sessions_of_all_processes_are_counted_and_those_of_dead_ones_are_not(
    process: Process, faulty: FaultyModule, pin: str
):
    faulty.limits_sessions(1)
    with Process() as first:
        holder = first.do(keep_session, faulty, pin)
        with pytest.raises(SessionCount):
            process.do(keep_session, faulty, pin)
        assert isinstance(holder, int)
        os.kill(holder, signal.SIGKILL)
        with pytest.raises(BrokenProcessPool):
            first.do(keep_session, faulty, pin)
    wait_until(lambda: process.do(got_session, faulty, pin))


def test_a_forked_child_keeps_what_its_dead_parent_had(
    process: Process, faulty: FaultyModule, pin: str
):
    faulty.limits_sessions(1)
    faulty.forks("C_Login", When(at=1, all_processes=True), parent_dies=True)
    with Process() as first:
        lost = first.submit(keep_session, faulty, pin)
        wait_until(lambda: bool(faulty.children()))
        # its parent has died, but nobody sees its pipe or its session end
        with pytest.raises(SessionCount):
            process.do(keep_session, faulty, pin)
        assert not lost.done()
        faulty.end_children()
        with pytest.raises(BrokenProcessPool):
            lost.result(timeout=30)
    wait_until(lambda: process.do(got_session, faulty, pin))


def test_an_added_slot_hangs_and_its_process_can_be_killed(process: Process, faulty: FaultyModule):
    rule = faulty.adds_slot("another", hangs=True)
    stuck = process.submit(ask_added_slot_for_its_token, faulty)
    wait_until(lambda: any(call.outcome == "hang" for call in faulty.calls("C_GetTokenInfo")))
    (hanging,) = {call.process_id for call in faulty.calls() if call.rule == rule}
    assert not stuck.done()
    os.kill(hanging, signal.SIGKILL)
    with pytest.raises(BrokenProcessPool):
        stuck.result(timeout=30)
