"""The transport of calls: two thin drivers, over httpx.Client and httpx.AsyncClient."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict, TypeVar, cast

import httpx
from pydantic import ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
    wait_random,
)

from custody.client.as_asked import require_filtered
from custody.client.calls import Call, Calls, next_page
from custody.client.copied_groups import with_pinned_groups
from custody.client.errors import (
    CustodyError,
    GatewayAnswer,
    NotAttested,
    NotFound,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    Untrusted,
    refusal,
)
from custody.client.left_out import leave_out, require_checks
from custody.client.pinned_nodes import AttestedKeys, checked_without_pins
from custody.client.request_signing import RequestSigning
from custody.wire.answers import read_answer
from custody.wire.resources import Page, Problem
from custody.wire.retry_after import COME_BACK, retry_after
from custody.wire.signed_requests import SIGNATURE_HEADER

Answer = TypeVar("Answer")
Item = TypeVar("Item")

TIMEOUT = 10.0
"""Seconds for an answer, beyond what the service may hold the call open."""
BODY_SECONDS = 60.0
"""Seconds for the body of an answer, once it has begun."""
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer; the longest page of messages has less than half."""
DEFAULT_PATIENCE = 30.0
"""Seconds of further attempts while the service is away."""


class Options(TypedDict):
    base_url: str
    headers: dict[str, str]
    verify: ssl.SSLContext
    trust_env: bool


def options(url: str, token: str, ca: Path | str | None) -> Options:
    """Settings of httpx for a service. Only the CA given is believed; without one, the system's.

    Raises ValueError for a URL that is not https, with which the token would travel in clear, and
    for a CA that cannot be read.
    """
    if httpx.URL(url).scheme != "https":
        raise ValueError(f"the service's URL must start with https://, but is {url}")
    try:
        context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    except OSError as error:
        raise ValueError(f"cannot read the CA {ca}: {error.strerror or error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return Options(base_url=url, headers=headers, verify=context, trust_env=False)


class Policy(TypedDict):
    retry: retry_if_exception_type
    stop: stop_after_delay
    wait: Any
    after: Callable[[RetryCallState], None]
    reraise: bool


def policy(patience: float) -> Policy:
    """The times at which a call is tried again, for at most ``patience`` seconds.

    They count from the end of the first attempt, which the service may have held open for longer.
    A Retry-After beyond that is cut: the last attempt is made as patience ends.
    """
    backoff = wait_exponential(multiplier=0.1, max=5) + wait_random(0, 0.1)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, Unavailable) else None
        left = patience - (state.seconds_since_start or 0)
        return max(0.0, min(left, max(backoff(state), asked or 0)))

    def after(state: RetryCallState) -> None:
        if state.attempt_number == 1 and state.outcome_timestamp is not None:
            state.start_time = state.outcome_timestamp

    return Policy(
        retry=retry_if_exception_type((Unreachable, Unavailable)),
        stop=stop_after_delay(patience),
        wait=wait,
        after=after,
        reraise=True,
    )


