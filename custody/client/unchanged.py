"""Changes of a name or of tags, as arguments say them."""

from collections.abc import Iterable
from enum import Enum

from custody.wire.metadata import UpdateMetadata


class Unchanged(Enum):
    """The value of an argument that leaves a name or tags as they are."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


def listed(tags: Iterable[str]) -> list[str]:
    """Return tags as a list. Raise ValueError for one text, whose letters would become the tags."""
    if isinstance(tags, str):
        raise ValueError(f"tags: give a list, for example [{tags!r}], not one text")
    return list(tags)


def change_of(
    name: str | Unchanged | None, tags: Iterable[str] | Unchanged | None
) -> UpdateMetadata:
    """Return the merge patch with the arguments that are given. Raise ValueError for a bad one."""
    given: dict[str, str | list[str] | None] = {}
    if not isinstance(name, Unchanged):
        given["name"] = name
    if not isinstance(tags, Unchanged):
        given["tags"] = None if tags is None else listed(tags)
    return UpdateMetadata.model_validate(given)
