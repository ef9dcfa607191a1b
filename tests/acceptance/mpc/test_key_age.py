"""A running signer says that its encryption key is due for rotation, and signs."""

import httpx
import psycopg

from custody.client import Custody, Key
from devstack.processes import LOCALHOST
from devstack.signer import Signer
from tests.acceptance.mpc.conftest import sign_and_check
from tests.waiting import wait_until


def test_health_heartbeat_and_metrics_have_the_age(
    custody: Custody, keys: dict[str, Key], signers: list[Signer]
):
    signer = signers[0]
    signer.stop()
    with psycopg.connect(signer.database_url) as connection:
        connection.execute("UPDATE encryption_keys SET first_seen = now() - interval '400 days'")
    signer.start()
    url = f"http://{LOCALHOST}:{signer.health_port}"
    answer = httpx.get(f"{url}/readyz", trust_env=False)
    assert answer.status_code == 200
    [warning] = [each for each in answer.json()["warnings"] if "rotate_after_days" in each]
    metrics = httpx.get(f"{url}/metrics", trust_env=False).text
    [line] = [each for each in metrics.splitlines() if each.startswith("custody_key_rotation_days")]
    key_id = warning.split()[2]
    assert line.startswith(f'custody_key_rotation_days_left{{key="{key_id}"}} -3')

    def reported() -> bool:
        [found] = [each for each in custody.list_signers() if each.id == signer.node_id]
        return warning in found.health.warnings

    wait_until(reported)
    sign_and_check(custody, keys["EdDSA"], b"with an old key")