class Incoming:
    """An answer as it comes in. It may come slowly, but its time and its length are limited."""

    def __init__(self, call: Call[Any], response: httpx.Response) -> None:
        self._call = call
        self._response = response
        self._until = time.monotonic() + BODY_SECONDS
        self._chunks: list[bytes] = []
        self._size = 0

    def add(self, chunk: bytes) -> None:
        """Send a call. Raise Unreachable or UnexpectedAnswer."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > MAX_ANSWER:
            raise UnexpectedAnswer(f"{self._what} with more than {MAX_ANSWER} bytes")
        if time.monotonic() > self._until:
            raise Unreachable(f"{self._what}, and then too slowly: not all in {BODY_SECONDS:.0f} s")

    @property
    def _what(self) -> str:
        return f"{self._call.method} {self._call.path}: status {self._response.status_code}"

    def read(self, call: Call[Answer]) -> Answer:
        """Return the answer. Raise Refused, Unavailable or UnexpectedAnswer."""
        response, content = self._response, b"".join(self._chunks)
        came = f"{self._what} with {self._size} bytes of {_media_type(response)}"
        try:
            if response.is_success:
                return call.read(content)
            problem = read_answer(Problem, content)
        except ValidationError as error:
            if response.is_success and _is_broken_json(response, error):
                raise Unreachable(f"{came}, which break off") from None
            if response.status_code in COME_BACK:
                raise GatewayAnswer(came, retry_after(response.headers)) from None
            raise UnexpectedAnswer(_unexpected(came, response, error)) from None
        refused = refusal(problem, response.status_code, retry_after(response.headers))
        if call.may_be_missing and isinstance(refused, NotFound):
            return cast(Answer, None)
        raise refused


def _media_type(response: httpx.Response) -> str:
    text: str = response.headers.get("content-type", "")
    kind = text.partition(";")[0].strip()[:100]
    return kind if kind.isprintable() and kind else "no content type"


def _is_broken_json(response: httpx.Response, error: ValidationError) -> bool:
    """Return whether it began as an answer of ours: not every gateway states its length."""
    is_json = _media_type(response) == "application/json"
    return is_json and error.errors()[0]["type"] == "json_invalid"


def _unexpected(came: str, response: httpx.Response, error: ValidationError) -> str:
    if response.is_redirect:
        return f"{came}: a redirect, which is not followed. Give the service's own URL."
    return (
        f"{came}, which is not what version 1 of the API answers ({error.error_count()} faults). "
        "Check the URL, and what stands between this client and the service."
    )


def transport_error(error: httpx.RequestError, base_url: httpx.URL) -> CustodyError:
    """Our error for one of httpx's, with the service's address in it."""
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError) and "CERTIFICATE_VERIFY_FAILED" in text:
        return Untrusted(f"{base_url}: {text}. Give the CA that signed its certificate.")
    return Unreachable(f"{base_url}: {text}")


def _parts(call: Call[Any]) -> dict[str, Any]:
    return {
        "method": call.method,
        "url": call.path,
        "params": dict(call.query),
        "content": call.body,
        "headers": {} if call.signature is None else {SIGNATURE_HEADER: call.signature},
        "timeout": httpx.Timeout(TIMEOUT, read=TIMEOUT + call.wait),
        "follow_redirects": False,  # another host would be given the token
    }


def _prepared(calls: Calls[Answer], attested: AttestedKeys | None) -> Calls[Answer]:
    """Return the same operation, before its requests are signed."""
    if attested is None:
        return checked_without_pins(calls)
    return with_pinned_groups(calls, attested)


class Connection:
    """Runs operations, one call after the other."""

    def __init__(
        self,
        settings: Options,
        patience: float,
        signing: RequestSigning | None = None,
        attested: AttestedKeys | None = None,
    ) -> None:
        self._http = httpx.Client(**settings)
        self._signing = signing
        self._attested = attested
        self._retrying = Retrying(**policy(patience))

    def run(self, calls: Calls[Answer]) -> Answer:
        calls = _prepared(calls, self._attested)
        calls = calls if self._signing is None else self._signing.signed(calls)
        calls = calls if self._attested is None else self._attested.checked(calls)
        answer = None
        while True:
            try:
                call = calls.send(answer)
            except StopIteration as result:
                value: Answer = result.value
                return value
            answer = self.send(call)

    def items(self, call: Call[Page[Item]]) -> Iterator[Item]:
        require_checks(call, has_pins=self._attested is not None)
        following: Call[Page[Item]] | None = call
        while following is not None:
            page = self.send(following)
            for item in page.items:
                require_filtered(item, following)
                if not self._is_attested(item, following):
                    continue
                yield item
            following = next_page(following, page)

    def _is_attested(self, item: object, call: Call[Page[Item]]) -> bool:
        """Check a list's item. If the pinned nodes do not attest it, report that or raise."""
        if self._attested is None:
            return True
        try:
            self.run(self._attested.check(item))
        except NotAttested as error:
            leave_out(item, error, call)
            return False
        return True

    def send(self, call: Call[Answer]) -> Answer:
        if call.pause:
            time.sleep(call.pause)
        answer: Answer = self._retrying.copy()(self._exchange, call)
        return answer

    def _exchange(self, call: Call[Answer]) -> Answer:
        try:
            with self._http.stream(**_parts(call)) as response:
                incoming = Incoming(call, response)
                for chunk in response.iter_bytes():
                    incoming.add(chunk)
        except httpx.RequestError as error:
            raise transport_error(error, self._http.base_url) from None
        return incoming.read(call)

    def close(self) -> None:
        self._http.close()


class AsyncConnection:
    """Runs operations in the event loop of its caller, any number at a time."""

    def __init__(
        self,
        settings: Options,
        patience: float,
        signing: RequestSigning | None = None,
        attested: AttestedKeys | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**settings)
        self._signing = signing
        self._attested = attested
        self._retrying = AsyncRetrying(**policy(patience))

    async def run(self, calls: Calls[Answer]) -> Answer:
        calls = _prepared(calls, self._attested)
        calls = calls if self._signing is None else self._signing.signed(calls)
        calls = calls if self._attested is None else self._attested.checked(calls)
        answer = None
        while True:
            try:
                call = calls.send(answer)
            except StopIteration as result:
                value: Answer = result.value
                return value
            answer = await self.send(call)

    async def items(self, call: Call[Page[Item]]) -> AsyncIterator[Item]:
        require_checks(call, has_pins=self._attested is not None)
        following: Call[Page[Item]] | None = call
        while following is not None:
            page = await self.send(following)
            for item in page.items:
                require_filtered(item, following)
                if not await self._is_attested(item, following):
                    continue
                yield item
            following = next_page(following, page)

    async def _is_attested(self, item: object, call: Call[Page[Item]]) -> bool:
        """Check a list's item. If the pinned nodes do not attest it, report that or raise."""
        if self._attested is None:
            return True
        try:
            await self.run(self._attested.check(item))
        except NotAttested as error:
            leave_out(item, error, call)
            return False
        return True

    async def send(self, call: Call[Answer]) -> Answer:
        if call.pause:
            await asyncio.sleep(call.pause)
        answer: Answer = await self._retrying.copy()(self._exchange, call)
        return answer

    async def _exchange(self, call: Call[Answer]) -> Answer:
        try:
            async with self._http.stream(**_parts(call)) as response:
                incoming = Incoming(call, response)
                async for chunk in response.aiter_bytes():
                    incoming.add(chunk)
        except httpx.RequestError as error:
            raise transport_error(error, self._http.base_url) from None
        return incoming.read(call)

    async def close(self) -> None:
        await self._http.aclose()
