"""Requests that an application has signed itself: kept for the node, which alone can verify them.

What a body says of its own meaning must agree with where it was sent: a node would deny the rest.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Header

from custody.control_plane.problems import Code, ProblemError
from custody.wire.algorithms import Store
from custody.wire.answers import Unknown
from custody.wire.requests import KeyRequest
from custody.wire.signed_bytes import DetachedSignature
from custody.wire.signed_requests import SIGNATURE_HEADER, parse_header

SignatureHeader = Annotated[
    str | None,
    Header(
        alias=SIGNATURE_HEADER,
        max_length=200,
        description="The application's signature of the body: `<signing key id>:<base64>`, Ed25519 "
        "over the DSSE pre-authentication encoding. Needed where the keys' owner requires it; then "
        "the body needs `external_id` and `expires_at`, and about a key `key_id` and `store`.",
    ),
]


def detached_signature(header: str | None) -> DetachedSignature | None:
    """Parse the header. Raise ProblemError invalid_request for one that is not a signature."""
    if header is None:
        return None
    try:
        return parse_header(header)
    except ValueError as error:
        raise ProblemError(Code.INVALID_REQUEST, f"{SIGNATURE_HEADER}: {error}") from None


def check_key(body: KeyRequest, key_id: UUID, store: Store | Unknown) -> None:
    """Raise ProblemError request_mismatch if the body names another key than the path."""
    if body.key_id not in (None, key_id):
        raise ProblemError(
            Code.REQUEST_MISMATCH, f"The body is about key {body.key_id}, the path about {key_id}."
        )
    if body.store not in (None, store):
        raise ProblemError(
            Code.REQUEST_MISMATCH, f"Key {key_id} is in store {store.value}, not {body.store}."
        )
