"""Examples of models, made of their JSON schemas, with what a newer version could add to them."""

import copy
import importlib
import pkgutil
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

import custody.client
import mpc
from tests.made_up_keys import made_up_key

PACKAGES = (custody, mpc)
EXAMPLES = {
    "uuid": "5b0f4e0e-6a53-4f0a-8a6c-0d6c7e2f9b11",
    "date-time": "2026-03-01T12:00:00Z",
    "path": "some/file",
    "ipv4network": "10.0.0.0/8",
}
LATER = "AddedLater"
"""No enum has it."""

Place = tuple[str | int, ...]
Base = TypeVar("Base", bound=BaseModel)


def subclasses(base: type[Base]) -> list[type[Base]]:
    """Every model under ``base`` in the product, the concrete ones of generic models among them."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("env"):  # alembic's, which only alembic can import
                importlib.import_module(module.name)
    found = _under(base)
    return sorted(
        (model for model in found if not (_is_generic(model) or _is_a_tests(model))),
        key=lambda model: (model.__module__, model.__qualname__),
    )


def _under(base: type[Base]) -> set[type[Base]]:
    return {base}.union(*(_under(each) for each in base.__subclasses__())) - {BaseModel}


def _is_generic(model: type[BaseModel]) -> bool:
    return bool(model.__pydantic_generic_metadata__["parameters"])


def _is_a_tests(model: type[BaseModel]) -> bool:
    return model.__module__.startswith("tests.")


class Example:
    """JSON that fits a model's fields, with everything in it that may be in it."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._schema = model.model_json_schema(mode="validation")
        self.objects: list[Place] = []
        """Where an object with named fields is."""
        self.choices: list[Place] = []
        """Where one value of several stands."""
        self.data = self._of(self._schema, ())

    def with_later_field(self, place: Place) -> Any:
        return _changed(self.data, (*place, "added_later"), 7)

    def with_later_value(self, place: Place) -> Any:
        return _changed(self.data, place, LATER)

    def newer(self) -> Any:
        """The example with a field added at every level, and a new value at every choice."""
        data = self.data
        for place in self.choices:
            data = _changed(data, place, LATER)
        for place in self.objects:
            data = _changed(data, (*place, "added_later"), {"deep": [1]})
        return data

    def _of(self, schema: dict[str, Any], place: Place) -> Any:
        if "$ref" in schema:
            return self._of(self._schema["$defs"][schema["$ref"].rpartition("/")[2]], place)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            self.choices.append(place)
            return schema["enum"][0]
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._of(schema[key][0], place)
        return self._of_type(schema, place)

    def _of_type(self, schema: dict[str, Any], place: Place) -> Any:
        match schema.get("type"):
            case "object" if "properties" in schema:
                self.objects.append(place)
                fields = schema["properties"].items()
                return {name: self._of(each, (*place, name)) for name, each in fields}
            case "object":
                values = schema.get("additionalProperties") or {}
                for each in schema.get("patternProperties", {}).values():
                    values = each
                return {"name": self._of(values, (*place, "name"))}
            case "array" if schema.get("maxItems") != 0:
                return [self._of(schema["items"], (*place, index)) for index in range(2)]
            case "string":
                return _text(schema)
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return True
            case "null":
                return None
        raise AssertionError(f"no example of {schema} at {place}")


def _text(schema: dict[str, Any]) -> str:
    if "format" in schema:
        return EXAMPLES[schema["format"]]
    pattern = schema.get("pattern", "")
    if pattern.endswith("{64}$"):
        return "0x" + "5b" * 32
    if pattern.startswith("^0x"):
        return "0x" + made_up_key().hex()
    if pattern.startswith("^m"):
        return "m/0/1"
    return "AAAA"[: schema.get("maxLength", 4)]


def _changed(data: Any, place: Sequence[str | int], value: object) -> Any:
    data = copy.deepcopy(data)
    inside = data
    for step in place[:-1]:
        inside = inside[step]
    inside[place[-1]] = value
    return data


def at(data: Any, place: Place) -> Any:
    """What stands at a place of JSON or of a model."""
    for step in place:
        data = getattr(data, str(step)) if isinstance(data, BaseModel) else data[step]
    return data
