"""The process that holds the vendor's library: one thread, one session.

Started as ``python -m custody.pkcs11.worker SOCKET PARENT`` with a connected socket's descriptor
and the daemon's process id. It ends when the socket closes, when the daemon ends however it ends,
and by itself when its session is lost.
"""

import os
import select
import signal
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from custody.pkcs11 import (
    capabilities,
    extraction,
    identification,
    master_key,
    master_key_making,
    strength,
    trial,
)
from custody.pkcs11.endings import Ending, Step
from custody.pkcs11.errors import HsmFailure, TooLate, message_of
from custody.pkcs11.faults import FAULTS
from custody.pkcs11.host_key import NonceReplaced
from custody.pkcs11.identification import Candidate, Identified
from custody.pkcs11.importing import Importing, ImportOperation, try_imports
from custody.pkcs11.keep_alive import ask
from custody.pkcs11.key_cache import KeyCache
from custody.pkcs11.login import CannotStart, open_session, slot_of
from custody.pkcs11.master_key import FoundKeys
from custody.pkcs11.messages import (
    HEADER,
    MAX_FRAME,
    Alive,
    Answer,
    Answers,
    Asking,
    Extract,
    Extracted,
    Generate,
    Generated,
    Hello,
    KeepAlive,
    ListMasterKeys,
    Lost,
    MakeMasterKey,
    MasterKeys,
    Message,
    Obstacle,
    Operation,
    Operations,
    Probe,
    Ready,
    Rewrap,
    Rewrapped,
    Seal,
    Sealed,
    Sign,
    Signed,
    StartAnswer,
    StartFailed,
    Tried,
    TryImport,
    TryToken,
    Unseal,
    Unsealed,
    frame,
)
from custody.pkcs11.operation_errors import failure_of
from custody.pkcs11.session_errors import SessionLost, name_of
from custody.pkcs11.session_keys import SessionKeys
from custody.pkcs11.weakness import Weakness
from custody.pkcs11.wrapped_key import WrappedKey
from custody.runtime.hardening import die_with_parent, harden
from pkcs11.exceptions import PKCS11Error


