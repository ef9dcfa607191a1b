"""Signers' messages: no carrier can read, change or move them."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.wire.delivery import MAX_MESSAGE
from custody.wire.framing import join
from custody.wire.signed_bytes import BAN_TYPE, SigningKey
from custody.wire.tickets import CeremonyKind, Participant, Protocol, Ticket
from mpc.ceremonies.envelopes import HELLO_TYPE, BadMessage, CeremonyChannel
from mpc.ceremonies.hello import MAX_BANS, MAX_HELLO, Hello

NAMES = ("alice", "bob", "carol")
DIGEST = bytes(range(32))


@dataclass(frozen=True)
class Party:
    name: str
    signer: SigningKey
    channel: CeremonyChannel


def new_ticket() -> Ticket:
    ceremony = uuid4()
    return Ticket(
        ceremony=ceremony,
        meeting=uuid4(),
        secret=os.urandom(32),
        kind=CeremonyKind.GENERATE,
        job_id=ceremony,
        job_digest=bytes(32),
        key_id=uuid4(),
        generation=0,
        share_set_id=None,
        protocol=Protocol.DKLS23_SECP256K1,
        group="treasury",
        threshold=2,
        signers=list(NAMES),
        participants=[Participant(signer=name, index=i) for i, name in enumerate(NAMES, 1)],
        delivery="delivery-1",
        issued_at=datetime.now(UTC),
        expires_at=datetime.now(UTC) + timedelta(seconds=60),
    )


def new_signer() -> SigningKey:
    return SigningKey(Ed25519PrivateKey.generate())


class Ceremony:
    """Three honest signers; a test stands between them."""

    def __init__(
        self,
        ticket: Ticket | None = None,
        signers: Mapping[str, SigningKey] | None = None,
        digests: Mapping[str, bytes] | None = None,
    ) -> None:
        self.ticket = ticket or new_ticket()
        self.signers = dict(signers or {name: new_signer() for name in NAMES})
        self.identities = {name: signer.public_key for name, signer in self.signers.items()}
        self.parties = {
            name: Party(name, signer, self.channel(name, (digests or {}).get(name, DIGEST)))
            for name, signer in self.signers.items()
        }

    def channel(self, name: str, digest: bytes = DIGEST) -> CeremonyChannel:
        return CeremonyChannel(self.ticket, digest, name, self.signers[name], self.identities)

    def __getitem__(self, name: str) -> CeremonyChannel:
        return self.parties[name].channel

    def hellos(self) -> dict[str, bytes]:
        return {name: self[name].hello([], f"opening of {name}".encode()) for name in NAMES}

    def meet(self) -> None:
        hellos = self.hellos()
        for name in NAMES:
            self[name].open_hellos(others(name, hellos))

    def seal(self, number: int) -> dict[str, dict[str, bytes]]:
        """Sender -> recipient -> message."""
        return {
            name: self[name].seal(number, broadcast(name, number), private(name, number))
            for name in NAMES
        }

    def exchange(self, number: int) -> None:
        sealed = self.seal(number)
        for name in NAMES:
            self[name].open(number, addressed(name, sealed))


def others(me: str, messages: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: message for name, message in messages.items() if name != me}


def addressed(recipient: str, sealed: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    return {name: messages[recipient] for name, messages in sealed.items() if name != recipient}


def broadcast(name: str, number: int) -> bytes:
    return f"{name} to all at {number}".encode()


def private(name: str, number: int) -> dict[str, bytes]:
    return {other: f"{name} to {other} at {number}".encode() for other in NAMES if other != name}


@pytest.fixture
def ceremony() -> Ceremony:
    return Ceremony()


@pytest.fixture
def met(ceremony: Ceremony) -> Ceremony:
    ceremony.meet()
    return ceremony


def refused(call: Callable[..., object], *arguments: object) -> BadMessage:
    with pytest.raises(BadMessage) as caught:
        call(*arguments)
    return caught.value


def test_openings_and_bans_arrive_as_they_were_sent(ceremony: Ceremony):
    ban = ceremony.signers["bob"].sign(BAN_TYPE, b'{"as": "signed"}')
    hellos = {
        "bob": ceremony["bob"].hello([ban], b"commitment"),
        "carol": ceremony["carol"].hello([]),
    }
    ceremony["alice"].hello([])
    opened = ceremony["alice"].open_hellos(hellos)
    assert (opened["bob"].opening, opened["bob"].bans) == (b"commitment", (ban,))
    assert (opened["carol"].opening, opened["carol"].bans) == (b"", ())


def test_all_have_one_session_id_and_each_has_contributed(ceremony: Ceremony):
    ceremony.meet()
    (session_id,) = {ceremony[name].session_id for name in NAMES}
    assert len(session_id) == 32
    again = Ceremony(ceremony.ticket)
    again.meet()
    assert again["alice"].session_id != session_id


def test_messages_arrive_at_each_exchange(met: Ceremony):
    for number in (1, 2, 3):
        sealed = met.seal(number)
        for name in NAMES:
            opened = met[name].open(number, addressed(name, sealed))
            assert opened == {
                sender: (broadcast(sender, number), private(sender, number)[name])
                for sender in NAMES
                if sender != name
            }


def test_a_recipient_without_a_private_message_gets_an_empty_one(met: Ceremony):
    sealed = {name: met[name].seal(1, b"to all", {}) for name in NAMES}
    assert met["alice"].open(1, addressed("alice", sealed))["bob"] == (b"to all", b"")


def test_nothing_of_a_message_can_be_read_on_its_way(met: Ceremony):
    secret = os.urandom(32)
    sealed = met["alice"].seal(1, secret, {"bob": secret})
    assert secret not in sealed["bob"]
    assert secret not in sealed["carol"]


def test_the_same_is_never_sealed_alike(met: Ceremony):
    one = met["alice"].seal(1, b"", {})
    two = Ceremony()
    two.meet()
    assert one["bob"] != one["carol"]
    assert one["bob"] != two["alice"].seal(1, b"", {})["bob"]


@pytest.mark.parametrize("place", [0, 40, 63, 64, 70, 84, 90, 1500, -1])
def test_any_changed_byte_of_a_message_is_found(met: Ceremony, place: int):
    sealed = met.seal(1)
    arrived = addressed("alice", sealed)
    changed = bytearray(arrived["bob"])
    changed[place if place < len(changed) else -1] ^= 1
    error = refused(met["alice"].open, 1, arrived | {"bob": bytes(changed)})
    assert (error.code, error.culprits) == ("bad_message", ("bob",))
    assert "changed on its way" in error.reason


@pytest.mark.parametrize("place", [0, 63, 64, 72, 200, -1])
def test_any_changed_byte_of_a_hello_is_found(ceremony: Ceremony, place: int):
    hellos = others("alice", ceremony.hellos())
    changed = bytearray(hellos["bob"])
    changed[place] ^= 1
    error = refused(ceremony["alice"].open_hellos, hellos | {"bob": bytes(changed)})
    assert (error.code, error.culprits) == ("bad_message", ("bob",))


@pytest.mark.parametrize("content", [b"", b"x", bytes(64), bytes(84), bytes(85), os.urandom(300)])
def test_garbage_is_no_message(met: Ceremony, content: bytes):
    arrived = addressed("alice", met.seal(1)) | {"bob": content}
    assert refused(met["alice"].open, 1, arrived).culprits == ("bob",)


@pytest.mark.parametrize("content", [b"", b"x", bytes(64), os.urandom(1400)])
def test_garbage_is_no_hello(ceremony: Ceremony, content: bytes):
    hellos = others("alice", ceremony.hellos()) | {"bob": content}
    assert refused(ceremony["alice"].open_hellos, hellos).culprits == ("bob",)


def test_signed_garbage_is_no_hello(ceremony: Ceremony):
    hellos = others("alice", ceremony.hellos())
    for content in (b"", b"x" * 100, join(*[b""] * 8), join(b"\x01", *[b""] * 7)):
        other = ceremony.channel("alice")
        other.hello([])
        signature = ceremony.signers["bob"].sign(HELLO_TYPE, content).signature
        liar = hellos | {"bob": signature + content}
        error = refused(other.open_hellos, liar)
        assert error.culprits == ("bob",)
        assert "is not a hello" in error.reason


def forged_hello(ceremony: Ceremony, hellos: Mapping[str, bytes], **fields: object) -> bytes:
    """Bob's hello with other fields, signed by bob."""
    honest = Hello.from_bytes(hellos["bob"][64:])
    signed = ceremony.signers["bob"].sign(HELLO_TYPE, replace(honest, **fields).to_bytes())  # type: ignore[arg-type]
    return signed.signature + signed.payload


