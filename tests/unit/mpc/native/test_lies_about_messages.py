"""The header of messages, the same in every protocol and ceremony."""

import hashlib
from typing import Any

import pytest

from mpc import _native as native
from tests.unit.mpc.native import parties
from tests.unit.mpc.native.keys import DKLS, ED25519, key
from tests.unit.mpc.native.lies import flip

DIGEST = hashlib.sha256(b"a message").digest()
FIELDS = {"version": 0, "protocol": 1, "ceremony": 2, "exchange": 3, "sender": 4, "recipient": 5}


def started(protocol: str, kind: str) -> dict[int, Any]:
    shares = key(protocol)
    if kind == "dkg":
        return parties.dkg_sessions(protocol, 2, 3)
    if kind == "signing":
        return parties.signing_sessions(shares, [1, 2], DIGEST)
    if kind == "refresh":
        return parties.refresh_sessions(shares)
    return parties.repair_sessions(shares, 3, [1, 2])


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("kind", ["dkg", "signing", "refresh"])
@pytest.mark.parametrize("field", [*FIELDS, "context"])
def test_a_message_of_another_place_is_refused_and_its_sender_named(
    protocol: str, kind: str, field: str
) -> None:
    sessions = started(protocol, kind)
    sent = {index: session.start() for index, session in sessions.items()}
    change = flip(FIELDS.get(field, 37))
    incoming = {
        sender: (messages.broadcast, messages.private.get(1, b""))
        for sender, messages in sent.items()
        if sender != 1
    }
    broadcast, private = incoming[2]
    incoming[2] = (change(broadcast), private) if broadcast else (broadcast, change(private))
    with pytest.raises(native.ProtocolAbort, match="a message of another") as refused:
        sessions[1].advance(incoming)
    assert refused.value.culprits == (2,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_anothers_message_passed_off_as_ones_own_is_refused(protocol: str) -> None:
    sessions = started(protocol, "dkg")
    sent = {index: session.start() for index, session in sessions.items()}
    of_three = (sent[3].broadcast, sent[3].private.get(1, b""))
    with pytest.raises(native.ProtocolAbort) as refused:
        sessions[1].advance({2: of_three, 3: of_three})
    assert refused.value.culprits == (2,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_message_that_is_not_due_is_refused(protocol: str) -> None:
    sessions = started(protocol, "dkg")
    sent = {index: session.start() for index, session in sessions.items()}
    incoming = {i: (sent[i].broadcast, sent[i].private.get(1, b"")) for i in (2, 3)}
    header = (incoming[2][0] or incoming[2][1])[:38]
    if incoming[2][0]:
        incoming[2] = (incoming[2][0], header[:5] + b"\x01" + header[6:])
    else:
        incoming[2] = (header[:5] + b"\x00" + header[6:], incoming[2][1])
    with pytest.raises(native.ProtocolAbort, match="not due") as refused:
        sessions[1].advance(incoming)
    assert refused.value.culprits == (2,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
@pytest.mark.parametrize("kind", ["dkg", "signing", "refresh"])
def test_a_message_that_is_missing_names_who_did_not_send_it(protocol: str, kind: str) -> None:
    """The library would only sum fewer fragments."""
    sessions = started(protocol, kind)
    sent = {index: session.start() for index, session in sessions.items()}
    incoming = {
        sender: (messages.broadcast, messages.private.get(1, b""))
        for sender, messages in sent.items()
        if sender != 1
    }
    incoming[2] = (b"", b"")
    with pytest.raises(native.ProtocolAbort, match="a message is missing") as refused:
        sessions[1].advance(incoming)
    assert refused.value.culprits == (2,)


@pytest.mark.parametrize("protocol", native.PROTOCOLS)
def test_a_message_of_another_session_is_refused(protocol: str) -> None:
    sessions, others = started(protocol, "signing"), started(protocol, "signing")
    sessions[1].start()
    stale = others[2].start()
    with pytest.raises(native.ProtocolAbort, match="another ceremony") as refused:
        sessions[1].advance({2: (stale.broadcast, stale.private.get(1, b""))})
    assert refused.value.culprits == (2,)


def test_a_dkg_with_the_session_id_of_a_refresh_is_another_ceremony() -> None:
    session = parties.session_id()
    dkg = native.Dkg(ED25519, 1, 2, 3, session).start().broadcast
    refresh = native.Refresh(key(ED25519)[1], session).start().broadcast
    assert dkg[6:38] != refresh[6:38]


def test_no_opening_leaves_before_all_commitments_are_there() -> None:
    sessions = parties.dkg_sessions(DKLS, 2, 3)
    fragments = {index: session.start() for index, session in sessions.items()}
    sent = {}
    for index, session in sessions.items():
        messages = session.advance(
            {other: (b"", fragments[other].private[index]) for other in sessions if other != index}
        )
        assert messages is not None
        assert len(messages.broadcast) == 103  # the commitments alone: a proof has 4 kB
        sent[index] = messages
    with pytest.raises(native.LocalMisuse, match="exactly the other participants"):
        sessions[2].advance({1: (sent[1].broadcast, sent[1].private[2])})