class Worker:
    """One session and what it is used for."""

    def __init__(self, hello: Hello, tell: Callable[[Asking], None] = lambda _: None) -> None:
        """Log in and prove the master keys. Raises CannotStart."""
        self._hello = hello
        self._start_ends = time.monotonic() + hello.start_seconds
        self.cache = KeyCache(hello.cached_keys, hello.cached_keys_seconds)
        self._session = open_session(hello, tell)
        try:
            place = {"slot": slot_of(self._session), "hung_slots": hello.hung_slots}
            self.ready = self._prove().model_copy(update=place)
        except NonceReplaced as error:
            raise CannotStart(
                Obstacle.MECHANISM,
                f"the token {hello.token_label!r} cannot be used as configured: {error}",
                "See docs/how-to/vendor-settings.md.",
            ) from None
        except (PKCS11Error, SessionLost) as error:
            answer = name_of(error) if isinstance(error, PKCS11Error) else str(error)
            raise CannotStart(
                Obstacle.MASTER_KEY,
                f"the token {hello.token_label!r} does not work: {answer}",
                Ending.NO_KEYS.facts.operator,
            ) from None

    def _prove(self) -> Ready:
        hello = self._hello
        self._imports = Importing(self._session, hello.master_key_label, None)
        if hello.purpose == "administration":
            return Ready(token=hello.token_label, check_values={}, capabilities=[])
        present = master_key.find_master_keys(self._session, hello.master_key_label)
        masters = [key for key in present.masters if key.is_host or not hello.only_encrypting]
        found = identification.identify(self._session, masters, hello.known)
        trials_end = strength.trials_end(self._start_ends)  # a login at a keypad takes long
        chosen = identification.choose(found, hello, partial(self._weaknesses, trials_end))
        values = {key.name: key.check_value or b"" for key in chosen.keys}
        _compare(hello, chosen.keys, some=bool(present.masters))
        masters = [key.master for key in chosen.keys]
        self._masters = masters
        known = hello.capabilities
        if known is None:
            known = capabilities.probe(self._session, masters, hello.host_signing).capabilities
        self._keys = SessionKeys(self._session, chosen.keys, known, self.cache)
        self._imports = Importing(self._session, hello.master_key_label, self._keys)
        return Ready(
            token=hello.token_label,
            check_values=values,
            proofs={key.name: key.proof for key in chosen.keys if key.proof is not None},
            new_proofs=[key.name for key in chosen.keys if key.is_new_proof],
            strangers=[*present.strangers, *chosen.strangers],
            weak=chosen.weak,
            capabilities=known,
        )

    def _weaknesses(self, trials_end: float, candidate: Candidate) -> list[Weakness]:
        """Judge a key in the first worker of a token. Later ones prove that it is the same key."""
        if not self._hello.judge:
            return []
        return strength.weaknesses(self._session, self._hello, candidate.master, trials_end)

    def run(self, operations: list[Operation]) -> list[Answer]:
        """Answers in the same order; signatures with one key share one unwrapping."""
        answers: dict[int, Answer] = {}
        by_key: dict[WrappedKey, list[int]] = defaultdict(list)
        try:
            for index, operation in enumerate(operations):
                if isinstance(operation, Sign):
                    by_key[operation.key].append(index)
                else:
                    answers[index] = self._single(operation)
            for key, indexes in by_key.items():
                data = {index: _sign_data(operations[index]) for index in indexes}
                # right before the key is unwrapped: operations wait behind an HSM that stalls
                for index in [each for each in data if _is_over(operations[each])]:
                    answers[index] = message_of(TooLate())
                    del data[index]
                if data:
                    self._sign(key, data, answers)
        except SessionLost as lost:
            reason = Lost(reason=str(lost))
            return [answers.get(index, reason) for index in range(len(operations))]
        return [answers[index] for index in range(len(operations))]

    def _sign(self, key: WrappedKey, data: dict[int, bytes], answers: dict[int, Answer]) -> None:
        try:
            signatures = self._keys.sign(key, list(data.values()))
            for index, signature in zip(data, signatures, strict=True):
                answers[index] = _answer(signature)
        except HsmFailure as failure:
            for index in data:
                answers.setdefault(index, message_of(failure))

    def _single(self, operation: Operation) -> Answer:
        try:
            return self._do(operation)
        except HsmFailure as failure:
            return message_of(failure)
        except PKCS11Error as error:
            return message_of(failure_of(Step.GENERATE, error, f"do {operation.kind!r}"))
        except CannotStart as error:
            return message_of(HsmFailure(error.what))
        except NonceReplaced as error:
            return message_of(HsmFailure(str(error)))

    def _do(self, operation: Operation) -> Answer:
        if isinstance(operation, ImportOperation):
            return self._imports.do(operation)
        match operation:
            case KeepAlive():
                ask(self._session, self._masters)
                return Alive()
            case Generate():
                return Generated(key=self._keys.generate(operation.algorithm))
            case Seal():
                sealed = self._keys.seal(
                    operation.master_key, operation.secret, operation.associated_data
                )
                return Sealed(sealed=sealed)
            case Unseal():
                secret = self._keys.unseal(
                    operation.master_key, operation.sealed, operation.associated_data
                )
                return Unsealed(secret=secret)
            case Rewrap():
                return Rewrapped(key=self._keys.rewrap(operation.key, operation.to))
            case MakeMasterKey():
                left_out = master_key_making.make_master_keys(
                    self._session,
                    self._hello.master_key_label,
                    operation.rewrappable,
                    operation.extractable,
                    operation.above,
                )
                return self._master_keys(left_out)
            case ListMasterKeys():
                return self._master_keys([])
            case Probe():
                _, found = self._identified()
                masters = [each.master for each in found.known or _in_order(found)]
                probed = capabilities.probe(self._session, masters, self._hello.host_signing)
                refused = capabilities.refused_by_master_key(self._session, masters, probed)
                return probed.model_copy(update={"master_key_refuses": refused})
            case Extract():
                return self._extract(operation.attempt)
            case TryImport():
                _, found = self._identified()
                masters = [each.master for each in found.known or _in_order(found)]
                return try_imports(self._session, masters, operation.capabilities)
            case TryToken():
                steps = trial.try_part(self._session, self._hello, operation.part)
                return Tried(steps=steps)
            case Sign():
                raise ValueError("signatures go by key")

    def _master_keys(self, left_out: list[str]) -> MasterKeys:
        present, found = self._identified()
        asked = bool(self._hello.known)
        keys = [each.record(database_asked=asked) for each in _in_order(found)]
        strangers = [*present.strangers, *found.strangers]
        return MasterKeys(keys=keys, strangers=strangers, left_out=left_out)

    def _extract(self, attempt: str) -> Extracted:
        _, found = self._identified()
        masters = [each.master for each in _in_order(found)]
        return extraction.attempt(self._session, self._hello, masters, attempt)

    def _identified(self) -> tuple[FoundKeys, Identified]:
        present = master_key.find_master_keys(self._session, self._hello.master_key_label)
        return present, identification.identify(
            self._session, present.masters, self._hello.known, to_list=True
        )


