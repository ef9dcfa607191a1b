"""Authentication of a claimed job: its signature first, then its contents. Pure."""

from typing import TypeVar

from pydantic import ValidationError

from custody.node.errors import Refused
from custody.node.handlers import Work
from custody.wire.delivery import DeliveryTicket
from custody.wire.encoding import Model
from custody.wire.jobs import CHILD_KINDS, Job, job_digest
from custody.wire.node_api import ClaimedJob
from custody.wire.signed_bytes import (
    DELIVERY_TICKET_TYPE,
    JOB_TYPE,
    TICKET_TYPE,
    BadSignedBytes,
    PinnedKeys,
    SignedBytes,
)
from custody.wire.tickets import Ticket

SomeTicket = TypeVar("SomeTicket", bound=Model)


class Authenticator:
    """Opens claimed jobs: checks the signature first, then the fields."""

    def __init__(self, keys: PinnedKeys, group: str, kinds: frozenset[str]) -> None:
        self._keys = keys
        self._group = group
        self._kinds = kinds

    def open(self, claimed: ClaimedJob) -> Work:
        """Return the job and its tickets. Raise Refused."""
        job = self._open_job(claimed)
        return Work(
            job,
            job_digest(claimed.job.payload),
            self._open_ticket(TICKET_TYPE, Ticket, claimed.ticket),
            claimed.ticket,
            self._open_ticket(DELIVERY_TICKET_TYPE, DeliveryTicket, claimed.delivery_ticket),
            claimed.delivery_ticket,
        )

    def _open_job(self, claimed: ClaimedJob) -> Job:
        try:
            payload = self._keys.open(JOB_TYPE, claimed.job)
        except BadSignedBytes as error:
            raise Refused(
                "bad_job_signature", f"this node does not believe the job: {error}"
            ) from None
        try:
            job = Job.model_validate_json(payload)
        except ValidationError as error:
            raise Refused(
                "malformed_job", f"the signed job has {error.error_count()} malformed fields"
            ) from None
        if job.id != claimed.job_id:
            raise Refused(
                "wrong_job",
                f"the job was claimed as {claimed.job_id}, but it is signed as {job.id}",
            )
        if job.group != self._group:
            raise Refused(
                "wrong_group",
                f"the job is for group {job.group!r}, but this node's group is {self._group!r}",
            )
        if job.kind not in self._kinds:
            raise Refused("unknown_kind", f"this node does no jobs of kind {job.kind!r}")
        if job.key.path and job.kind not in CHILD_KINDS:
            raise Refused("malformed_job", f"a {job.kind} job is about a root key, not a child")
        return job

    def _open_ticket(
        self, payload_type: str, model: type[SomeTicket], signed: SignedBytes | None
    ) -> SomeTicket | None:
        if signed is None:
            return None
        try:
            return model.model_validate_json(self._keys.open(payload_type, signed))
        except BadSignedBytes as error:
            raise Refused(
                "bad_ticket_signature", f"this node does not believe the ticket: {error}"
            ) from None
        except ValidationError as error:
            raise Refused(
                "malformed_ticket", f"the signed ticket has {error.error_count()} malformed fields"
            ) from None