def test_a_hello_with_a_key_that_is_none_is_refused(ceremony: Ceremony):
    hellos = ceremony.hellos()
    key = b"\xff" * 1216
    liar = others("alice", hellos) | {"bob": forged_hello(ceremony, hellos, kem_public_key=key)}
    assert refused(ceremony["alice"].open_hellos, liar).culprits == ("bob",)


def test_a_curve_point_of_low_order_is_refused_before_anything_is_sealed_to_it(ceremony: Ceremony):
    hellos = ceremony.hellos()
    honest = Hello.from_bytes(hellos["bob"][64:])
    key = honest.kem_public_key[:-32] + bytes(32)
    liar = others("alice", hellos) | {"bob": forged_hello(ceremony, hellos, kem_public_key=key)}
    ceremony["alice"].open_hellos(liar)
    error = refused(ceremony["alice"].seal, 1, b"secret", {})
    assert error.culprits == ("bob",)


def test_anothers_index_in_a_hello_is_refused(ceremony: Ceremony):
    hellos = ceremony.hellos()
    liar = others("alice", hellos) | {"bob": forged_hello(ceremony, hellos, index=3)}
    error = refused(ceremony["alice"].open_hellos, liar)
    assert error.culprits == ("bob",)
    assert "claims index 3" in error.reason


