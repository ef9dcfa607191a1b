"""The HSM as the rest of the driver sees it."""

from hsm_driver.hsm.settings import HsmSettings
from hsm_driver.hsm.wrapped_key import WrappedKey
from wire.algorithms import Algorithm, Protection


class Hsm:
    """Asynchronous facade over the worker processes. All failures of operations are HsmFailure."""

    def __init__(self, settings: HsmSettings) -> None:
        self._settings = settings

    async def start(self) -> None:
        """Log in and start the workers. Raises OperatorError: module, token, PIN, master key."""
        raise NotImplementedError

    async def close(self) -> None:
        """End the workers; operations under way fail with HsmUnavailable."""
        raise NotImplementedError

    @property
    def problem(self) -> str | None:
        """Why no operation can run at present; None when at least one worker is ready."""
        raise NotImplementedError

    async def capabilities(self) -> dict[Algorithm, Protection]:
        """What keys can be made and used, found out by doing it."""
        raise NotImplementedError

    async def check_values(self) -> dict[str, bytes]:
        """Check value, 32 bytes, of every master key on the token, by name."""
        raise NotImplementedError

    async def generate(self, algorithm: Algorithm) -> WrappedKey:
        """A new key, wrapped by the newest master key."""
        raise NotImplementedError

    async def sign(self, key: WrappedKey, data: bytes) -> bytes:
        """r and s, 32 bytes each, not yet verified; data: ECDSA's digest or Ed25519's message."""
        raise NotImplementedError
