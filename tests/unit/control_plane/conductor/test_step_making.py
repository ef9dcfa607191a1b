"""What a step is made of."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.control_plane.conductor.planning.decisions import Begin
from custody.control_plane.conductor.settings import CeremoniesSection
from custody.control_plane.conductor.step_making import Asked, StepMaker
from custody.wire.algorithms import Curve, Scheme
from custody.wire.delivery import DeliveryTicket
from custody.wire.jobs import Endpoint, Job, JobKind, KeyHolders, KeyReference
from custody.wire.signed_bytes import DELIVERY_TICKET_TYPE, TICKET_TYPE, PinnedKeys, SigningKey
from custody.wire.tickets import Ticket
from mpc.ceremonies.tickets import unlike_field
from tests.unit.control_plane.conductor.stories import GROUP, THREE

SERVERS = ["delivery-1", "delivery-2"]
GENERATE = Begin(JobKind.GENERATE_KEY, THREE, None, 0)


def asked(request_id: UUID, steps: int, ceremonies: int) -> Asked:
    now = datetime.now(UTC)
    key = KeyReference(
        id=request_id, scheme=Scheme.EDDSA, curve=Curve.ED25519, network=None, public_key=None
    )
    job = Job(
        id=request_id,
        kind=JobKind.GENERATE_KEY,
        group="mpc",
        key=key,
        endpoint=Endpoint.KEYS,
        request=b"{}",
        created_at=now,
        expires_at=now + timedelta(minutes=15),
    )
    return Asked(
        job.model_dump_json().encode(), job, GROUP, steps, ceremonies,
        may_outlive=False, now=now, servers=tuple(SERVERS),
    )  # fmt: skip


@pytest.mark.parametrize("orders_between", [0, 1, 2, 3])
def test_the_next_attempt_meets_at_another_delivery_server(orders_between: int):
    """Whatever was ordered after the ceremony that failed, as to abandon what came of it."""
    maker = StepMaker(SigningKey(Ed25519PrivateKey.generate()), CeremoniesSection(), SERVERS, 900)
    request_id = uuid4()
    servers = []
    for ceremonies in range(4):
        step = maker.make(
            asked(request_id, ceremonies * (1 + orders_between), ceremonies), GENERATE
        )
        assert step.ticket is not None
        servers.append(Ticket.model_validate_json(step.ticket.payload).delivery)
    assert set(servers[:2]) == set(SERVERS)
    assert servers[:2] == servers[2:]


def test_a_ceremonys_two_tickets_are_of_one_meeting_that_no_other_id_tells():
    signer = SigningKey(Ed25519PrivateKey.generate())
    maker = StepMaker(signer, CeremoniesSection(), SERVERS, 900)
    keys = PinnedKeys([signer.public_key])
    meetings, secrets = set(), set()
    for attempt in range(3):
        step = maker.make(asked(uuid4(), attempt, attempt), GENERATE)
        assert step.ticket is not None
        assert step.delivery_ticket is not None
        ticket = Ticket.model_validate_json(keys.open(TICKET_TYPE, step.ticket))
        payload = keys.open(DELIVERY_TICKET_TYPE, step.delivery_ticket)
        shown = DeliveryTicket.model_validate_json(payload)
        assert shown == DeliveryTicket.of(ticket)
        assert unlike_field(ticket, shown) is None
        assert ticket.meeting not in (step.id, step.job_id, step.request_id, ticket.key_id)
        meetings.add(ticket.meeting)
        secrets.add(ticket.secret)
    assert len(meetings) == len(secrets) == 3


def test_an_order_has_neither_ticket():
    maker = StepMaker(SigningKey(Ed25519PrivateKey.generate()), CeremoniesSection(), SERVERS, 900)
    step = maker.make(asked(uuid4(), 0, 0), Begin(JobKind.ABANDON, THREE, uuid4(), 0))
    assert (step.ticket, step.delivery_ticket) == (None, None)


def test_only_a_step_for_import_keys_names_the_group_that_will_hold_the_key():
    """Signers learn the group from a ticket otherwise, and earlier versions refuse the field."""
    maker = StepMaker(SigningKey(Ed25519PrivateKey.generate()), CeremoniesSection(), SERVERS, 900)
    for begin in (Begin(JobKind.PREPARE_IMPORT, THREE, None, 0), GENERATE):
        step = maker.make(asked(uuid4(), 0, 0), begin)
        assert step.job is not None
        job = Job.model_validate_json(step.job.payload)
        is_import = begin is not GENERATE
        assert (step.ticket is None) is is_import
        assert (b'"holders"' in step.job.payload) is is_import
        if is_import:
            assert job.holders == KeyHolders(
                group=GROUP.name, threshold=GROUP.threshold, signers=GROUP.signers
            )
