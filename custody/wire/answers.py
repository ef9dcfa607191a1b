"""How answers are read: a newer server may say more than this version knows.

Answers alone are read so. Requests, signed payloads and configuration stay strict: a field that
the reader ignores there could change what is done.
"""

from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from custody.wire.encoding import Model


class Answer(Model):
    """Base of what an API answers. Who makes one is held to its fields; ``read_answer`` is not."""


class Unknown(str):
    """A value that this version has no name for; the text is what the server said.

    It is equal to its text, as a member of a StrEnum is: ``key.network == "Cardano"``.
    """

    __slots__ = ()

    @property
    def value(self) -> str:
        """The text, as of a member of an enum."""
        return str(self)

    @property
    def is_final(self) -> bool:
        """False: nothing is known to have ended."""
        return False

    def __repr__(self) -> str:
        return f"Unknown({self.value!r})"

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_after_validator_function(cls._read, handler(str))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "description": "A value that a later version has added."}

    @classmethod
    def _read(cls, text: str, info: ValidationInfo) -> "Unknown":
        if info.context is not _READING:
            raise PydanticCustomError("enum", "no value of this version")
        return cls(text)


_READING = object()
"""The validation context in which an Unknown may come to be."""

Value = TypeVar("Value")

Open: TypeAlias = Annotated[Value | Unknown, Field(union_mode="left_to_right")]
"""One of the values of an enum or a Literal or, in an answer that was read, another text."""

AnyAnswer = TypeVar("AnyAnswer", bound=Answer)


def read_answer(model: type[AnyAnswer], content: bytes) -> AnyAnswer:
    """Read an answer of this version or a newer one: what is not known of it is passed over.

    Raises pydantic's ValidationError where what this version needs is missing or malformed.
    """
    return model.model_validate_json(content, extra="ignore", context=_READING)


def known(value: Value | Unknown) -> Value:
    """The value, where this version knows it. Raises ValueError."""
    if isinstance(value, Unknown):
        raise ValueError(f"this version does not know {value.value!r}: install a newer one")
    return value
