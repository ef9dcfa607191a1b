"""Signing and lists with few stored rows, and again with many: ratios of one run."""

import ssl
import statistics
import time
from pathlib import Path
from uuid import UUID

import httpx
from sqlalchemy import text

from benchmarks.scenes import WAIT, Api
from benchmarks.stored_rows import copy_signatures, copy_wallets, copy_wrapped_keys
from custody.client import Network
from custody.database.engine import synchronous_engine
from custody.runtime.console import err
from devstack.launcher import Tied
from devstack.stack import Stack

FEW = 1_000
KEYS = 8
CLIENTS = 8
REPEATS = 40
TARGET = 1.1
"""With many stored rows, nothing may take longer than this many times."""
LISTS = (
    "/v1/wallets",
    "/v1/wallets?network=Solana",
    "/v1/wallets?status=Pending",
    "/v1/keys",
    "/v1/keys?scheme=EdDSA",
    "/v1/keys?status=Failed",
    "/v1/keys/{key}/signatures",
    "/v1/keys/{key}/signatures?status=Failed",
    "/v1/keys/{key}/refreshes",
)
"""Without a filter, with a rare value, and with a rare state."""


def measure_growth(folder: Path, seconds: float, keys: int, jobs: int) -> dict[str, float]:
    """Return, by name, the time with ``keys`` keys and ``jobs`` signatures to the time with few."""
    with Stack(folder / "stack", launcher=Tied(forked=False)) as stack:
        api = Api(stack, KEYS)
        with stack.client() as custody:
            wallet = custody.create_wallet(Network.ETHEREUM, wait=WAIT)
            signature = custody.sign_message(wallet.key_id, "one of many", wait=WAIT)
        api.signatures(CLIENTS, 2)  # warm up
        times = []
        for more_keys, more_jobs in ((FEW, FEW), (keys - FEW, jobs - FEW)):
            err.print(f"  store {more_keys} more keys and {more_jobs} signatures", markup=False)
            _store(stack, wallet.key_id, signature.id, more_keys, more_jobs)
            err.print("  sign, and read each list", markup=False)
            times.append(_times(stack, api, wallet.key_id, seconds))
    few, many = times
    return {name: many[name] / few[name] for name in few}


def _store(stack: Stack, key_id: UUID, signature_id: UUID, keys: int, jobs: int) -> None:
    engine = synchronous_engine(stack.databases.control_plane)
    with engine.connect() as connection:
        copy_wallets(connection, key_id, keys)
        copy_signatures(connection, signature_id, jobs)
    _settle(stack.databases.control_plane)
    engine.dispose()
    engine = synchronous_engine(stack.databases.driver)
    with engine.connect() as connection:
        copy_wrapped_keys(connection, key_id, keys)
    _settle(stack.databases.driver)
    engine.dispose()


def _settle(url: str) -> None:
    """Do what autovacuum would do later, and write what is dirty, so that it is not measured."""
    engine = synchronous_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            connection.execute(text(statement))
    engine.dispose()


def _times(stack: Stack, api: Api, key_id: UUID, seconds: float) -> dict[str, float]:
    """Return the median seconds of a signature and of each list."""
    found = {"POST to Signed": api.signatures(CLIENTS, seconds).quantile(0.5)}
    with httpx.Client(
        base_url=stack.api_url,
        headers={"authorization": f"Bearer {stack.api_token}"},
        verify=ssl.create_default_context(cafile=stack.ca),
        trust_env=False,
    ) as http:
        for path in LISTS:
            found[f"GET {path}"] = _list_time(http, path.format(key=key_id))
    return found


def _list_time(http: httpx.Client, path: str) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        http.get(path).raise_for_status()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
