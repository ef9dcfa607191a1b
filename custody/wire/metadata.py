"""Names and tags, which an application gives its wallets and keys.

They are metadata of the control plane. Nodes do not store, check or attest them.
"""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationError, WrapValidator

from custody.wire.encoding import Model

MAX_NAME = 100
"""Characters of a name."""
MAX_TAG = 50
"""Characters of a tag."""
MAX_TAGS = 20
"""Tags of one wallet or key, and in one filter."""

_NOT_SHOWN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Control characters, separators of lines, and marks that change the direction of text."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
"""Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt) and the interlinear
annotations: zero-width spaces and joiners, marks of direction, fillers, variation selectors, tags.
They are not in the pattern of a name, because JavaScript, Python and Rust write characters above
U+FFFF differently there."""


def _visible(name: str) -> str:
    found = _INVISIBLE.search(name)
    if found is not None:
        raise ValueError(f"the character U+{ord(found.group()):04X} is not shown: leave it out")
    return name


def _explained(rule: str) -> WrapValidator:
    """Say the rule in words where a text does not match the pattern, which nobody can read."""

    def check(value: object, inner: Callable[[object], str]) -> str:
        try:
            return inner(value)
        except ValidationError as error:
            if any(each["type"] == "string_pattern_mismatch" for each in error.errors()):
                raise ValueError(rule) from None
            raise

    return WrapValidator(check)


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME,
        pattern=rf"^[^\s{_NOT_SHOWN}]([^{_NOT_SHOWN}]*[^\s{_NOT_SHOWN}])?$",
    ),
    AfterValidator(_visible),
    _explained(
        "a name has no spaces at its ends, no control characters, and no marks that change the "
        "direction of text"
    ),
]
"""A name: 1 to 100 characters without spaces at its ends, control characters, marks that change the
direction of text, and characters that are not shown."""

Tag = Annotated[
    str,
    Field(min_length=1, max_length=MAX_TAG, pattern=r"^[A-Za-z0-9._:/@+=-]{1,50}$"),
    _explained("a tag consists of a-z, A-Z, 0-9 and . _ : / @ + = -, without spaces"),
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
    """Your own name for it, for people. Nodes do not know it. Need not be unique. Characters that
    are not shown, such as zero-width spaces and joiners, are refused."""
    tags: Tags | None = None
    """Your own tags, to find it by. Nodes do not know them."""


class UpdateMetadata(Metadata):
    """Body of PATCH: a JSON merge patch (RFC 7396).

    A field that is left out stays unchanged. ``null`` removes the name, or all tags. A list of tags
    replaces the list there was.
    """
