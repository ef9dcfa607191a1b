"""The reasons for an answer without messages."""

from custody.wire.answers import known
from custody.wire.delivery import DeliveryCode, DeliveryProblem

STATUS = {
    DeliveryCode.MALFORMED: 400,
    DeliveryCode.TOO_LARGE: 413,
    DeliveryCode.REQUEST_TIMEOUT: 408,
    DeliveryCode.CERTIFICATE_REJECTED: 403,
    DeliveryCode.BAD_TICKET: 403,
    DeliveryCode.NOT_A_PARTICIPANT: 403,
    DeliveryCode.CONFLICT: 409,
    DeliveryCode.ABORTED: 410,
    DeliveryCode.EXPIRED: 410,
    DeliveryCode.UNKNOWN_CEREMONY: 410,
    DeliveryCode.BUSY: 503,
}


class NotDelivered(Exception):
    """A problem that the server answers to a signer's request."""

    def __init__(self, problem: DeliveryProblem) -> None:
        super().__init__(f"{problem.code.value}: {problem.detail}")
        self.problem = problem

    @property
    def status(self) -> int:
        return STATUS[known(self.problem.code)]


def not_delivered(code: DeliveryCode, detail: str) -> NotDelivered:
    """Return the error for a code that has only a detail."""
    return NotDelivered(DeliveryProblem(code=code, detail=detail))
