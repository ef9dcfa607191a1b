"""The example gate where it lets in only nodes with a certificate."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from custody.database.pool import Pool
from custody.node.gate_messages import Decision
from custody.node.settings import GateSection
from custody.node.slots import Slots
from devstack.certificates import Certificates, Leaf
from devstack.gate import ExampleGate
from devstack.launcher import Tied
from tests.integration.gate.test_gate import OpenGate, failure_code
from tests.unit.node.requests import complete, job_around


@pytest.fixture
def mutual(tmp_path: Path, gate_leaf: Leaf) -> Iterator[GateSection]:
    gate = ExampleGate("gate", tmp_path / "gate", gate_leaf, Tied(), mutual=True)
    gate.start()
    yield GateSection.model_validate(gate.settings())
    gate.stop()


async def test_a_node_with_its_certificate_is_let_in(
    mutual: GateSection, certificates: Certificates, pool: Pool
) -> None:
    leaf = certificates.node("zurich-1")
    files = {"certificate": leaf.certificate, "private_key": leaf.private_key}
    opened = OpenGate(mutual.model_copy(update=files), pool, Slots(1))
    async with opened.client:
        approval = await opened.decide(job_around(complete()))
    assert approval.decision is Decision.APPROVE


async def test_a_node_without_one_is_not(mutual: GateSection, pool: Pool) -> None:
    assert await failure_code(mutual, pool) == "gate_unavailable"
