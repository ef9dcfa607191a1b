"""Errors, in groups by what a caller can do about them."""

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

from custody.wire.answers import Unknown
from custody.wire.resources import Import, Key, KeyChange, Problem, Signature, Wallet
from custody.wire.retry_after import COME_BACK

Resource: TypeAlias = Wallet | Key | Signature | KeyChange | Import
"""What a request is about."""


class CustodyError(Exception):
    """Base of every error of this library. None carries the token."""


class Unreachable(CustodyError):
    """No answer after several attempts: the service or the network is away. Safe to try again."""


class Untrusted(CustodyError):
    """The service's certificate is not signed by the CA given, or is for another host."""


class NotAttested(CustodyError):
    """The nodes that you have pinned do not attest this key: pay nothing to its address.

    Either the service, or its database, shows another key than the nodes hold; or nodes have
    changed, and you must pin the new ones first.
    ``item_id``: in a list, the id under which the service lists the wallet or key; otherwise None.
    """

    item_id: UUID | None = None


OnNotAttested: TypeAlias = Callable[[NotAttested], None]
"""What a list calls with each wallet or key that it leaves out."""


class AuditNotVerified(CustodyError):
    """The listed audit records are not those that the owner of the chain has signed."""


class UnexpectedAnswer(CustodyError):
    """Not the service that this library was made for: check the URL and both versions."""


class Refused(CustodyError):
    """The service answered with a problem (RFC 9457); ``problem.code`` is stable."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.problem = problem
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        return self.problem.code


class Unauthenticated(Refused):
    """The token is unknown, revoked or expired: get another."""


class MissingScope(Refused):
    """The token may not do this: get one with the scope that the text names."""


class NotFound(Refused):
    """There is no such thing, or it is another application's."""


class InvalidRequest(Refused):
    """The request breaks a rule of the API: the same one will never do."""


class Unsupported(Refused):
    """No node of the store's group can do this algorithm: ask the operator."""


class KeyNotActive(Refused):
    """The key cannot sign, or not yet: wait for it with ``get_key``."""


class KeyArchived(Refused):
    """The key, or a key that it is derived from, is archived: un-archive it with unarchive_key."""


class ChangeUnderWay(Refused):
    """Another change of the key is under way already: wait for what the text names."""


class ImportNotUsable(Refused):
    """The import was used before, or its import keys have expired: import the key again."""


class ExternalIdConflict(Refused):
    """The external id was used before with another body: choose another."""


class ExternalIdSpent(ExternalIdConflict):
    """The external id's request was finished long ago, and its result is not kept any more.

    The request is never done a second time. ``str`` of this error says when it was finished.
    """


class Unavailable(Refused):
    """The service cannot work, or has too much to do, at the moment. Safe to try again."""


class GatewayAnswer(Unavailable):
    """Status 408, 429, 502, 503 or 504 in words that are not the service's. Safe to try again.

    Most often a load balancer or another gateway answers so, before the service or instead of it.
    ``problem`` is made up here: its code is ``gateway_answer``.
    """

    def __init__(self, came: str, retry_after: float | None = None) -> None:
        """``came``: what was asked, and what was answered."""
        problem = Problem(
            type="about:blank", title="Gateway", status=503, code="gateway_answer", detail=came
        )
        super().__init__(problem, retry_after)


class NotFinal(CustodyError):
    """Time was up before the request was final.

    The request continues. ``resource`` is its last known state, with the reason why it waits.

    Its status may also be one that this version of the library does not know (Unknown).
    """

    def __init__(self, resource: Resource) -> None:
        status = resource.status
        if isinstance(status, Unknown):
            how = f"{status.value}, a status that this version does not know; it may be final"
        else:
            how = f"still {status.value}; the request continues"
        if resource.reason is not None:
            how += f" ({_why(resource)})"
        super().__init__(f"{_name(resource)} is {how}")
        self.resource = resource


class Ended(CustodyError):
    """The request ended without a result: ``resource`` is its final state, with the reason."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(f"{_name(resource)} is {resource.status.value}: {_why(resource)}")
        self.resource = resource


class Rejected(Ended):
    """Decided against; the same request would be again."""


class Failed(Ended):
    """The request failed; a new request may succeed."""


def _why(resource: Resource) -> str:
    reason = resource.reason
    return f"{reason.code}: {reason.detail}" if reason else "no reason was given"


def _name(resource: Resource) -> str:
    kind = resource.kind if isinstance(resource, KeyChange) else type(resource).__name__
    return f"{str(kind).lower()} {resource.id}"


_BY_CODE: dict[str, type[Refused]] = {
    "unauthenticated": Unauthenticated,
    "missing_scope": MissingScope,
    "not_found": NotFound,
    "invalid_request": InvalidRequest,
    "malformed_json": InvalidRequest,
    "not_signable": InvalidRequest,
    "not_derivable": InvalidRequest,
    "not_refreshable": InvalidRequest,
    "not_copyable": InvalidRequest,
    "unknown_signer": InvalidRequest,
    "unknown_signer_group": InvalidRequest,
    "group_exists": InvalidRequest,
    "too_large": InvalidRequest,
    "request_mismatch": InvalidRequest,
    "request_expired": InvalidRequest,
    "unsupported_algorithm": Unsupported,
    "no_capable_node": Unsupported,
    "no_delivery_server": Unsupported,
    "key_not_active": KeyNotActive,
    "key_archived": KeyArchived,
    "change_under_way": ChangeUnderWay,
    "import_not_usable": ImportNotUsable,
    "external_id_conflict": ExternalIdConflict,
    "external_id_spent": ExternalIdSpent,
    "unavailable": Unavailable,
}


def refusal(problem: Problem, status: int, retry_after: float | None) -> Refused:
    """Return the error of an answer with this status: Unavailable if it may be sent again."""
    kind = Unavailable if status in COME_BACK else _BY_CODE.get(problem.code, Refused)
    return kind(problem, retry_after)
