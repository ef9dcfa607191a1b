"""The reasons why a request is not done, for its application and for an operator. Pure.

The texts of nodes name operators, other signers, their faults and commands. Only tokens of scope
admin see these texts. Every application sees the code, and texts about its own request.
"""

from custody.wire.outcomes import APPROVAL_PENDING, Outcome, OutcomeStatus
from custody.wire.resources import Reason

ABOUT_THE_REQUEST = frozenset(
    {
        APPROVAL_PENDING,
        "archived_by_operator",
        "bad_request_signature",
        "bare_hash_refused",
        "external_id_reused",
        "gate_rejected",
        "key_archived",
        "lives_too_long",
        "malformed_request",
        "not_signable",
        "request_mismatch",
        "share_not_lost",
        "superseded",
        "unbound_request",
        "unknown_application",
        "unsigned_request",
    }
)
"""Codes of nodes whose text is only about the request itself."""

WHO_SEES_MORE = "A token of scope admin shows the details."
PENDING = f"The nodes cannot do the request yet, and retry until it expires. {WHO_SEES_MORE}"
DENIED = f"The nodes decided against the request. {WHO_SEES_MORE}"
FAILED = f"The nodes could not do the request. {WHO_SEES_MORE}"


class RecordedOutcome(Outcome):
    """An Outcome as this control plane keeps it.

    ``summary``: the part of ``reason`` that every application may read; set only by the control
    plane.
    """

    summary: str | None = None


def reason_of(recorded: bytes, is_final: bool, sees_details: bool) -> Reason:
    """Return the reason in a recorded outcome, for an application or, with details, an operator."""
    outcome = RecordedOutcome.model_validate_json(recorded)
    code = outcome.code or outcome.status.value.lower()
    if not sees_details:
        return Reason(code=code, detail=_for_applications(outcome, is_final), node=None)
    detail = outcome.reason or "The node gave no reason."
    if outcome.culprits:
        detail += f" (to blame: {', '.join(outcome.culprits)})"
    return Reason(code=code, detail=detail, node=outcome.node)


def summary_of(outcomes: list[Outcome]) -> str | None:
    """Return the distinct reasons of several nodes; None unless all are about the request."""
    if not all(outcome.code in ABOUT_THE_REQUEST for outcome in outcomes):
        return None
    said = dict.fromkeys(outcome.reason or outcome.code or "" for outcome in outcomes)
    return "; ".join(said) or None


def _for_applications(outcome: RecordedOutcome, is_final: bool) -> str:
    if outcome.summary is not None:
        return outcome.summary
    if outcome.node is not None and outcome.code in ABOUT_THE_REQUEST and outcome.reason:
        return outcome.reason
    if not is_final:
        return PENDING
    return DENIED if outcome.status is OutcomeStatus.DENIED else FAILED