def _in_order(found: Identified) -> list[Candidate]:
    keys = [*found.known, *found.new]
    return sorted(keys, key=lambda key: (key.master.is_host, key.master.version))


def _sign_data(operation: Operation) -> bytes:
    if not isinstance(operation, Sign):
        raise TypeError("only signatures go by key")
    return operation.data


def _is_over(operation: Operation) -> bool:
    return (
        isinstance(operation, Sign)
        and operation.not_after is not None
        and time.time() >= operation.not_after
    )


def _answer(signature: bytes | HsmFailure) -> Answer:
    if isinstance(signature, HsmFailure):
        return message_of(signature)
    return Signed(signature=signature)


def _compare(hello: Hello, keys: list[Candidate], *, some: bool) -> None:
    """Raise CannotStart unless the token has all expected master keys.

    ``some``: it has keys under our labels. What they are to the database, the daemon says.
    """
    found = {key.name: key.check_value or b"" for key in keys}
    if not found and not (some and hello.known):
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the token {hello.token_label!r} has no master key {hello.master_key_label!r}",
            "Make one with: master-key generate",
        )
    if hello.check_values is None:
        return
    # The database states check values, so another key may have the value of a judged one.
    if found != hello.check_values or any(map(_lacks_its_proof, keys)):
        raise CannotStart(
            Obstacle.MASTER_KEY,
            f"the master keys on the token {hello.token_label!r} are not those of before",
            "Somebody changed the token while it was in use; nothing signs until the driver is "
            "restarted and finds the check values in its database.",
        )


def _lacks_its_proof(key: Candidate) -> bool:
    """Return whether a key has not opened the proof that an earlier worker's key has opened."""
    return key.known is not None and bool(key.known.proofs) and key.is_new_proof


def main() -> None:
    """Log in, then answer operations until the socket closes."""
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        return
    harden()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the daemon drains first, then ends its workers
    with socket.socket(fileno=descriptor) as connection, suppress(EOFError, BrokenPipeError):
        _serve(connection)


def _serve(connection: socket.socket) -> None:
    try:
        worker = Worker(
            Hello.model_validate_json(_receive(connection)),
            lambda asking: _send(connection, StartAnswer(started=asking)),
        )
    except CannotStart as error:
        failed = StartFailed(obstacle=error.obstacle, what=error.what, todo=error.todo)
        _send(connection, StartAnswer(started=failed))
        return
    _send(connection, StartAnswer(started=worker.ready))
    while True:
        _expire_until_asked(connection, worker.cache)
        operations = Operations.model_validate_json(_receive(connection)).operations
        answers = worker.run(operations)
        ends_because = FAULTS.ends_because
        _send(
            connection,
            Answers(answers=answers, faults=FAULTS.take(), ends_because=ends_because),
        )
        if ends_because is not None or any(isinstance(answer, Lost) for answer in answers):
            return


def _expire_until_asked(connection: socket.socket, cache: KeyCache) -> None:
    """Wait for a message, and destroy cached keys when their time is over.

    Destroy all of them and raise EOFError when the daemon has closed the socket.
    """
    while not select.select([connection], [], [], cache.seconds_left())[0]:
        cache.expire()
    if not connection.recv(1, socket.MSG_PEEK):
        cache.clear()
        raise EOFError("the daemon has closed the socket")


def _send(connection: socket.socket, message: Message) -> None:
    connection.sendall(frame(message))


def _receive(connection: socket.socket) -> bytes:
    """One message's body. Raises EOFError when the daemon has closed the socket."""
    (size,) = HEADER.unpack(_exactly(connection, HEADER.size))
    if size > MAX_FRAME:
        raise EOFError(f"a message of {size} bytes is too long")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    received = bytearray()
    while len(received) < size:
        chunk = connection.recv(size - len(received))
        if not chunk:
            raise EOFError("the daemon has closed the socket")
        received += chunk
    return bytes(received)


if __name__ == "__main__":
    main()
