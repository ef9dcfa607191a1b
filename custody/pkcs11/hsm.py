"""The HSM as a daemon sees it: operations, done by worker processes that are kept alive."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from custody.pkcs11.errors import HsmFailure, HsmUnavailable, SchemeUnsupported, raise_failure
from custody.pkcs11.launch import found_before
from custody.pkcs11.messages import (
    Answer,
    Failure,
    Generate,
    Generated,
    KeyProof,
    KnownKey,
    Operation,
    Ready,
    Rewrap,
    Rewrapped,
    Seal,
    Sealed,
    Sign,
    Signed,
    Stranger,
    Unseal,
    Unsealed,
)
from custody.pkcs11.metrics import HSM_WORKERS, HSM_WORKERS_CONFIGURED
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.token_workers import TokenWorkers, Worker
from custody.pkcs11.work_queue import PendingOperation, WorkQueue
from custody.pkcs11.worker_process import WORKER_MODULE
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Algorithm, Protection

MAX_OUTSTANDING = 2
"""Batches sent to one worker: the worker begins the second when it has answered the first."""

Expected = TypeVar("Expected", bound=Answer)


class Hsm:
    """Does operations in worker processes of one token, or of several with the same master keys.

    Every failure of an operation is an HsmFailure, which a job reports unchanged. An operation that
    is lost with its worker is repeated, if possible at another token. Only the operations of
    ``run_at`` store something on a token, and they are not repeated.
    """

    def __init__(
        self,
        settings: HsmSettings,
        worker_module: str = WORKER_MODULE,
        others: Sequence[HsmSettings] = (),
    ) -> None:
        """``worker_module`` is the entry point of the worker processes. ``others``: more tokens."""
        self._queue = WorkQueue()
        self._tokens = [
            TokenWorkers(each, worker_module, self._queue, self) for each in (settings, *others)
        ]
        self._cached_keys = settings.cached_keys
        self._found: Ready | None = None
        self._dispatching = False
        self._stopping = False

    async def start(self, known: Sequence[KnownKey] = (), *, accept_new: bool = True) -> None:
        """Log in at every token at once. Return when one token can be used.

        The tokens that are slow or away join later. ``known``: the keys that the database knows.
        Only these are used, and with ``accept_new`` also others, which the database may then learn.
        Without known keys the first token says which keys the others must have.

        Raises OperatorError when the module, the token, the PIN or the master key is not usable.
        """
        HSM_WORKERS_CONFIGURED.set(sum(token.settings.workers for token in self._tokens))
        asked = self._tokens if known else self._tokens[:1]
        starts = [token.begin(known, accept_new=accept_new) for token in asked]
        self._found = await _first_complete(starts, known)
        for token in self._tokens:
            token.keep(self._found)

    async def close(self) -> None:
        """End every worker. Operations that have no answer yet fail with HsmUnavailable."""
        self._stopping = True
        closed = await asyncio.gather(*(token.close() for token in self._tokens))
        workers = [worker for each in closed for worker in each]
        caches = self._cached_keys > 0
        await asyncio.gather(*(each.finish() if caches else each.stop() for each in workers))
        for worker in workers:
            self._queue.give_back(worker.outstanding)
        self._queue.fail_all(self.problem or "")

    @property
    def problem(self) -> str | None:
        """Return why no operation is possible now; None while at least one worker is ready.

        Operations may still wait for a worker that is about to be replaced.
        """
        if self._stopping:
            return "the driver is stopping"
        if self.workers:
            return None
        return "; ".join(self._named(token, str(token.absence)) for token in self._tokens)

    @property
    def shortage(self) -> str | None:
        """Return why fewer workers run than configured, for each token that has fewer.

        None while all tokens have a worker and no worker has failed to start.
        """
        if not self.workers:
            return None
        short = [
            self._named(token, reason)
            for token in self._tokens
            if (reason := token.shortage or token.absence) is not None
        ]
        return "; ".join(short) or None

    def _named(self, token: TokenWorkers, reason: str) -> str:
        return reason if len(self._tokens) == 1 else f"token {token.name!r}: {reason}"

    @property
    def workers(self) -> int:
        """Return the number of workers that are logged in."""
        return sum(len(token.workers) for token in self._tokens)

    @property
    def workers_by_token(self) -> dict[str, int]:
        """Return the number of workers that are logged in, by the name of the token."""
        return {token.name: len(token.workers) for token in self._tokens}

    @property
    def worker_process_ids(self) -> list[int]:
        """Return the process ids of the workers that are logged in."""
        workers = [worker for token in self._tokens for worker in token.workers]
        return [pid for worker in workers if (pid := worker.process_id) is not None]

    async def capabilities(self) -> dict[Algorithm, Protection]:
        """Return the algorithms of this token. The first worker has tried each."""
        return {each.algorithm: each.protection for each in self._started().capabilities}

    async def check_values(self) -> dict[str, bytes]:
        """Return the 32-byte check value of every master key on the token, by the key's name.

        Master keys that were added after ``start`` are neither in the answer nor used. Every worker
        proves these same values before it does anything, so the caller compares them once.
        """
        return dict(self._started().check_values)

    async def proofs(self) -> dict[str, KeyProof]:
        """Return the proof that each master key has opened, by the key's name."""
        return dict(self._started().proofs)

    async def proved_keys(self) -> list[KnownKey]:
        """Return the master keys, each with the proof that it has opened."""
        return found_before(self._started())

    async def new_proofs(self) -> dict[str, KeyProof]:
        """Return the proofs that the database does not have."""
        started = self._started()
        return {name: started.proofs[name] for name in started.new_proofs}

    async def weak(self) -> dict[str, str]:
        """Return what is wrong with accepted keys, by name: weaker, or not judged, and why."""
        return dict(self._started().weak)

    async def strangers(self) -> list[Stranger]:
        """Return the token's keys under our labels that are not used."""
        return list(self._started().strangers)

    async def generate(self, algorithm: Algorithm) -> WrappedKey:
        """Make a key, wrapped by the newest master key. Raises HsmFailure."""
        if algorithm not in await self.capabilities():
            raise SchemeUnsupported(f"this node has no way to make {algorithm} keys")
        answer = await self._run(Generate.model_construct(algorithm=algorithm), Generated)
        return answer.key

    async def sign(
        self,
        key: WrappedKey,
        data: bytes,
        *,
        not_after: float | None = None,
        require_wanted: Callable[[], None] | None = None,
    ) -> bytes:
        """Return r and s, 32 bytes each, which nobody has verified yet.

        ``data``: ECDSA's digest, or Ed25519's message. ``require_wanted`` is called right before
        the operation is sent to a worker, and what it raises is raised here. ``not_after``, in
        seconds since 1970: the worker does not begin after it. Raises HsmFailure; Denied (TooLate)
        after ``not_after``.
        """
        sign = Sign.model_construct(key=key, data=data, not_after=not_after)
        return (await self._run(sign, Signed, require_wanted)).signature

    async def seal(self, master_key: str, secret: bytes, associated_data: bytes) -> bytes:
        """Encrypt a secret with the named key for host signing. Raises HsmFailure."""
        seal = Seal(master_key=master_key, secret=secret, associated_data=associated_data)
        return (await self._run(seal, Sealed)).sealed

    async def unseal(self, master_key: str, sealed: bytes, associated_data: bytes) -> bytes:
        """Decrypt what ``seal`` returned. Raises HsmFailure: KeyUnusable for any other input."""
        unseal = Unseal(master_key=master_key, sealed=sealed, associated_data=associated_data)
        return (await self._run(unseal, Unsealed)).secret

    async def rewrap(self, key: WrappedKey, to: str) -> WrappedKey:
        """Return the key, wrapped by the master key ``to``. Nobody has proved the answer yet.

        Raise HsmFailure; KeyNotWrappable if the key's master key is locked.
        """
        return (await self._run(Rewrap(key=key, to=to), Rewrapped)).key

    @property
    def all_token_names(self) -> list[str]:
        """Return the names of all tokens of the configuration."""
        return [token.name for token in self._tokens]

    @property
    def token_names(self) -> list[str]:
        """Return the names of the tokens that have a worker, in the order of the configuration."""
        return [token.name for token in self._tokens if token.workers]

    async def run_at(
        self, token: str, operation: Operation, expected: type[Expected], *, foreign: bool = False
    ) -> Expected:
        """Have a worker of the named token do an operation, and no other token.

        Raises HsmFailure: HsmUnavailable if that token has no worker, or the worker ends;
        HsmCrashed if the worker crashes or hangs while it works on ``foreign`` bytes.
        """
        workers = [each for one in self._tokens if one.name == token for each in one.workers]
        if self._stopping or not workers:
            raise HsmUnavailable(f"no worker is logged in at the token {token!r}")
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pending = PendingOperation(operation, answered, alone=True, stays=True, foreign=foreign)
        worker = min(workers, key=lambda each: len(each.outstanding))
        worker.send([pending], [operation])
        return _expected(await answered, expected)

    def _started(self) -> Ready:
        if self._found is None:
            raise RuntimeError("the HSM is not started")
        return self._found

    async def _run(
        self,
        operation: Operation,
        expected: type[Expected],
        require_wanted: Callable[[], None] | None = None,
    ) -> Expected:
        """Have a worker do an operation. Raises HsmFailure, and what ``require_wanted`` raises."""
        if self._stopping or self._is_stranded():
            raise HsmUnavailable(f"the HSM cannot be used at present: {self.problem}")
        pending = PendingOperation(
            operation, asyncio.get_running_loop().create_future(), require_wanted
        )
        self._queue.add(pending)
        self.dispatch_soon()
        return _expected(await pending.answer, expected)

    # Called by the tokens

    def workers_changed(self) -> None:
        """Count the workers of all tokens."""
        HSM_WORKERS.set(self.workers)

    def has_workers_elsewhere(self, token: TokenWorkers) -> bool:
        """Return whether another token has a worker."""
        return any(each.workers for each in self._tokens if each is not token)

    def fail_stranded(self) -> None:
        """Fail what waits, unless a token has a worker or is about to have one."""
        if self._is_stranded():
            self._queue.fail_all(self.problem or "")

    def _is_stranded(self) -> bool:
        return all(not token.workers and token.problem is not None for token in self._tokens)

    # Distribution to the workers

    def dispatch_soon(self) -> None:
        """Dispatch after all that is ready now has been queued, so that it goes out together."""
        if not self._dispatching:
            self._dispatching = True
            asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        self._dispatching = False
        while self._queue:
            worker = self._freest(self._queue.lost_at())
            if worker is None:
                return
            batch = self._queue.take(self.workers)
            if batch:
                worker.send(batch, [pending.operation for pending in batch])

    def _freest(self, avoided: str | None) -> Worker | None:
        """Return the worker with the least work, at another token than ``avoided`` if possible."""
        tokens = [token for token in self._tokens if token.workers]
        tokens = [token for token in tokens if token.name != avoided] or tokens
        workers = [worker for token in tokens for worker in token.workers]
        worker = min(workers, key=lambda each: len(each.outstanding), default=None)
        if worker is None or len(worker.outstanding) >= MAX_OUTSTANDING:
            return None
        return worker


def _expected(answer: Answer, expected: type[Expected]) -> Expected:
    """Return a worker's answer. Raise HsmFailure."""
    if isinstance(answer, Failure):
        raise_failure(answer)
    if not isinstance(answer, expected):
        raise HsmFailure(f"the worker answered with {answer.kind!r}")
    return answer


async def _first_complete(
    starts: Sequence["asyncio.Task[tuple[Worker, Ready]]"], known: Sequence[KnownKey]
) -> Ready:
    """Return what the first token showed that has every known key, or else any token.

    Raise the OperatorError of the first token if all failed.
    """
    wanted = {key.name for key in known if key.name is not None and not key.retired}
    pending = set(starts)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for start in done:
            if start.exception() is None and wanted <= start.result()[1].check_values.keys():
                return start.result()[1]
    for start in starts:
        if start.exception() is None:
            return start.result()[1]
    return starts[0].result()[1]
