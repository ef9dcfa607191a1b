"""A delivery server whose clock is off says so, and so do the signers that ask it."""

import asyncio
import datetime as real
from pathlib import Path

import pytest

import custody.delivery.application as application
import custody.delivery.health as health
from custody.delivery.doctor import checks
from custody.delivery.settings import HealthSection, Settings
from custody.runtime.checks import Status
from tests.integration.delivery.ceremonies import SERVER
from tests.integration.delivery.conftest import Pki, Server
from tests.integration.delivery.test_signers_doctor import about, settings


class Shifted(real.datetime):
    """The clock of a host that is 20 s ahead."""

    @classmethod
    def now(cls, tz=None):
        return real.datetime.now(tz) + real.timedelta(seconds=20)


@pytest.fixture
def ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "datetime", Shifted)
    monkeypatch.setattr(health, "datetime", Shifted)


async def doctor_of(server: Server) -> tuple[Status, str]:
    """What `mpc-delivery doctor` says about the clock of the server that runs."""
    section = HealthSection(port=server.health_port)
    own = Settings.model_construct(**{**server.settings.__dict__, "health": section})
    found = await asyncio.to_thread(lambda: list(checks(own)))
    check = next(each for each in found if each.name == "clock")
    return check.status, check.detail


async def test_a_server_that_is_ahead_says_so_itself_and_to_signers(
    ahead: None, server: Server, pki: Pki, tmp_path: Path
):
    await server.start()
    (check,) = await about(settings(tmp_path, pki, {SERVER: server.url}))
    assert check.status is Status.FAIL
    assert check.detail.startswith("its clock is 20 s ahead of the control plane's")
    answer = await server.health("/readyz")
    assert answer.status_code == 503
    expected = "20 s ahead of the signers': 5 s are allowed"
    assert answer.json()["problems"]["clock"] == expected
    assert await doctor_of(server) == (Status.FAIL, expected)


async def test_a_server_in_step_is_well(server: Server, pki: Pki, tmp_path: Path):
    await server.start()
    (check,) = await about(settings(tmp_path, pki, {SERVER: server.url}))
    assert (check.status, "clocks agree" in check.detail) == (Status.OK, True)
    assert (await server.health("/readyz")).status_code == 200
    assert (await doctor_of(server))[0] is Status.OK
