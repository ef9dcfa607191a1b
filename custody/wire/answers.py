"""Tolerant reading of answers: a newer server may send fields and values that are unknown here.

Only answers are read tolerantly. Requests, signed payloads and configuration stay strict: there, an
ignored field could change the effect.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from custody.wire.encoding import Model


class Answer(Model):
    """Base of an API's answers. Only ``read_answer`` ignores unknown fields.

    A server always sends every field. A default is for a reader of an older server's answer.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Unknown:
    """A value that this version does not know, with the server's text.

    An Unknown is equal to its text, as a member of a StrEnum is: ``key.network == "Cardano"``. It
    is not a string, and is never equal to a member of an enum. Otherwise an import that a service
    shows as "Signed" would pass for a success, which ``SignatureStatus.SIGNED`` is.
    """

    value: str

    @property
    def is_final(self) -> bool:
        """Return False: an unknown status may not be final."""
        return False

    def __eq__(self, other: object) -> bool:
        # A member of a StrEnum is a string, and asks this method because Unknown is not one.
        if isinstance(other, Unknown):
            return self.value == other.value
        return type(other) is str and self.value == other

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:
        return f"Unknown({self.value!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(
            cls._read, handler(str), serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "description": "A value that a later version added."}

    @classmethod
    def _read(cls, text: str, info: ValidationInfo) -> "Unknown":
        if info.context is not _READING:
            raise PydanticCustomError("enum", "not a value of this version")
        return cls(text)


_READING = object()
"""The validation context that allows an Unknown."""

Value = TypeVar("Value")

Open: TypeAlias = Annotated[Value | Unknown, Field(union_mode="left_to_right")]
"""A value of an enum or a Literal; in an answer that was read, also an Unknown."""

AnyAnswer = TypeVar("AnyAnswer", bound=Answer)


def read_answer(model: type[AnyAnswer], content: bytes) -> AnyAnswer:
    """Read an answer of this version or a newer one. Ignore unknown fields.

    Raise pydantic's ValidationError if a field that this version needs is missing or malformed.
    """
    return model.model_validate_json(content, extra="ignore", context=_READING)


def known(value: Value | Unknown) -> Value:
    """Return a value that this version knows. Raise ValueError for an Unknown."""
    if isinstance(value, Unknown):
        raise ValueError(f"this version does not know {value.value!r}: install a newer one")
    return value
