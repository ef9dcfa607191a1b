"""Calls of the API, described without doing them: the same description serves both clients.

An operation is a generator: it yields the calls it needs, is sent their answers, and returns its
result. How a call travels, in a thread or in an event loop, is the connection's business alone.
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar
from uuid import UUID, uuid4

from pydantic import BaseModel

from custody.client.errors import OnNotAttested
from custody.wire.answers import AnyAnswer, read_answer
from custody.wire.jobs import Endpoint
from custody.wire.requests import Request
from custody.wire.resources import Page

Answer = TypeVar("Answer")
Item = TypeVar("Item")

Calls: TypeAlias = Generator["Call[Any]", Any, Answer]
"""An operation under way: yields calls, is sent their answers, returns an Answer."""


@dataclass(frozen=True)
class Call(Generic[Answer]):
    """One request and how to read its answer.

    Every call may be sent again: a GET changes nothing, a POST carries an external id, and a PATCH
    says how a field must be.
    """

    method: str
    path: str
    read: Callable[[bytes], Answer] = field(repr=False)
    query: Mapping[str, str | list[str]] = field(default_factory=dict)
    body: bytes | None = None
    wish: "Wish | None" = None
    pause: float = 0
    """Seconds to let pass before it is sent."""
    signature: str | None = None
    """Value of the header Custody-Signature."""
    needs_pinned_nodes: bool = False
    """Not sent by a client that believes the service: its answer is about where a secret goes."""
    may_be_missing: bool = False
    """The answer is None, and not NotFound, if the service does not have it."""
    on_not_attested: OnNotAttested | None = None
    """Called with each item of a list that the pinned nodes do not attest; None: the list ends."""

    def __iter__(self) -> Calls[Answer]:
        """Inside an operation: ``answer = yield from call``."""
        answer: Answer = yield self
        return answer

    def waiting(self, seconds: float) -> "Call[Answer]":
        """Return the same call, held open by the service until its subject is final."""
        return replace(self, query={**self.query, "wait": f"{seconds:.3f}"}) if seconds else self

    @property
    def wait(self) -> float:
        """Seconds that the service may hold this call open."""
        return float(str(self.query.get("wait", 0)))


@dataclass(frozen=True)
class Wish:
    """The content of a POST, in a form that can be completed and signed. ``key_id``: the path's."""

    endpoint: Endpoint
    request: Request
    key_id: UUID | None = None


def once(call: Call[Answer]) -> Calls[Answer]:
    """Return an operation of one call, with an immediate answer."""
    return (yield from call)


def with_each(
    calls: Calls[Answer], change: Callable[[Call[Any]], Calls[Call[Any]]]
) -> Calls[Answer]:
    """Return the same operation, each of whose calls is sent as ``change`` returns the call.

    ``change`` may make calls of its own, which are sent unchanged.
    """
    answer: Any = None
    while True:
        try:
            call: Call[Any] = calls.send(answer)
        except StopIteration as end:
            result: Answer = end.value
            return result
        answer = yield (yield from change(call))


def external_id_or_new(given: str | None) -> str:
    """Return the external id that the application gave, or a random one."""
    return given if given is not None else f"client-{uuid4()}"


def content(body: BaseModel) -> bytes:
    """Return a body as it travels."""
    return body.model_dump_json(exclude_none=True).encode()


def get(path: str, model: type[AnyAnswer], **filters: str | list[str] | None) -> Call[AnyAnswer]:
    """Return a GET; ``filters`` are query parameters, left out if they are None.

    A parameter with a list is repeated for each of its values.
    """
    query = {name: value for name, value in filters.items() if value is not None}
    return Call("GET", path, partial(read_answer, model), query)


def get_if_there(path: str, model: type[AnyAnswer]) -> Call[AnyAnswer | None]:
    """Return a GET that is answered with None if the service does not have it."""
    return Call("GET", path, partial(read_answer, model), may_be_missing=True)


def post(path: str, body: BaseModel, model: type[AnyAnswer]) -> Call[AnyAnswer]:
    return Call("POST", path, partial(read_answer, model), body=content(body))


def patch(path: str, change: BaseModel, model: type[AnyAnswer]) -> Call[AnyAnswer]:
    """Return a PATCH with the fields that ``change`` sets; None removes a value (RFC 7396)."""
    body = change.model_dump_json(exclude_unset=True).encode()
    return Call("PATCH", path, partial(read_answer, model), body=body)


def wish(path: str, wanted: Wish, model: type[AnyAnswer]) -> Call[AnyAnswer]:
    """Return a POST that makes nodes work, so that their owner may require a signature."""
    return replace(post(path, wanted.request, model), wish=wanted)


def next_page(call: Call[Page[Item]], page: Page[Item]) -> Call[Page[Item]] | None:
    """Return the call for the next page; None after the last."""
    if page.next_cursor is None:
        return None
    return replace(call, query={**call.query, "cursor": page.next_cursor})
