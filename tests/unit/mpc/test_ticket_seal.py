"""What participants seal under the ticket's secret: for them alone, and from one of them."""

import pytest

from custody.wire.delivery import MAX_ABORT_REASON
from custody.wire.signed_bytes import SignedBytes
from mpc.ceremonies.hello import MAX_BAN, PADDED_TO, Opened
from mpc.ceremonies.ticket_seal import NO_REASON, TicketSeal

SECRET, DIGEST = bytes(range(32)), bytes(range(32, 64))
OURS = TicketSeal(SECRET, DIGEST)


def test_who_has_the_ticket_opens_what_a_participant_has_sealed():
    assert TicketSeal(SECRET, DIGEST).open_hello(2, OURS.seal_hello(2, b"a ban")) == b"a ban"
    assert TicketSeal(SECRET, DIGEST).open_reason(2, OURS.seal_reason(2, "frozen")) == "frozen"


@pytest.mark.parametrize(
    "other",
    [TicketSeal(bytes(32), DIGEST), TicketSeal(SECRET, bytes(32))],
    ids=["another secret", "another ticket"],
)
def test_nobody_else_does(other: TicketSeal):
    with pytest.raises(ValueError, match="not sealed under this ticket"):
        other.open_hello(2, OURS.seal_hello(2, b"a ban"))
    assert other.open_reason(2, OURS.seal_reason(2, "frozen")) == NO_REASON


def test_it_opens_as_no_other_participants_and_for_no_other_purpose():
    sealed = OURS.seal_hello(2, b"frozen".ljust(40))
    with pytest.raises(ValueError, match="not sealed"):
        OURS.open_hello(3, sealed)
    assert OURS.open_reason(2, sealed) == NO_REASON
    assert OURS.open_reason(3, OURS.seal_reason(2, "frozen")) == NO_REASON


@pytest.mark.parametrize("place", [0, 11, 12, 30, -1])
def test_any_changed_byte_is_found(place: int):
    changed = bytearray(OURS.seal_reason(2, "frozen"))
    changed[place] ^= 1
    assert OURS.open_reason(2, bytes(changed)) == NO_REASON


@pytest.mark.parametrize("sealed", [b"", bytes(11), bytes(12), bytes(28), b"frozen"])
def test_what_was_never_sealed_does_not_open(sealed: bytes):
    assert OURS.open_reason(2, sealed) == NO_REASON
    with pytest.raises(ValueError, match="not sealed"):
        OURS.open_hello(2, sealed)


def test_the_same_words_never_look_the_same():
    assert OURS.seal_hello(2, b"a ban") != OURS.seal_hello(2, b"a ban")


def test_all_reasons_have_one_size_which_a_delivery_server_takes():
    sizes = {len(OURS.seal_reason(2, code)) for code in ("a", "frozen", "z" * 40)}
    assert len(sizes) == 1
    assert sizes.pop() <= MAX_ABORT_REASON


@pytest.mark.parametrize("code", ["", "Bad", "a" * 41, "a\nb", "schön", "a b"])
def test_a_code_that_could_not_be_shown_is_not_told(code: str):
    assert OURS.open_reason(2, OURS.seal_reason(2, code)) == NO_REASON
    told = OURS._seal(b"abort", 2, code.encode().ljust(40))  # by a participant that lies
    assert OURS.open_reason(2, told) == NO_REASON


def test_up_to_four_bans_and_a_commitment_do_not_show_in_the_size_of_a_hello():
    ban = SignedBytes(payload=bytes(350), signature=bytes(64), signing_key_id="0123456789abcdef")
    for opened in (Opened(b"", ()), Opened(bytes(138), ()), Opened(b"", (ban,) * 4)):
        assert len(opened.to_bytes()) == PADDED_TO
        assert Opened.from_bytes(opened.to_bytes()) == opened


@pytest.mark.parametrize("size", range(PADDED_TO - 20, PADDED_TO + 5))
def test_a_hellos_sealed_part_is_padded_to_whole_units(size: int):
    assert len(Opened(bytes(size), ()).to_bytes()) % PADDED_TO == 0


def test_a_ban_that_is_too_large_is_neither_sent_nor_read():
    large = SignedBytes(payload=bytes(MAX_BAN), signature=b"", signing_key_id="")
    with pytest.raises(ValueError, match="larger than a hello holds"):
        Opened(b"", (large,)).to_bytes()
