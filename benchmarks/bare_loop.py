"""The limit in HSM mode: a bare loop that unwraps, signs and destroys a key on the token.

The loop uses the token's own master key, as the driver does. A session key would be a tenth faster
on SoftHSM, which checks a stored key's file at each use.

``bare_rate`` runs the loop in several processes. To run one loop, with the PIN on stdin:
``python -m benchmarks.bare_loop MODULE TOKEN_LABEL SECONDS``.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol

import pkcs11

from custody.pkcs11 import token_scheme, wrap_mechanisms
from custody.pkcs11.attributes import NestedAttributeMapper
from custody.pkcs11.master_key import find_master_keys, newest
from custody.pkcs11.settings import DEFAULT_MASTER_KEY_LABEL
from custody.wire.algorithms import ECDSA_SECP256K1

DIGEST = hashlib.sha256(b"custody bench").digest()


class Token(Protocol):
    """The facts about a SoftHSM token that the loop needs."""

    @property
    def module(self) -> Path: ...
    @property
    def label(self) -> str: ...
    @property
    def pin_file(self) -> Path: ...
    @property
    def configuration(self) -> Path: ...


def bare_rate(token: Token, processes: int, seconds: float) -> float:
    """Return secp256k1 signatures a second of all processes, which begin at the same time."""
    command = [sys.executable, "-m", "benchmarks.bare_loop"]
    arguments = [str(token.module), token.label, str(seconds)]
    loops = [
        subprocess.Popen(
            [*command, *arguments],
            env={**os.environ, "SOFTHSM2_CONF": str(token.configuration)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    try:
        return sum(_run(loops, token.pin_file.read_text().strip()))
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _run(loops: Sequence["subprocess.Popen[str]"], pin: str) -> list[float]:
    for loop in loops:
        _say(loop.stdin, pin)
    for loop in loops:
        _hear(loop.stdout)
    for loop in loops:
        _say(loop.stdin, "go")
    return [float(_hear(loop.stdout)) for loop in loops]


def _say(pipe: IO[str] | None, line: str) -> None:
    assert pipe is not None
    pipe.write(line + "\n")
    pipe.flush()


def _hear(pipe: IO[str] | None) -> str:
    assert pipe is not None
    line = pipe.readline()
    if not line:
        raise RuntimeError("a bare loop ended without output; its stderr says why")
    return line


def loop(module: str, label: str, pin: str, seconds: float) -> None:
    """Print ``ready``, wait for a line, then sign for some seconds and print the rate."""
    token = pkcs11.lib(module).get_token(token_label=label)
    session = token.open(user_pin=pin, attribute_mapper=NestedAttributeMapper())
    found = newest(find_master_keys(session, DEFAULT_MASTER_KEY_LABEL).masters, is_host=False)
    if found is None:
        raise RuntimeError("the token has no master key. Run: hsm-driver master-key generate")
    master = found.key
    for mechanism in wrap_mechanisms.of_new_keys():
        with token_scheme.generated(session, ECDSA_SECP256K1) as (_, private, _public):
            try:
                wrapped = master.wrap_key(private, mechanism=mechanism)
                break
            except pkcs11.PKCS11Error:
                continue
    else:
        raise RuntimeError("no known mechanism of the token wraps a secp256k1 key")
    print("ready", flush=True)
    sys.stdin.readline()
    count = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        key = token_scheme.unwrap(master, ECDSA_SECP256K1, wrapped, mechanism)
        token_scheme.sign_in_token(key, ECDSA_SECP256K1, DIGEST)
        key.destroy()
        count += 1
    print(count / (time.perf_counter() - begin), flush=True)


if __name__ == "__main__":
    loop(sys.argv[1], sys.argv[2], sys.stdin.readline().strip(), float(sys.argv[3]))
