"""Changes of a name or of tags, as arguments say them."""

from collections.abc import Iterable
from enum import Enum

from custody.wire.metadata import UpdateMetadata


class Unchanged(Enum):
    """The value of an argument that leaves a name or tags as they are."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


def change_of(
    name: str | Unchanged | None, tags: Iterable[str] | Unchanged | None
) -> UpdateMetadata:
    """Return the merge patch with the arguments that are given. Raise ValueError for a bad one."""
    given: dict[str, str | list[str] | None] = {}
    if not isinstance(name, Unchanged):
        given["name"] = name
    if not isinstance(tags, Unchanged):
        given["tags"] = None if tags is None else list(tags)
    return UpdateMetadata.model_validate(given)
