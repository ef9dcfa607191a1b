"""Which jobs a node believes and does: no socket, no database, no HSM."""

import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.node.authentication import Authenticator
from custody.node.clock import Clock
from custody.node.decisions import decide, require_thawed
from custody.node.errors import Denied, Failed, Refused
from custody.node.freeze import Freeze
from custody.wire.algorithms import Curve, Scheme
from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import Endpoint, Job, JobKind, KeyReference, child_key_id
from custody.wire.node_api import ClaimedJob
from custody.wire.signed_bytes import (
    DELIVERY_TICKET_TYPE,
    JOB_TYPE,
    TICKET_TYPE,
    PinnedKeys,
    SigningKey,
)
from tests.made_up_keys import made_up_key
from tests.unit.wire.signer_examples import TICKET

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KEY = uuid4()
CONTROL_PLANE = SigningKey(Ed25519PrivateKey.generate())
AUTHENTICATOR = Authenticator(
    PinnedKeys([CONTROL_PLANE.public_key]), "hsm", frozenset({JobKind.SIGN.value})
)


def job(**changes: object) -> Job:
    key = KeyReference(
        id=uuid4(),
        scheme=Scheme.ECDSA,
        curve=Curve.SECP256K1,
        network=None,
        public_key=made_up_key(),
    )
    fields = {
        "id": uuid4(),
        "kind": JobKind.SIGN.value,
        "group": "hsm",
        "key": key,
        "endpoint": Endpoint.SIGNATURES,
        "request": b"{}",
        "created_at": NOW,
        "expires_at": NOW + timedelta(minutes=5),
    }
    return Job(**(fields | changes))


def claimed(
    job: Job, signer: SigningKey = CONTROL_PLANE, payload: bytes | None = None
) -> ClaimedJob:
    signed = signer.sign(JOB_TYPE, payload or job.model_dump_json().encode())
    return ClaimedJob(job_id=job.id, job=signed, attempt=1, lease=uuid4(), lease_seconds=30)


def refusal(claimed_job: ClaimedJob) -> str:
    with pytest.raises(Refused) as caught:
        AUTHENTICATOR.open(claimed_job)
    assert caught.value.reason
    return caught.value.code


def test_a_job_that_a_pinned_key_signed_is_opened() -> None:
    one = job()
    assert AUTHENTICATOR.open(claimed(one)).job == one


def test_an_opened_job_comes_with_its_digest_and_without_tickets_where_none_were_signed() -> None:
    one = claimed(job())
    work = AUTHENTICATOR.open(one)
    assert work.digest == sha256(one.job.payload).digest()
    assert (work.ticket, work.signed_ticket) == (None, None)
    assert (work.delivery_ticket, work.signed_delivery_ticket) == (None, None)


def test_an_opened_job_comes_with_its_tickets_and_with_their_signed_bytes() -> None:
    shown = DeliveryTicket.of(TICKET)
    signed = CONTROL_PLANE.sign(TICKET_TYPE, TICKET.model_dump_json().encode())
    signed_shown = CONTROL_PLANE.sign(DELIVERY_TICKET_TYPE, shown.model_dump_json().encode())
    tickets = {"ticket": signed, "delivery_ticket": signed_shown}
    work = AUTHENTICATOR.open(claimed(job()).model_copy(update=tickets))
    assert (work.ticket, work.signed_ticket) == (TICKET, signed)
    assert (work.delivery_ticket, work.signed_delivery_ticket) == (shown, signed_shown)


def test_a_refusal_names_what_was_expected_and_what_came() -> None:
    other = job(group="other")
    for claim, parts in (
        (claimed(other), ("'other'", "'hsm'")),
        (claimed(job(kind="Export")), ("'Export'",)),
        (claimed(job()).model_copy(update={"job_id": KEY}), (str(KEY),)),
        (claimed(job(), SigningKey(Ed25519PrivateKey.generate())), ("does not believe the job: ",)),
        (claimed(job(), payload=b"{}"), ("malformed fields",)),
    ):
        with pytest.raises(Refused) as caught:
            AUTHENTICATOR.open(claim)
        assert all(part in str(caught.value) for part in parts)


def test_a_frozen_node_fails_the_job_for_now(tmp_path: Path) -> None:
    freeze = Freeze(tmp_path)
    require_thawed(freeze)
    freeze.freeze("audit")
    with pytest.raises(Failed, match="audit") as caught:
        require_thawed(freeze)
    assert (caught.value.code, caught.value.transient) == ("frozen", True)


def test_a_job_that_another_key_signed_is_refused() -> None:
    assert refusal(claimed(job(), SigningKey(Ed25519PrivateKey.generate()))) == "bad_job_signature"


