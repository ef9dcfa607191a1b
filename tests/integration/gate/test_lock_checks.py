"""What `doctor` says of the locks."""

import base64
from pathlib import Path
from typing import Any

import pytest

from custody.node.applications import Applications
from custody.node.lock_checks import lock_checks
from custody.node.settings import GateSection
from custody.runtime.checks import Status
from custody.wire.algorithms import Store
from hsm_driver.settings import DriverSettings
from tests import played_gate
from tests.played_gate import PlayedGate
from tests.unit.node.requests import APPLICATION


@pytest.fixture
def settings(driver_database: str, tmp_path: Path) -> dict[str, Any]:
    """A driver's, with the parts that these checks do not read left empty."""
    return {
        "node": {"id": "zurich-1", "group": "hsm", "state_directory": tmp_path},
        "control_plane": {
            "url": "https://127.0.0.1:1",
            "ca": "none.pem",
            "certificate": "none.pem",
            "private_key": "none.key",
            "job_signing_keys": [base64.b64encode(APPLICATION.public_key).decode()],
        },
        "database": {"url": driver_database},
        "identity": {"private_key": "none.key"},
        "hsm": {"module": "none.so", "token_label": "none", "pin_file": "none.pin"},
    }


async def found(settings: dict[str, Any], gate: GateSection | None = None, **requests: Any) -> Any:
    """Status of each check by its name, and what each says."""
    read = DriverSettings.model_validate(settings | {"requests": requests})
    read = read.model_copy(update={"gate": gate})
    checks = [check async for check in lock_checks(read, Store.HSM)]
    return {check.name: check.status for check in checks}, " ".join(map(str, checks))


async def test_signed_requests_without_a_pinned_application_fail(settings, pool):
    status, said = await found(settings, require_signature=True)
    assert status == {"signed requests": Status.FAIL, "gate": Status.OK}
    assert "apps add" in said
    await Applications(pool).add("shop", APPLICATION.public_key)
    status, _ = await found(settings, require_signature=True)
    assert status["signed requests"] is Status.OK


async def test_a_gate_that_answers_is_ok(settings, section: GateSection):
    status, _ = await found(settings, section)
    assert status["gate"] is Status.OK


@pytest.mark.parametrize(
    "play",
    [played_gate.say_nothing, played_gate.say_html, played_gate.approve_another_digest],
    ids=lambda play: play.__name__,
)
async def test_a_gate_whose_answer_counts_for_nothing_fails(
    settings, section: GateSection, played: PlayedGate, play
):
    played.play = play
    status, said = await found(settings, section)
    assert status["gate"] is Status.FAIL
    assert "gives an invalid answer" in said
