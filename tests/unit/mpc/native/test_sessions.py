import copy
import hashlib
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from custody.wire.group_sizes import MAX_SIGNERS
from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, key

DIGEST = hashlib.sha256(b"a message").digest()


def signing(protocol: str) -> dict[int, native.Signing]:
    return parties.signing_sessions(key(protocol), [1, 2], DIGEST)


def test_the_module_and_the_contract_allow_the_same_number_of_signers() -> None:
    assert native.MAX_SIGNERS == MAX_SIGNERS


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_session_is_started_once(protocol: str) -> None:
    session = signing(protocol)[1]
    session.start()
    with pytest.raises(native.LocalMisuse, match="started before"):
        session.start()
    with pytest.raises(native.LocalMisuse, match="spent"):
        session.start()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_nothing_is_taken_before_the_start_or_given_before_the_end(protocol: str) -> None:
    with pytest.raises(native.LocalMisuse, match="expects no messages"):
        signing(protocol)[1].advance({2: (b"", b"")})
    with pytest.raises(native.LocalMisuse, match="no result"):
        signing(protocol)[1].result()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_what_was_kept_is_used_up_even_where_the_message_was_bad(protocol: str) -> None:
    sessions = signing(protocol)
    sent = {index: session.start() for index, session in sessions.items()}
    with pytest.raises(native.ProtocolAbort):
        sessions[1].advance({2: (b"x", b"x")})
    good = (sent[2].broadcast, sent[2].private.get(1, b""))
    with pytest.raises(native.LocalMisuse, match="spent"):
        sessions[1].advance({2: good})


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("senders", [[], [3], [1], [2, 3], [1, 2]])
def test_the_senders_must_be_exactly_the_other_participants(
    protocol: str, senders: list[int]
) -> None:
    sessions = signing(protocol)
    sent = {index: session.start() for index, session in sessions.items()}
    message = (sent[2].broadcast, sent[2].private.get(1, b""))
    with pytest.raises(native.LocalMisuse, match="exactly the other participants"):
        sessions[1].advance(dict.fromkeys(senders, message))


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_result_is_given_once(protocol: str) -> None:
    sessions = signing(protocol)
    parties.run(sessions)
    with pytest.raises(native.LocalMisuse, match="spent"):
        sessions[1].result()


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickle.dumps])
def test_neither_sessions_nor_shares_are_copied(
    protocol: str, copied: Callable[[Any], Any]
) -> None:
    for one in (key(protocol)[1], signing(protocol)[1], signing(protocol)[1].start()):
        with pytest.raises(TypeError):
            copied(one)


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(native.LocalMisuse, match="no such protocol"):
        native.Dkg("ecdsa", 1, 2, 3, parties.session_id())


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_sessions_run_side_by_side_on_threads(protocol: str) -> None:
    def one(_: int) -> bytes:
        return parties.sign(key(protocol), [1, 2], DIGEST)

    key(protocol)
    with ThreadPoolExecutor(4) as threads:
        signatures = set(threads.map(one, range(8)))
    assert len(signatures) == 8  # no two with the same nonce


def test_the_exchanges_are_counted() -> None:
    counted = {
        protocol: (
            parties.dkg_sessions(protocol, 2, 3)[1].exchanges,
            signing(protocol)[1].exchanges,
            parties.refresh_sessions(key(protocol))[1].exchanges,
            parties.repair_sessions(key(protocol), 3, [1, 2])[1].exchanges,
        )
        for protocol in (DKLS, ED25519)
    }
    assert counted == {DKLS: (4, 3, 4, 1), ED25519: (3, 2, 3, 2)}
