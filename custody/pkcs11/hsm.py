"""The HSM as the rest of the driver sees it."""

from collections.abc import Callable

from custody.pkcs11.errors import HsmFailure, SchemeUnsupported
from custody.pkcs11.messages import (
    Answer,
    Generate,
    Generated,
    Ready,
    Seal,
    Sealed,
    Sign,
    Signed,
    Unseal,
    Unsealed,
)
from custody.pkcs11.pool import Pool
from custody.pkcs11.settings import HsmSettings
from custody.pkcs11.worker_process import WORKER_MODULE
from custody.pkcs11.wrapped_key import WrappedKey
from custody.wire.algorithms import Algorithm, Protection


class Hsm:
    """Asynchronous facade over the worker processes. All failures of operations are HsmFailure."""

    def __init__(self, settings: HsmSettings, worker_module: str = WORKER_MODULE) -> None:
        """``worker_module`` is the entry point of the worker processes."""
        self._pool = Pool(settings, worker_module)
        self._found: Ready | None = None

    async def start(self) -> None:
        """Log in and start the workers. Raises OperatorError: module, token, PIN, master key."""
        self._found = await self._pool.start()

    async def close(self) -> None:
        """End the workers; operations under way fail with HsmUnavailable."""
        await self._pool.close()

    @property
    def problem(self) -> str | None:
        """Why no operation can run at present; None when at least one worker is ready."""
        return self._pool.problem

    @property
    def workers(self) -> int:
        """How many workers are logged in at this moment."""
        return self._pool.alive

    @property
    def worker_process_ids(self) -> list[int]:
        """For the log, and for those who look after the processes."""
        return self._pool.process_ids

    async def capabilities(self) -> dict[Algorithm, Protection]:
        """What keys can be made and used, found out by doing it when the HSM was started."""
        found = self._started()
        return {capability.algorithm: capability.protection for capability in found.capabilities}

    async def check_values(self) -> dict[str, bytes]:
        """Check value, 32 bytes, of every master key on the token, by name.

        Keys added since ``start`` are not in it, and not used. Every worker proves these same
        values before it does anything, so what the caller has compared once stays true.
        """
        return dict(self._started().check_values)

    async def generate(self, algorithm: Algorithm) -> WrappedKey:
        """A new key, wrapped by the newest master key. Raises HsmFailure."""
        if algorithm not in await self.capabilities():
            raise SchemeUnsupported(f"this node has no way to make {algorithm} keys")
        answer = await self._pool.run(Generate.model_construct(algorithm=algorithm))
        if not isinstance(answer, Generated):
            raise _unexpected(answer)
        return answer.key

    async def sign(
        self,
        key: WrappedKey,
        data: bytes,
        *,
        not_after: float | None = None,
        require_wanted: Callable[[], None] | None = None,
    ) -> bytes:
        """r and s, 32 bytes each, not yet verified; data: ECDSA's digest or Ed25519's message.

        ``require_wanted`` is called right before the operation goes to a worker, and what it
        raises is raised; ``not_after`` (seconds since 1970) is looked at by the worker.
        Raises HsmFailure, TooLate among them.
        """
        sign = Sign.model_construct(key=key, data=data, not_after=not_after)
        answer = await self._pool.run(sign, require_wanted)
        if not isinstance(answer, Signed):
            raise _unexpected(answer)
        return answer.signature

    async def seal(self, master_key: str, secret: bytes, associated_data: bytes) -> bytes:
        """Encrypt a secret by the named key, of those that encrypt host keys. Raises HsmFailure."""
        seal = Seal(master_key=master_key, secret=secret, associated_data=associated_data)
        answer = await self._pool.run(seal)
        if not isinstance(answer, Sealed):
            raise _unexpected(answer)
        return answer.sealed

    async def unseal(self, master_key: str, sealed: bytes, associated_data: bytes) -> bytes:
        """Decrypt what ``seal`` made. Raises HsmFailure: KeyUnusable for anything else."""
        unseal = Unseal(master_key=master_key, sealed=sealed, associated_data=associated_data)
        answer = await self._pool.run(unseal)
        if not isinstance(answer, Unsealed):
            raise _unexpected(answer)
        return answer.secret

    def _started(self) -> Ready:
        if self._found is None:
            raise RuntimeError("the HSM is not started")
        return self._found


def _unexpected(answer: Answer) -> HsmFailure:
    return HsmFailure(f"the worker answered with {answer.kind!r}")
