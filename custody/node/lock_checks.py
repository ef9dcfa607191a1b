"""The checks of `doctor` for the locks: pinned applications, and the gate's answer."""

import secrets
from collections.abc import AsyncIterator
from uuid import uuid4

from custody.node.applications import Applications
from custody.node.connections import open_database
from custody.node.gate_client import GateClient, GateUnavailable
from custody.node.gate_messages import BadAnswer, ping, read_answer
from custody.node.settings import GateSection, NodeSettings
from custody.runtime.checks import Check, Status, failed
from custody.runtime.errors import OperatorError
from custody.wire.algorithms import Store


async def lock_checks(settings: NodeSettings, store: Store) -> AsyncIterator[Check]:
    """Check signed requests, then the gate, each by its configuration."""
    yield await _applications(settings)
    if settings.gate is None:
        yield Check("gate", Status.OK, "none")
    else:
        yield await _gate(settings, settings.gate, store)


async def _applications(settings: NodeSettings) -> Check:
    name = "signed requests"
    required = settings.requests.require_signature
    try:
        async with open_database(settings) as database:
            count = len(await Applications(database).all())
    except OperatorError as error:
        return failed(name, error)
    if required and not count:
        return Check(
            name,
            Status.FAIL,
            "required, but no application is pinned: every request is denied",
            f"{settings.program} apps add NAME --public-key KEY",
        )
    return Check(name, Status.OK, f"{'' if required else 'not '}required, {count} pinned")


async def _gate(settings: NodeSettings, section: GateSection, store: Store) -> Check:
    """Ask the gate a test question: a valid answer shows that TLS, HMAC key and handler work."""
    digest = secrets.token_bytes(32)
    question = ping(digest, uuid4(), node=settings.node.id, group=settings.node.group, store=store)
    try:
        async with GateClient(section) as client:
            read_answer(await client.ask(question.model_dump_json().encode()), digest)
    except OperatorError as error:
        return failed("gate", error)
    except GateUnavailable as error:
        return Check(
            "gate",
            Status.FAIL,
            str(error),
            "Start the gate, or correct url, ca or certificate in [gate].",
        )
    except BadAnswer as error:
        return Check(
            "gate",
            Status.FAIL,
            f"{section.url} gives an invalid answer: {error}",
            "See the gate's log: it must know hmac_key_file's key, and answer as in "
            "docs/reference/wire-protocol/gates.md.",
        )
    return Check("gate", Status.OK, f"{section.url} answers")
