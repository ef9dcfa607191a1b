"""The client of the owner's validation gate: HTTPS under a pinned CA, persistent connections."""

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from custody.node.gate_messages import SIGNATURE_HEADER, BadAnswer, sign_question
from custody.node.settings import GateSection
from custody.runtime.configuration import read_secret
from custody.runtime.errors import ConfigurationError
from custody.runtime.live_tls import LiveTls
from custody.wire.retry_after import COME_BACK

MAX_ANSWER = 16 * 1024
"""Largest answer, in bytes."""
MIN_HMAC_KEY = 16
"""Shortest HMAC key, in bytes."""
KEEPALIVE_SECONDS = 30.0


class GateUnavailable(Exception):
    """The gate did not answer in time, or an HTTP server answered that the gate is unavailable."""


class GateClient:
    """Asks the gate. It follows no redirect, and uses no proxy of the environment.

    Use it as a context. The constructor raises ConfigurationError.
    """

    def __init__(self, settings: GateSection) -> None:
        self._url = settings.url
        self._timeout = settings.timeout_seconds
        self._limit = settings.at_once
        self.tls = LiveTls(settings.tls)
        self._key = read_hmac_key(settings.hmac_key_file)

    async def __aenter__(self) -> "GateClient":
        connector = aiohttp.TCPConnector(limit=self._limit, keepalive_timeout=KEEPALIVE_SECONDS)
        self._http = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def ask(self, body: bytes) -> bytes:
        """Return the answer's complete body. Raise GateUnavailable or BadAnswer."""
        try:
            async with asyncio.timeout(self._timeout):
                try:
                    return await self._post(body)
                except aiohttp.ClientConnectorError:
                    raise
                except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                    return await self._post(
                        body
                    )  # the gate has closed the persistent connection meanwhile
        except TimeoutError:
            raise GateUnavailable(f"no answer within {self._timeout:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise GateUnavailable(f"{self._host}: {error or type(error).__name__}") from None

    @property
    def _host(self) -> str:
        return urlsplit(self._url).netloc

    async def _post(self, body: bytes) -> bytes:
        headers = {
            "content-type": "application/json",
            SIGNATURE_HEADER: sign_question(self._key, body, datetime.now(UTC)),
        }
        async with self._http.post(
            self._url, data=body, headers=headers, ssl=self.tls.context, allow_redirects=False
        ) as response:
            is_server_error = response.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            if is_server_error or response.status in COME_BACK:
                raise GateUnavailable(f"{self._host} answered {response.status}")
            if response.status != HTTPStatus.OK:
                raise BadAnswer(f"it has the status {response.status}")
            return await _read(response)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER:
            raise BadAnswer(f"it has more than {MAX_ANSWER} bytes")
    return content


def read_hmac_key(path: Path) -> bytes:
    """Return the key shared with the gate: the file's bytes without a final newline."""
    key = read_secret(path, "the gate's HMAC key")
    if len(key) < MIN_HMAC_KEY:
        raise ConfigurationError(
            f"{path}, the gate's HMAC key, has less than {MIN_HMAC_KEY} bytes",
            f"(umask 077; openssl rand -hex 32 > {path}), and give the gate the same.",
        )
    return key
