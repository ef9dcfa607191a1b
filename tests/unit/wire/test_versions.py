"""A newer server's answers are read; requests, signed payloads and configuration stay strict."""

import copy
import json
from enum import StrEnum
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from custody.client.pinned_nodes import _PinnedNodesFile
from custody.node.gate_messages import GateAnswer
from custody.runtime.configuration import Section
from custody.wire.algorithms import Network
from custody.wire.answers import Answer, Open, Unknown, known, read_answer
from custody.wire.encoding import Model
from tests.unit.wire.walking import LATER, Example, at, subclasses

ANSWERS = [model for model in subclasses(Answer) if model.model_fields]
STRICT = [
    model
    for model in [*subclasses(Model), *subclasses(Section)]
    if not issubclass(model, Answer) and model.model_fields
]


def subclasses_of(kind: type[StrEnum]) -> list[type[StrEnum]]:
    return sorted(kind.__subclasses__(), key=lambda each: (each.__module__, each.__name__))


def name(model: type[BaseModel]) -> str:
    return model.__name__


def test_the_walk_meets_what_there_is():
    names = set(map(name, ANSWERS))
    assert {"Key", "Wallet", "Signature", "KeyChange", "Problem", "SignerGroup"} <= names
    assert {"Page[Key]", "Page[Node]", "Page[RegisteredSigner]"} <= names
    assert {"ClaimResponse", "HeartbeatResponse", "ReportResponse", "AuditHeads"} <= names
    assert {"DeliveryProblem", "ServerFacts"} <= names
    strict = set(map(name, STRICT))
    assert {"CreateWallet", "SignMessage", "ClaimRequest", "HeartbeatRequest"} <= strict
    assert {"Job", "Ticket", "Attestation", "Confirmation", "Ban", "AuditHead"} <= strict
    assert {"GateAnswer", "_PinnedNodesFile", "DatabaseSection", "GateSection"} <= strict
    assert len({name(model) for model in STRICT}) > 60


@pytest.mark.parametrize("model", ANSWERS, ids=name)
def test_an_older_reader_reads_a_newer_servers_answer(model: type[Answer]):
    example = Example(model)
    read = read_answer(model, json.dumps(example.newer()).encode())
    for place in example.choices:
        value = at(read, place)
        assert isinstance(value, Unknown)
        assert value == LATER
        assert (value.value, value.is_final) == (LATER, False)
    again = json.loads(read.model_dump_json())
    assert "added_later" not in json.dumps(again)


@pytest.mark.parametrize("model", ANSWERS, ids=name)
def test_what_is_known_is_read_as_what_it_is(model: type[Answer]):
    example = Example(model)
    read = read_answer(model, json.dumps(example.data).encode())
    for place in example.choices:
        assert not isinstance(at(read, place), Unknown)
    assert read == model.model_validate(example.data)


@pytest.mark.parametrize("model", ANSWERS, ids=name)
def test_a_server_cannot_make_an_answer_with_more_in_it(model: type[Answer]):
    example = Example(model)
    for place in example.objects:
        with pytest.raises(ValidationError, match="Extra inputs"):
            model.model_validate(example.with_later_field(place))
    for place in example.choices:
        with pytest.raises(ValidationError):
            model.model_validate(example.with_later_value(place))


@pytest.mark.parametrize("model", ANSWERS, ids=name)
def test_what_is_missing_is_still_missed(model: type[Answer]):
    with pytest.raises(ValidationError, match="Field required"):
        read_answer(model, b'{"added_later": 7}')


@pytest.mark.parametrize("model", STRICT, ids=name)
def test_everything_else_is_strict_at_every_level(model: type[BaseModel]):
    example = Example(model)
    assert example.objects
    for place in example.objects:
        assert (*place, "added_later") in faults(model, example.with_later_field(place))
    for place in example.choices:
        assert place in faults(model, example.with_later_value(place))


def faults(model: type[BaseModel], data: Any) -> set[tuple[str | int, ...]]:
    """Where JSON does not fit, as far as the path goes that the data has itself."""
    with pytest.raises(ValidationError) as refused:
        model.model_validate_json(json.dumps(data))
    return {_in_data(data, error["loc"]) for error in refused.value.errors()}


def _in_data(data: Any, location: tuple[Any, ...]) -> tuple[str | int, ...]:
    """Without the names of a union's members, which are no part of the data."""
    place: list[str | int] = []
    for step in location:
        is_field = isinstance(data, dict) and step in data
        if is_field or (isinstance(data, list) and isinstance(step, int)):
            place.append(step)
            data = data[step]
    return tuple(place)


def test_an_unknown_value_is_pleasant_to_use():
    class Shown(Answer):
        network: Open[Network]

    later = read_answer(Shown, b'{"network": "Cardano"}').network
    assert later == "Cardano"
    assert f"{later}" == "Cardano"
    assert later is not Network.ETHEREUM
    with pytest.raises(ValueError, match="does not know 'Cardano': install a newer one"):
        known(later)
    assert known(read_answer(Shown, b'{"network": "Bitcoin"}').network) is Network.BITCOIN


ENUMS = [each for each in subclasses_of(StrEnum) if each.__module__.startswith("custody.wire.")]


@pytest.mark.parametrize("member", [member for each in ENUMS for member in each], ids=repr)
def test_an_unknown_value_is_no_member_of_any_enum(member: StrEnum):
    """A status of one resource may have the text of another resource's success."""
    later = Unknown(member.value)
    assert later == member.value
    assert later != member
    assert member != later
    assert later not in {member, None}
    assert member not in (later, None)
    assert {member: 1}.get(later) is None  # type: ignore[call-overload]


def test_an_unknown_value_travels_as_its_text():
    class Shown(Answer):
        network: Open[Network]

    read = read_answer(Shown, b'{"network": "Cardano"}')
    assert read.model_dump_json() == '{"network":"Cardano"}'
    assert copy.deepcopy(read) == read
    assert {read.network: 1}[Unknown("Cardano")] == 1
    assert not isinstance(read.network, str)


def test_pins_and_the_gates_word_are_no_answers_in_this_sense():
    """A reader that ignores a field there may ignore a condition."""
    assert not issubclass(GateAnswer, Answer)
    assert not issubclass(_PinnedNodesFile, Answer)
