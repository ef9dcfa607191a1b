"""``mpc-signer doctor``, about the delivery servers that the signer's configuration names."""

from pathlib import Path

from custody.runtime.checks import Check, Status
from custody.runtime.configuration import read_settings
from devstack.processes import LOCALHOST, free_port
from mpc.configuration import NewSigner, new_configuration
from mpc.doctor import checks
from mpc.settings import SignerSettings
from tests.integration.delivery.ceremonies import SERVER
from tests.integration.delivery.conftest import Pki, Server


def settings(folder: Path, pki: Pki, delivery: dict[str, str]) -> SignerSettings:
    leaf = pki.node("signer-1")
    path = folder / "mpc-signer.toml"
    path.write_text(
        new_configuration(
            NewSigner(
                node="signer-1",
                group="mpc",
                url=f"https://{LOCALHOST}:{free_port()}",
                ca=leaf.ca,
                certificate=leaf.certificate,
                private_key=leaf.private_key,
                job_signing_keys=["AAAA"],
                database_url=f"postgresql://nobody@{LOCALHOST}:{free_port()}/nothing",
                health_port=0,
                delivery=[f"{name}={url}" for name, url in delivery.items()],
            )
        )
    )
    return read_settings(path, SignerSettings)


async def about(settings: SignerSettings) -> list[Check]:
    return [check async for check in checks(settings) if check.name.startswith("delivery")]


async def test_a_server_that_is_there_answers(server: Server, pki: Pki, tmp_path: Path):
    await server.start()
    (check,) = await about(settings(tmp_path, pki, {SERVER: server.url}))
    assert (check.name, check.status) == (f"delivery {SERVER}", Status.OK)


async def test_a_server_that_tickets_name_otherwise_is_found(
    server: Server, pki: Pki, tmp_path: Path
):
    await server.start()
    (check,) = await about(settings(tmp_path, pki, {"another": server.url}))
    assert check.status is Status.FAIL
    assert f"calls itself '{SERVER}'" in check.detail


async def test_each_server_that_is_away_is_named(server: Server, pki: Pki, tmp_path: Path):
    await server.start()
    away = f"https://{LOCALHOST}:{free_port()}"
    found = await about(settings(tmp_path, pki, {SERVER: server.url, "away": away}))
    assert [check.status for check in found] == [Status.OK, Status.FAIL]
    assert found[1].name == "delivery away"


async def test_a_server_under_another_root_is_not_believed(
    server: Server, strangers: Pki, tmp_path: Path
):
    await server.start()
    (check,) = await about(settings(tmp_path, strangers, {SERVER: server.url}))
    assert check.status is Status.FAIL
