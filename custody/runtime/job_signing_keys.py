"""The control plane's job-signing keys that nodes and delivery servers pin."""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from custody.runtime.errors import ConfigurationError
from custody.wire.signed_bytes import MAX_PINNED_KEYS, PinnedKeys

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
