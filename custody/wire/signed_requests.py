"""Requests that an application signs: its own key signs the exact bytes of a body.

The header ``Custody-Signature: <signing key id>:<base64>`` carries the signature (Ed25519 over the
DSSE pre-authentication encoding, signed_bytes.py) to the node that has the public key pinned.
"""

import base64
import binascii

from custody.wire.jobs import Endpoint
from custody.wire.signed_bytes import DetachedSignature, SigningKey

SIGNATURE_HEADER = "Custody-Signature"


def payload_type(endpoint: Endpoint) -> str:
    """Return an endpoint's payload type: a body signed for one endpoint is invalid at others."""
    return f"application/vnd.custody.request.{endpoint.value}.v1+json"


def sign_request(signer: SigningKey, endpoint: Endpoint, body: bytes) -> str:
    """Return the header's value for a body."""
    signed = signer.sign(payload_type(endpoint), body)
    return f"{signed.signing_key_id}:{base64.b64encode(signed.signature).decode()}"


def parse_header(value: str) -> DetachedSignature:
    """Parse the signature in a header's value. Raise ValueError."""
    key_id, colon, text = value.partition(":")
    try:
        signature = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    is_id = len(key_id) == 16 and set(key_id) <= set("0123456789abcdef")
    if not (colon and is_id and len(signature) == 64):
        raise ValueError("must be <signing key id, 16 hex digits>:<base64 of 64 bytes>")
    return DetachedSignature(signature=signature, signing_key_id=key_id)
