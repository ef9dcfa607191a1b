"""A worker in this process meets every return code in every function. Prints what follows.

One process does for all of them: a worker that is lost gets a new session. Started as
``python -m tests.integration.pkcs11.ending_walk`` with a Hello on its standard input, the folder of
the faulty module and the real module as arguments.
"""

import json
import sys
from pathlib import Path

from custody.pkcs11.endings import FUNCTIONS, Step
from custody.pkcs11.faults import FAULTS
from custody.pkcs11.login import CannotStart
from custody.pkcs11.messages import (
    Failure,
    Generate,
    Generated,
    Hello,
    Operation,
    Seal,
    Sealed,
    Sign,
    Unseal,
)
from custody.pkcs11.worker import Worker
from custody.wire.algorithms import ECDSA_SECP256R1
from tests.integration.pkcs11.endings_seen import CODES, Seen
from tests.providers.faulty_module import FaultyModule, When

AT_WORK = (Step.GENERATE, Step.WRAP, Step.UNWRAP, Step.SIGN, Step.ENCRYPT, Step.DECRYPT)
AT_START = (Step.FIND_TOKEN, Step.OPEN, Step.LOG_IN, Step.FIND_KEYS)
TRIED = (Step.UNWRAP, Step.DECRYPT)
"""In these steps a worker tries again, so one error ends otherwise than many."""
ONCE = When(at=1)
ALWAYS = When()
NOT_USED = ("C_GenerateKey", "C_GetMechanismList", "C_GetSlotInfo")
"""Functions of these steps that the operations here do not call, or not for our token alone."""
HOST_KEY = "custody-host/1"


class Walk:
    """``worker`` does the operations; each start at a step makes another one."""

    def __init__(self, hello: Hello, faulty: FaultyModule) -> None:
        self._faulty = faulty
        self._worker = Worker(hello)
        ready = self._worker.ready
        self._known = hello.model_copy(
            update={"check_values": ready.check_values, "capabilities": ready.capabilities}
        )
        generate = Generate(algorithm=ECDSA_SECP256R1)
        made, sealed = self._worker.run(
            [generate, Seal(master_key=HOST_KEY, secret=b"secret", associated_data=b"data")]
        )
        assert isinstance(made, Generated)
        assert isinstance(sealed, Sealed)
        sign = Sign(key=made.key, data=bytes(32))
        unseal = Unseal(master_key=HOST_KEY, sealed=sealed.sealed, associated_data=b"data")
        seal = Seal(master_key=HOST_KEY, secret=b"secret", associated_data=b"data")
        self._operations: dict[Step, Operation] = {
            Step.GENERATE: generate,
            Step.WRAP: generate,
            Step.UNWRAP: sign,
            Step.SIGN: sign,
            Step.ENCRYPT: seal,
            Step.DECRYPT: unseal,
            Step.DESTROY: sign,
        }

    def all(self) -> list[Seen]:
        """Meet every code everywhere."""
        seen = []
        for step in (*AT_WORK, Step.DESTROY, *AT_START):
            for function in FUNCTIONS[step]:
                for code in () if function in NOT_USED else CODES:
                    for when in (ONCE, ALWAYS) if step in TRIED else (ALWAYS,):
                        seen.append(self._one(step, function, code, when))
        return seen

    def _one(self, step: Step, function: str, code: int, when: When) -> Seen:
        rule = self._faulty.returns(function, code, when)
        operation = self._operations.get(step)
        try:
            outcome = self._start() if operation is None else self._operate(operation)
        finally:
            self._faulty.remove(rule)
        what, *_, ends = outcome
        if ends or what == "lost":
            self._worker = Worker(self._known)  # as the daemon replaces it, with a new session
        return Seen(step.value, function, code, when is ONCE, *outcome)

    def _start(self) -> tuple[str, str, str, bool]:
        try:
            Worker(self._known)
        except CannotStart as error:
            return "start_failed", error.obstacle.value, error.what, False
        return "ready", "", "", False

    def _operate(self, operation: Operation) -> tuple[str, str, str, bool]:
        [answer] = self._worker.run([operation])
        ends = FAULTS.ends_because is not None
        FAULTS.ends_because = None
        FAULTS.take()
        if isinstance(answer, Failure):
            return "failure", answer.code, answer.reason, ends
        return answer.kind, "", getattr(answer, "reason", ""), ends


def main() -> None:
    faulty = FaultyModule(Path(sys.argv[1]), Path(sys.argv[2]))
    walk = Walk(Hello.model_validate_json(sys.stdin.read()), faulty)
    sys.stdout.write(json.dumps(walk.all()))


if __name__ == "__main__":
    main()
