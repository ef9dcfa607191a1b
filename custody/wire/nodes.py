"""A node's identity in its certificate: the SAN URI ``urn:custody:node:<id>``."""

import re
from typing import Annotated

from cryptography import x509
from pydantic import Field

from custody.wire.x509_loading import readable

URN_PREFIX = "urn:custody:node:"
NODE_ID = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
NodeId = Annotated[str, Field(max_length=63, pattern=f"^{NODE_ID.pattern}$")]
"""A node's id in a message, with nothing else in it: people paste it into commands."""


def node_urn(node_id: str) -> str:
    """Return the URN of a node id. Raise ValueError unless the id is 1-63 of a-z 0-9 . _ -."""
    if not NODE_ID.fullmatch(node_id):
        raise ValueError(f"{node_id!r} is not a node id: 1 to 63 of a-z, 0-9, '.', '_' and '-'")
    return URN_PREFIX + node_id


def node_id_of(uris: list[str]) -> str:
    """Return the only node id of a certificate's SAN URIs. Raise ValueError for none or several."""
    ids = [uri.removeprefix(URN_PREFIX) for uri in uris if uri.startswith(URN_PREFIX)]
    if len(ids) != 1 or not NODE_ID.fullmatch(ids[0]):
        raise ValueError(f"the certificate names {len(ids)} nodes in SAN URIs {URN_PREFIX}<id>")
    return ids[0]


def node_of(certificate: x509.Certificate) -> str:
    """Return the node that a certificate names. Raise ValueError for none or several."""
    try:
        extensions = readable(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return node_id_of([])
    return node_id_of(names.get_values_for_type(x509.UniformResourceIdentifier))