def test_a_payload_changed_after_signing_is_refused() -> None:
    one = claimed(job())
    changed = one.job.model_copy(update={"payload": one.job.payload.replace(b'"hsm"', b'"mpc"')})
    assert refusal(one.model_copy(update={"job": changed})) == "bad_job_signature"


def test_signed_bytes_of_another_type_are_refused() -> None:
    one = job()
    signed = CONTROL_PLANE.sign("application/vnd.custody.other", one.model_dump_json().encode())
    assert refusal(claimed(one).model_copy(update={"job": signed})) == "bad_job_signature"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"group": "other"}, "wrong_group"),
        ({"kind": "Export"}, "unknown_kind"),
        ({"kind": JobKind.GENERATE_KEY.value}, "unknown_kind"),
    ],
)
def test_a_job_that_is_not_this_nodes_to_do_is_refused(changes: dict, code: str) -> None:
    assert refusal(claimed(job(**changes))) == code


def test_a_job_claimed_under_another_id_is_refused() -> None:
    one = claimed(job())
    assert refusal(one.model_copy(update={"job_id": uuid4()})) == "wrong_job"


def test_a_job_about_a_child_that_children_cannot_have_is_refused() -> None:
    authenticator = Authenticator(
        PinnedKeys([CONTROL_PLANE.public_key]), "hsm", frozenset({JobKind.REFRESH_KEY.value})
    )
    root = job(kind=JobKind.REFRESH_KEY.value)
    of_root = {"root": root.key.id, "path": (1,), "id": child_key_id(root.key.id, (1,), None)}
    child = root.model_copy(update={"key": root.key.model_copy(update=of_root)})
    assert authenticator.open(claimed(root)).job == root
    with pytest.raises(Refused, match="not a child") as caught:
        authenticator.open(claimed(child))
    assert caught.value.code == "malformed_job"


@pytest.mark.parametrize(
    ("field", "payload_type"),
    [("ticket", TICKET_TYPE), ("delivery_ticket", DELIVERY_TICKET_TYPE)],
)
def test_a_ticket_is_refused_that_no_pinned_key_signed_or_that_is_malformed(
    field: str, payload_type: str
) -> None:
    one = claimed(job())
    stranger = SigningKey(Ed25519PrivateKey.generate())
    for signer, code in ((stranger, "bad_ticket_signature"), (CONTROL_PLANE, "malformed_ticket")):
        ticket = signer.sign(payload_type, b"{}")
        assert refusal(one.model_copy(update={field: ticket})) == code


def test_signed_nonsense_is_refused() -> None:
    assert refusal(claimed(job(), payload=b'{"version": 2}')) == "malformed_job"


LONGEST_LIFE = timedelta(days=90)


def agreeing() -> Clock:
    clock = Clock(timedelta(seconds=30))
    clock.compare(NOW, NOW, NOW)
    return clock


def test_a_job_within_its_life_is_done() -> None:
    decide(job(), NOW, agreeing(), LONGEST_LIFE)


def test_an_expired_job_is_denied() -> None:
    with pytest.raises(Denied, match=re.escape(NOW.isoformat())) as caught:
        decide(job(expires_at=NOW), NOW, agreeing(), LONGEST_LIFE)
    assert caught.value.code == "expired"


def test_a_job_that_the_journal_just_outlives_is_done() -> None:
    decide(job(expires_at=NOW + LONGEST_LIFE), NOW, agreeing(), LONGEST_LIFE)


def test_a_job_that_outlives_the_journal_is_denied() -> None:
    expiry = NOW + timedelta(days=91)
    with pytest.raises(Denied, match=re.escape(expiry.isoformat())) as caught:
        decide(job(expires_at=expiry), NOW, agreeing(), LONGEST_LIFE)
    assert caught.value.code == "lives_too_long"


def failure(clock: Clock, now: datetime = NOW) -> Failed:
    with pytest.raises(Failed) as caught:
        decide(job(), now, clock, LONGEST_LIFE)
    assert caught.value.reason
    return caught.value


def test_nothing_is_done_while_the_clocks_are_apart() -> None:
    clock = agreeing()
    clock.compare(NOW + timedelta(seconds=31), NOW, NOW)
    assert failure(clock).transient
    clock.compare(NOW + timedelta(seconds=29), NOW, NOW)
    decide(job(), NOW, clock, LONGEST_LIFE)


def test_nothing_is_done_before_the_clocks_were_compared() -> None:
    assert failure(Clock(timedelta(seconds=30))).transient


def test_nothing_is_done_when_the_clocks_were_compared_long_ago() -> None:
    assert failure(agreeing(), NOW + timedelta(minutes=3)).code == "clocks_disagree"


def test_a_reading_between_sending_and_receiving_is_agreeing() -> None:
    clock = Clock(timedelta(seconds=1))
    clock.compare(NOW + timedelta(seconds=50), NOW, NOW + timedelta(seconds=100))
    assert clock.offset == timedelta()
