"""The control plane's job-signing keys that nodes and delivery servers pin."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Annotated

import structlog
from pydantic import Field

from custody.runtime.errors import ConfigurationError
from custody.wire.signed_bytes import MAX_PINNED_KEYS, PinnedKeys

log = structlog.get_logger(__name__)

JobSigningKeys = Annotated[list[str], Field(min_length=1, max_length=MAX_PINNED_KEYS)]
"""Base64 of 32-byte Ed25519 public keys (RFC 8032); two while one is being replaced."""


def pinned_job_keys(keys: Sequence[str], section: str) -> PinnedKeys:
    """Return a section's keys by id. Raise ConfigurationError for an invalid key."""
    try:
        return PinnedKeys([base64.b64decode(text, validate=True) for text in keys])
    except (binascii.Error, ValueError):
        raise ConfigurationError(
            f"[{section}] job_signing_keys has an entry that is not an Ed25519 public key",
            "Copy the key that `control-plane init` printed: base64 of 32 bytes.",
        ) from None


class LiveJobKeys(PinnedKeys):
    """The pinned keys of a running daemon. SIGHUP reads them from the configuration again.

    ``read``: reads the keys; raises ConfigurationError. The constructor raises it too.
    """

    def __init__(self, read: Callable[[], PinnedKeys]) -> None:
        super().__init__([])
        self._read = read
        self._refusal: str | None = None
        self._take(read())

    def reload(self) -> None:
        """Pin the keys of the configuration. If they cannot be used, the old ones stay pinned."""
        before = self.ids
        try:
            self._take(self._read())
        except ConfigurationError as error:
            self._refusal = error.what
            log.error(
                "job-signing keys not read again, the old ones stay pinned",
                error=error.what,
                todo=error.todo,
            )
            return
        self._refusal = None
        log.info("job-signing keys read again", pinned=list(self.ids), before=list(before))

    def problem(self) -> str | None:
        """Return why the keys of the configuration are not pinned; None while they are."""
        if self._refusal is None:
            return None
        return f"the configuration was not read again, the old keys stay pinned: {self._refusal}"

    def _take(self, keys: PinnedKeys) -> None:
        self._keys = keys._keys
