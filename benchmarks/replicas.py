"""Two drivers and two replicas of the control plane, beside one of each: rates of one run."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.http_load import LoadResult
from benchmarks.scenes import Api
from custody.runtime.console import err
from devstack.launcher import Tied
from devstack.stack import Stack, StackOptions

KEYS = 8
CLIENTS = 32
"""All together, shared by the replicas."""


def measure_replicas(folder: Path, seconds: float) -> dict[str, float]:
    """Return signatures a second, from POST to Signed, by the name of the scene."""
    options = StackOptions(drivers=2, replicas=2, send_audit_records=False)
    with Stack(folder / "stack", options, launcher=Tied(forked=False)) as stack:
        api = Api(stack, KEYS)
        first, second = stack.control_planes
        stack.drivers[1].stop()
        second.stop()
        api.signatures(CLIENTS, 2)  # warm up
        rates = {"1 driver, 1 replica": _rate(api, [first.url], seconds)}
        second.start()
        stack.drivers[1].start()  # it claims at the second replica
        rates["2 drivers, 2 replicas"] = _rate(api, [first.url, second.url], seconds)
    return rates


def _rate(api: Api, urls: list[str], seconds: float) -> float:
    """Return the rate of all replicas together, each under its share of the clients."""
    err.print(f"  POST to Signed at {len(urls)} replicas", markup=False)

    def load(url: str) -> LoadResult:
        return api.signatures(CLIENTS // len(urls), seconds, url)

    with ThreadPoolExecutor(len(urls)) as pool:
        results = list(pool.map(load, urls))
    return sum(result.rate for result in results)
