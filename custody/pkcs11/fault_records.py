"""What the daemon records about the errors of its token: metrics and the log."""

import structlog

from custody.pkcs11.endings import Step, ending
from custody.pkcs11.messages import Answers
from custody.pkcs11.metrics import HSM_ERRORS, HSM_LEAKED_OBJECTS
from custody.pkcs11.return_codes import NAME_OF, code_name

log = structlog.get_logger()


def record_faults(process_id: int | None, message: Answers) -> None:
    """Count the errors that a worker reports, and log each with the operator's next step."""
    for fault in message.faults:
        HSM_ERRORS.labels(fault.step.value, NAME_OF.get(fault.code, f"{fault.code:#x}")).inc()
        if fault.step is Step.DESTROY:
            HSM_LEAKED_OBJECTS.inc()
    for fault in dict.fromkeys(message.faults):
        log.warning(
            "hsm error",
            pid=process_id,
            step=fault.step.value,
            code=code_name(fault.code),
            todo=ending(fault.step, fault.code).facts.operator,
        )
    if message.ends_because is not None:
        log.warning("hsm worker ends itself", pid=process_id, reason=message.ends_because)