def test_a_hello_of_another_ceremony_is_refused(ceremony: Ceremony):
    replayed = Ceremony(signers=ceremony.signers)["bob"].hello([])
    hellos = others("alice", ceremony.hellos()) | {"bob": replayed}
    assert "another ceremony" in refused(ceremony["alice"].open_hellos, hellos).reason


def test_a_hello_whose_sealed_part_does_not_open_is_its_senders(ceremony: Ceremony):
    hellos = ceremony.hellos()
    for sealed in (b"", bytes(200), Hello.from_bytes(hellos["carol"][64:]).sealed):
        other = ceremony.channel("alice")
        other.hello([])
        liar = others("alice", hellos) | {"bob": forged_hello(ceremony, hellos, sealed=sealed)}
        error = refused(other.open_hellos, liar)
        assert (error.code, error.culprits) == ("bad_message", ("bob",))
        assert "does not open" in error.reason


def test_a_hello_tells_bans_and_openings_to_the_participants_alone(ceremony: Ceremony):
    ban = ceremony.signers["bob"].sign(BAN_TYPE, b'{"key_id": "a key that is named"}')
    hello = ceremony["bob"].hello([ban], b"a commitment of sixteen bytes")
    for secret in (ban.payload, ban.signature, b"a commitment", b"a key that is named"):
        assert secret not in hello
    assert ceremony.ticket.ceremony.bytes not in hello


def test_signers_with_different_tickets_do_not_get_past_the_hello():
    """A control plane that wants two digests signed under one ceremony gets nothing."""
    ceremony = Ceremony(digests={"bob": bytes(32)})
    hellos = ceremony.hellos()
    for name, suspects in (("alice", "bob"), ("bob", "alice")):
        error = refused(ceremony[name].open_hellos, others(name, hellos))
        assert f"{suspects} was given another ticket" in error.reason
        assert error.culprits == ()  # it is not that signer's doing


def test_a_signer_that_is_not_pinned_is_named(ceremony: Ceremony):
    del ceremony.identities["carol"]
    error = refused(ceremony.channel, "alice")
    assert (error.code, error.culprits) == ("not_pinned", ("carol",))


def test_who_signs_by_another_key_than_is_pinned_is_not_believed(ceremony: Ceremony):
    hellos = others("alice", ceremony.hellos())
    ceremony.signers["bob"] = new_signer()
    hellos["bob"] = ceremony.channel("bob").hello([])
    assert refused(ceremony["alice"].open_hellos, hellos).culprits == ("bob",)


def test_a_missing_or_further_sender_is_refused(met: Ceremony):
    arrived = addressed("alice", met.seal(1))
    for wrong in ({"bob": arrived["bob"]}, arrived | {"dave": arrived["bob"]}, {}):
        other = Ceremony()
        other.meet()
        other["alice"].seal(1, b"", {})
        error = refused(other["alice"].open, 1, wrong)
        assert (error.code, error.culprits) == ("bad_message", ())


def test_a_message_for_another_recipient_is_refused(met: Ceremony):
    sealed = met.seal(1)
    arrived = addressed("alice", sealed) | {"bob": sealed["bob"]["carol"]}
    assert "another place" in refused(met["alice"].open, 1, arrived).reason


def test_a_message_under_another_senders_name_is_refused(met: Ceremony):
    arrived = addressed("alice", met.seal(1))
    swapped = {"bob": arrived["carol"], "carol": arrived["bob"]}
    assert refused(met["alice"].open, 1, swapped).code == "bad_message"


def test_a_message_of_an_earlier_exchange_is_refused(met: Ceremony):
    first = met.seal(1)
    for name in NAMES:
        met[name].open(1, addressed(name, first))
    replayed = addressed("alice", met.seal(2)) | {"bob": first["bob"]["alice"]}
    assert "replayed" in refused(met["alice"].open, 2, replayed).reason


def test_a_message_of_another_ceremony_of_the_same_signers_is_refused(met: Ceremony):
    other = Ceremony(signers=met.signers)
    other.meet()
    arrived = addressed("alice", met.seal(1)) | {"bob": other.seal(1)["bob"]["alice"]}
    assert "another place" in refused(met["alice"].open, 1, arrived).reason


