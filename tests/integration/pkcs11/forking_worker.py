"""A worker whose library forks a child. The child keeps the socket, and outlives the worker."""

import os
import signal
import socket
import sys

from custody.pkcs11.messages import Answers, Failure, Hello, Operations, Ready, StartAnswer
from custody.pkcs11.worker import _receive, _send

AT_START = "dies at the start"
AT_WORK = "dies at work"
AFTER_AN_ANSWER = "dies after its answer"


def main() -> None:
    """Die as the token's label says. The first answer says which process the child is."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    dies = Hello.model_validate_json(_receive(connection)).token_label
    child = os.fork()
    if child == 0:
        signal.pause()
    if dies != AT_START:
        ready = Ready(token=str(child), check_values={}, capabilities=[])
        _send(connection, StartAnswer(started=ready))
        Operations.model_validate_json(_receive(connection))
    if dies == AFTER_AN_ANSWER:
        _send(connection, Answers(answers=[Failure(code="hsm_failure", reason="x" * 1_000_000)]))
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
