"""Signing and lists with few stored rows, and beside it with many: ratios of one run."""

import ssl
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from sqlalchemy import Connection, text

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
ROUNDS = 8
REPEATS = 25
"""Times that each list is read in a round."""
TARGET = 1.1
"""With many stored rows, nothing may take longer than this many times."""
TAG = "of-every-wallet"
LISTS = (
    "/v1/wallets",
    "/v1/wallets?network=Solana",
    "/v1/wallets?status=Pending",
    f"/v1/wallets?tag={TAG}",
    "/v1/keys",
    "/v1/keys?scheme=EdDSA",
    "/v1/keys?status=Failed",
    "/v1/keys/{key}/signatures",
    "/v1/keys/{key}/signatures?status=Failed",
    "/v1/keys/{key}/refreshes",
)
"""Without a filter, with a rare value, with a rare state, and with a tag of all wallets."""


class Scene:
    """A stack of its own, with stored rows, and the times that it took."""

    def __init__(self, stack: Stack, http: httpx.Client) -> None:
        self._stack = stack
        self._http = http
        self._api = Api(stack, KEYS)
        self._times: dict[str, list[float]] = defaultdict(list)
        with stack.client() as custody:
            self._key_id = custody.create_wallet(Network.ETHEREUM, tags=[TAG], wait=WAIT).key_id
            self._signature_id = custody.sign_message(self._key_id, "one of many", wait=WAIT).id

    def store(self, keys: int, jobs: int) -> None:
        """Store so many more keys, and so many finished signatures of one of them."""
        databases = self._stack.databases
        with _connected(databases.control_plane) as connection:
            copy_wallets(connection, self._key_id, keys)
            copy_signatures(connection, self._signature_id, jobs)
        with _connected(databases.driver) as connection:
            copy_wrapped_keys(connection, self._key_id, keys)

    def sign(self, seconds: float) -> None:
        self._times["POST to Signed"] += self._api.signatures(CLIENTS, seconds).latencies

    def read(self, path: str) -> None:
        began = time.perf_counter()
        self._http.get(path.format(key=self._key_id)).raise_for_status()
        self._times[f"GET {path}"].append(time.perf_counter() - began)

    def warm_up(self) -> None:
        self.sign(2)
        for path in LISTS:
            self.read(path)
        self._times.clear()

    def times(self) -> dict[str, float]:
        """Return the lower quartile of the seconds of a signature and of each list.

        The slower answers say more of what else the machine did.
        """
        return {name: statistics.quantiles(times)[0] for name, times in self._times.items()}


def measure_growth(folder: Path, seconds: float, keys: int, jobs: int) -> dict[str, float]:
    """Return, by name, the time with ``keys`` keys and ``jobs`` signatures to the time with few.

    Both scenes run side by side and answer in turn. So what else the machine does slows both.
    """
    with ExitStack() as opened:
        few, many = (opened.enter_context(_scene(folder / name)) for name in ("few", "many"))
        for scene, more_keys, more_jobs in ((few, FEW, FEW), (many, keys, jobs)):
            _say(f"store {more_keys} more keys and {more_jobs} signatures")
            scene.store(more_keys, more_jobs)
            scene.warm_up()
        for number in range(1, ROUNDS + 1):
            _say(f"sign, and read each list: round {number} of {ROUNDS}")
            for scene in (few, many) if number % 2 else (many, few):
                scene.sign(seconds / ROUNDS)
            for path in LISTS:
                for _ in range(REPEATS):
                    few.read(path)
                    many.read(path)
        before = few.times()
        return {name: seconds / before[name] for name, seconds in many.times().items()}


@contextmanager
def _scene(folder: Path) -> Iterator[Scene]:
    with (
        Stack(folder, launcher=Tied(forked=False)) as stack,
        httpx.Client(
            base_url=stack.api_url,
            headers={"authorization": f"Bearer {stack.api_token}"},
            verify=ssl.create_default_context(cafile=stack.ca),
            trust_env=False,
        ) as http,
    ):
        yield Scene(stack, http)


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    engine = synchronous_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()
    _settle(url)


def _settle(url: str) -> None:
    """Do what autovacuum would do later, and write what is dirty, so that it is not measured."""
    engine = synchronous_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
            connection.execute(text(statement))
    engine.dispose()


def _say(text: str) -> None:
    err.print(f"  {text}", markup=False)