def test_what_does_not_open_is_refused_though_it_is_signed(met: Ceremony):
    """Another process of bob's, under the same ticket: it has other keys of the ceremony."""
    other = Ceremony(met.ticket, signers=met.signers)
    other.meet()
    arrived = addressed("alice", met.seal(1)) | {"bob": other.seal(1)["bob"]["alice"]}
    error = refused(met["alice"].open, 1, arrived)
    assert "does not open" in error.reason
    assert error.culprits == ("bob",)


def test_different_broadcasts_to_different_peers_are_found_one_exchange_later(met: Ceremony):
    honest = {name: met[name].seal(1, b"the same", {}) for name in ("alice", "carol")}
    bob = met["bob"]
    to_alice = bob._seal(1, "alice", b"one thing", b"")
    to_carol = bob._seal(1, "carol", b"another", b"")
    met["alice"].open(1, {"bob": to_alice, "carol": honest["carol"]["alice"]})
    met["carol"].open(1, {"bob": to_carol, "alice": honest["alice"]["carol"]})
    bob._broadcast, bob._next = b"one thing", ("open", 1)
    bob.open(1, {"alice": honest["alice"]["bob"], "carol": honest["carol"]["bob"]})
    sealed = met.seal(2)
    error = refused(met["alice"].open, 2, addressed("alice", sealed))
    assert (error.code, error.culprits) == ("echo_mismatch", ())
    assert refused(met["carol"].open, 2, addressed("carol", sealed)).code == "echo_mismatch"


def test_different_hellos_to_different_peers_are_found_at_the_first_exchange(ceremony: Ceremony):
    hellos = ceremony.hellos()
    bob_again = ceremony.channel("bob")
    other_hello = bob_again.hello([], b"another opening")
    ceremony["alice"].open_hellos(others("alice", hellos))
    ceremony["carol"].open_hellos(others("carol", hellos | {"bob": other_hello}))
    ceremony["bob"].open_hellos(others("bob", hellos))
    assert ceremony["alice"].session_id != ceremony["carol"].session_id
    error = refused(ceremony["alice"].open, 1, addressed("alice", ceremony.seal(1)))
    assert (error.code, error.culprits) == ("echo_mismatch", ())


def test_a_message_over_the_size_limit_is_neither_sealed_nor_opened(met: Ceremony):
    with pytest.raises(ValueError, match="are the most"):
        met["bob"].seal(1, bytes(MAX_MESSAGE), {})
    arrived = {"bob": bytes(MAX_MESSAGE + 1), "carol": b""}
    met["alice"].seal(1, b"", {})
    assert f"has {MAX_MESSAGE + 1} bytes" in refused(met["alice"].open, 1, arrived).reason


def test_a_hello_over_the_size_limit_is_not_opened(ceremony: Ceremony):
    hellos = others("alice", ceremony.hellos()) | {"bob": bytes(MAX_HELLO + 1)}
    error = refused(ceremony["alice"].open_hellos, hellos)
    assert f"has {MAX_HELLO + 1} bytes" in error.reason


def test_more_bans_than_signers_can_have_are_not_sent(ceremony: Ceremony):
    ban = ceremony.signers["alice"].sign(BAN_TYPE, b"{}")
    with pytest.raises(ValueError, match="more than a hello holds"):
        ceremony["alice"].hello([ban] * (MAX_BANS + 1))


def test_nothing_is_sealed_or_opened_after_a_bad_message(met: Ceremony):
    arrived = addressed("alice", met.seal(1))
    refused(met["alice"].open, 1, arrived | {"bob": b"garbage"})
    for call in (
        lambda: met["alice"].open(1, arrived),
        lambda: met["alice"].seal(2, b"", {}),
        lambda: met["alice"].seal(1, b"", {}),
    ):
        with pytest.raises(ValueError, match="ended 1 is next"):
            call()


def test_one_exchange_is_sealed_once(met: Ceremony):
    met["alice"].seal(1, b"", {})
    for number in (1, 2):
        with pytest.raises(ValueError, match="open 1 is next"):
            met["alice"].seal(number, b"other", {})


def test_there_is_one_hello_and_no_session_id_before_it_is_answered(ceremony: Ceremony):
    ceremony["alice"].hello([])
    with pytest.raises(ValueError, match="open 0 is next"):
        ceremony["alice"].hello([])
    with pytest.raises(ValueError, match="before the hellos"):
        _ = ceremony["alice"].session_id


def test_a_private_message_for_a_stranger_is_our_mistake(met: Ceremony):
    with pytest.raises(ValueError, match="dave does not take part"):
        met["alice"].seal(1, b"", {"dave": b"x"})


def test_a_forked_process_does_not_go_on_with_the_ceremony(met: Ceremony):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            met["alice"].seal(1, b"", {})
            os.write(writer, b"sealed")
        except RuntimeError:
            os.write(writer, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 16) == b"refused"
    os.close(reader)
    os.close(writer)
    met["alice"].seal(1, b"", {})  # this process continues
