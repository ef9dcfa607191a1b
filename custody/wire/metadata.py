"""Names and tags, which an application gives its wallets and keys.

They are metadata of the control plane. Nodes do not store, check or attest them.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from custody.wire.encoding import Model

MAX_NAME = 100
"""Characters of a name."""
MAX_TAG = 50
"""Characters of a tag."""
MAX_TAGS = 20
"""Tags of one wallet or key, and in one filter."""

_NOT_SHOWN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Control characters, separators of lines, and marks that change the direction of text."""

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        pattern=rf"^[^\s{_NOT_SHOWN}]([^{_NOT_SHOWN}]*[^\s{_NOT_SHOWN}])?$",
    ),
]
"""A name: 1 to 100 characters without spaces at its ends, control characters, and marks that change
the direction of text."""

Tag = Annotated[
    str, Field(min_length=1, max_length=MAX_TAG, pattern=r"^[A-Za-z0-9._:/@+=-]{1,50}$")
]
"""A tag: 1 to 50 of a-z, A-Z, 0-9, '.', '_', ':', '/', '@', '+', '=' and '-'."""


def _in_order(tags: list[str]) -> list[str]:
    if len(set(tags)) != len(tags):
        raise ValueError("each tag once")
    return sorted(tags)


Tags = Annotated[
    list[Tag],
    Field(max_length=MAX_TAGS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_in_order),
]
"""Up to 20 tags, each once. Their order has no meaning."""

METADATA = frozenset({"name", "tags"})
"""The fields of a request that are metadata only."""


class Metadata(Model):
    """Fields of a body that names a wallet or key."""

    name: Name | None = None
    """Your own name for it, for people. Nodes do not know it. Need not be unique."""
    tags: Tags | None = None
    """Your own tags, to find it by. Nodes do not know them."""


class UpdateMetadata(Metadata):
    """Body of PATCH: a JSON merge patch (RFC 7396).

    A field that is left out stays unchanged. ``null`` removes the name, or all tags. A list of tags
    replaces the list there was.
    """
