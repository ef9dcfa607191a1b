"""Which tickets a signer holds a ceremony under."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from custody.node.errors import Failed, NotDone, Refused
from custody.node.handlers import Work
from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference, child_key_id
from custody.wire.tickets import NEW_KEY, CeremonyKind, Participant, Protocol, Ticket
from mpc.ceremonies.tickets import Quorum, require_ticket
from mpc.restored.watch import LARGEST_OFFSET
from tests.made_up_keys import made_up_key

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIGNERS = ["signer-1", "signer-2", "signer-3"]
QUORUM = Quorum("signer-1", dict.fromkeys(SIGNERS, b"\x01" * 32), min_threshold=2)
DIGEST = b"\x05" * 32


def job(kind: JobKind = JobKind.SIGN, **changes: Any) -> Job:
    key = KeyReference(
        id=uuid4(), scheme="ECDSA", curve="secp256k1", network=None, public_key=made_up_key()
    )
    fields: dict[str, Any] = {
        "id": uuid4(),
        "kind": kind,
        "group": "mpc",
        "key": key,
        "endpoint": Endpoint.SIGNATURES,
        "request": b"{}",
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
    }
    return Job(**fields | changes)


def ticket_for(one: Job, **changes: Any) -> Ticket:
    fields: dict[str, Any] = {
        "meeting": uuid4(),
        "secret": bytes(range(32)),
        "ceremony": one.id if one.kind != JobKind.SIGN else uuid4(),
        "kind": CeremonyKind.SIGN,
        "job_id": one.id,
        "job_digest": DIGEST,
        "key_id": one.key.root or one.key.id,
        "generation": 0,
        "share_set_id": uuid4(),
        "protocol": Protocol.DKLS23_SECP256K1,
        "group": "two-of-three",
        "threshold": 2,
        "signers": SIGNERS,
        "participants": [
            Participant(signer="signer-1", index=1),
            Participant(signer="signer-3", index=3),
        ],
        "digest": b"\x07" * 32,
        "delivery": "delivery-1",
        "issued_at": NOW,
        "expires_at": NOW + timedelta(seconds=15),
    }
    return Ticket(**fields | changes)


def work(one: Job, ticket: Ticket | None, **shown: Any) -> Work:
    """``shown``: what the delivery ticket says otherwise than the ticket."""
    if ticket is None:
        return Work(one, DIGEST)
    delivery_ticket = DeliveryTicket.of(ticket).model_copy(update=shown)
    return Work(one, DIGEST, ticket, delivery_ticket=delivery_ticket)


def code_of(one: Job, ticket: Ticket | None, quorum: Quorum = QUORUM) -> str:
    with pytest.raises(NotDone) as caught:
        require_ticket(work(one, ticket), quorum, NOW)
    return f"{caught.value.status.value} {caught.value.code}"


def test_a_ticket_that_fits_its_job_is_taken():
    one = job()
    ticket = ticket_for(one)
    assert require_ticket(work(one, ticket), QUORUM, NOW) == ticket


def test_a_derived_keys_ticket_names_the_root():
    root = uuid4()
    child = job().key.model_copy(
        update={"root": root, "path": (0, 5), "id": child_key_id(root, (0, 5), None)}
    )
    one = job(key=child)
    assert require_ticket(work(one, ticket_for(one)), QUORUM, NOW).key_id == root


def test_a_ceremony_without_a_ticket_is_refused():
    assert code_of(job(), None) == "REFUSED bad_ticket"


@pytest.mark.parametrize(
    "change",
    [
        {"job_id": uuid4()},
        {"job_digest": b"\x06" * 32},
        {"key_id": uuid4()},
        {"protocol": Protocol.FROST_ED25519},
        {
            "participants": [
                Participant(signer="signer-2", index=2),
                Participant(signer="signer-3", index=3),
            ]
        },
        {
            "kind": CeremonyKind.REFRESH,
            "participants": [Participant(signer=s, index=i + 1) for i, s in enumerate(SIGNERS)],
        },
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_ticket_for_something_else_is_refused(change):
    one = job()
    assert code_of(one, ticket_for(one, **change)) == "REFUSED bad_ticket"


def test_the_ceremony_of_a_step_is_the_step_itself():
    one = job(JobKind.PROVE_KEY)
    assert code_of(one, ticket_for(one, ceremony=uuid4())) == "REFUSED bad_ticket"


ALL = [Participant(signer=signer, index=index) for index, signer in enumerate(SIGNERS, 1)]


@pytest.mark.parametrize(
    ("kind", "ceremony"),
    [
        (JobKind.GENERATE_KEY, CeremonyKind.GENERATE),
        (JobKind.IMPORT_KEY, CeremonyKind.IMPORT),
    ],
)
def test_a_key_that_is_made_or_imported_has_shares_of_generation_0(
    kind: JobKind, ceremony: CeremonyKind
):
    one = job(kind)
    made: dict[str, Any] = {
        "kind": ceremony, "share_set_id": None, "participants": ALL, "digest": None
    }  # fmt: skip
    assert require_ticket(work(one, ticket_for(one, **made)), QUORUM, NOW).generation == 0
    assert code_of(one, ticket_for(one, **made, generation=1)) == "REFUSED bad_ticket"


@pytest.mark.parametrize("kind", [CeremonyKind.GENERATE, CeremonyKind.IMPORT, CeremonyKind.REFRESH])
def test_a_key_is_made_and_refreshed_by_all_n(kind: CeremonyKind):
    shares = None if kind in NEW_KEY else uuid4()
    ticket_for(job(), kind=kind, share_set_id=shares, participants=ALL)
    with pytest.raises(ValidationError):
        ticket_for(job(), kind=kind, share_set_id=shares, participants=ALL[:2])


@pytest.mark.parametrize("seconds", [0, -1, 24 * 3600])
def test_a_ticket_is_good_for_its_time_alone(seconds):
    one = job()
    late = ticket_for(one, expires_at=NOW + timedelta(seconds=seconds))
    assert code_of(one, late) == "FAILED ticket_expired"


def test_a_signer_that_is_not_pinned_is_no_peer_even_where_it_does_not_take_part():
    one = job()
    others = Quorum("signer-1", {"signer-1": b"", "signer-3": b""}, 2)
    assert code_of(one, ticket_for(one), others) == "FAILED not_pinned"


def test_a_threshold_below_the_owners_is_denied():
    one = job()
    strict = Quorum("signer-1", QUORUM.identities, min_threshold=3)
    assert code_of(one, ticket_for(one), strict) == "DENIED threshold_too_low"


@pytest.mark.parametrize(
    "change",
    [
        {"signers": ["signer-1", "signer-1", "signer-3"]},
        {"threshold": 4},
        {"threshold": 1},
        {"participants": [Participant(signer="signer-1", index=1)]},
        {"participants": [Participant(signer="signer-1", index=2)] * 2},
        {
            "participants": [
                Participant(signer="signer-1", index=1),
                Participant(signer="signer-9", index=3),
            ]
        },
        {"target": 3},
        {"share_set_id": None},
    ],
)
def test_a_ticket_that_contradicts_itself_is_no_ticket(change):
    with pytest.raises(ValidationError):
        ticket_for(job(), **change)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("meeting", uuid4()),
        ("participants", ["signer-1", "signer-2"]),
        ("participants", ["signer-1"]),
        ("participants", ["signer-3", "signer-1"]),
        ("participants", ["signer-1", "signer-3", "signer-4"]),
        ("delivery", "delivery-2"),
        ("expires_at", NOW + timedelta(seconds=16)),
    ],
)
def test_a_delivery_ticket_of_another_meeting_than_the_tickets_is_refused(field: str, value: Any):
    one = job()
    with pytest.raises(Refused, match=f"the delivery ticket has another {field}") as caught:
        require_ticket(work(one, ticket_for(one), **{field: value}), QUORUM, NOW)
    assert caught.value.code == "bad_ticket"


def test_limits_of_a_delivery_ticket_are_the_delivery_servers_business():
    one = job()
    require_ticket(work(one, ticket_for(one), message_bytes=1, held_bytes=1), QUORUM, NOW)


def test_a_ticket_without_one_for_the_delivery_server_is_refused():
    one = job()
    with pytest.raises(Refused, match="comes without one for the delivery server"):
        require_ticket(Work(one, DIGEST, ticket_for(one)), QUORUM, NOW)


def test_a_tickets_secret_is_neither_short_nor_shown():
    ticket = ticket_for(job())
    assert "secret" not in repr(ticket)
    with pytest.raises(ValidationError, match="secret"):
        ticket_for(job(), secret=bytes(31))


def test_a_restored_signer_uses_no_ticket_that_was_issued_before_it_noticed():
    one, noticed = job(), NOW - LARGEST_OFFSET
    require_ticket(work(one, ticket_for(one)), QUORUM, NOW, noticed)
    with pytest.raises(Failed, match="ticket_forgotten"):
        require_ticket(work(one, ticket_for(one)), QUORUM, NOW, noticed + timedelta(seconds=1))


def test_a_ticket_cannot_be_dated_ahead():
    """Otherwise it could be used, forgotten, and count as issued after a restore."""
    one = job()
    ahead = ticket_for(one, issued_at=NOW + LARGEST_OFFSET + timedelta(seconds=1))
    with pytest.raises(Failed, match="in the future"):
        require_ticket(work(one, ahead), QUORUM, NOW)
