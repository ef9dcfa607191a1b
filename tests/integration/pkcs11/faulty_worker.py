"""The worker, with a vendor's library that fails: what SoftHSM itself cannot be made to do."""

import os
import signal
from typing import Any

from custody.pkcs11 import login, token_scheme, worker
from custody.pkcs11.messages import Hello
from custody.wire.algorithms import Algorithm

POISON = b"\xde" * 32
"""Signing this aborts the process, as a vendor's library does."""
STALL = b"\xad" * 32
"""Signing this never ends."""
LOGINS = "TEST_LOGINS"
"""Environment variable: the file that gets a line for each login that is tried."""

_sign = token_scheme.sign_in_token
_open_session = login.open_session


def _failing_sign(key: Any, algorithm: Algorithm, data: bytes) -> bytes:
    if data == POISON:
        os.abort()
    if data == STALL:
        os.kill(os.getpid(), signal.SIGSTOP)
    return _sign(key, algorithm, data)


def _counted_login(hello: Hello) -> Any:
    path = os.environ.get(LOGINS)
    if path is not None:
        with open(path, "a") as file:  # noqa: PTH123
            file.write("login\n")
    return _open_session(hello)


if __name__ == "__main__":
    setattr(token_scheme, "sign_in_token", _failing_sign)  # noqa: B010
    setattr(worker, "open_session", _counted_login)  # noqa: B010
    worker.main()
