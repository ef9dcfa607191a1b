"""A PKCS#11 module that misbehaves on command: how a test commands it, and sees what it did.

The module itself is ``faulty/``; its README.md explains the script that this file writes.
"""

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.providers.return_codes import CKR

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "build" / "providers" / "libfaulty_pkcs11.so"
SCRIPT_VARIABLE = "FAULTY_MODULE_SCRIPT"
EVERY_FUNCTION = "*"
AES_GCM = 0x1087
"""CKM_AES_GCM (PKCS#11 3.1, pkcs11t.h)."""


@dataclass(frozen=True)
class Call:
    """A line of the module's log. ``outcome``: a return code, or what happened instead."""

    process_id: int
    function: str
    outcome: int | str
    rule: int | None


@dataclass(frozen=True)
class When:
    """The calls that a rule is about. Calls that only ask for a length are never among them.

    ``at``: the number of one call, from 1. ``since``: this call and all that follow. Without both:
    every call. Only calls that meet the conditions are counted, from the moment when the rule is
    given, by each process for itself or by ``all_processes`` together.
    ``after_real``: the real module does its work first, and its answer is lost.
    ``attribute``: the template has it. ``object_class``: the template's CKA_CLASS.
    ``longer_than``: bytes of data. ``data``: these bytes. ``read_only``: C_OpenSession without
    CKF_RW_SESSION. ``label``: CKA_LABEL of the object, of the key that does the work, or in the
    template.
    """

    at: int | None = None
    since: int = 1
    all_processes: bool = False
    after_real: bool = False
    mechanism: int | None = None
    attribute: int | None = None
    object_class: int | None = None
    longer_than: int | None = None
    data: bytes | None = None
    label: str | None = None
    slot: int | None = None
    read_only: bool = False

    def words(self) -> list[str]:
        """Return the conditions as the script has them."""
        words = [f"from={self.since if self.at is None else self.at}"]
        if self.at is not None:
            words.append(f"to={self.at}")
        if self.all_processes:
            words.append("over=all")
        if self.after_real:
            words.append("when=after")
        if self.read_only:
            words.append("session=read-only")
        if self.longer_than is not None:
            words.append(f"longer-than={self.longer_than}")
        if self.data is not None:
            words.append(f"data={self.data.hex()}")
        if self.label is not None:
            words.append(f"label={self.label.encode().hex()}")
        for name, number in (
            ("mechanism", self.mechanism),
            ("attribute", self.attribute),
            ("class", self.object_class),
            ("slot", self.slot),
        ):
            if number is not None:
                words.append(f"{name}={number:#x}")
        return words


EVERY = When()
SLOT = 0xFA017
"""The slot that ``adds_slot`` adds."""
CHILD = "child="
"""The log names a forked child after this."""


@dataclass
class FaultyModule:
    """The module in front of ``real``, and the rules that it follows now.

    ``folder`` is a new folder of this test, for the script, the log and the counts.
    """

    folder: Path
    real: Path
    _rules: dict[int, list[str]] = field(default_factory=dict)
    _last_rule: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self._write()

    @property
    def module(self) -> Path:
        """Return the path to configure as the PKCS#11 module."""
        return MODULE

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables that a process needs to use the module."""
        return {SCRIPT_VARIABLE: str(self.folder / "script")}

    def returns(self, function: str, code: int, when: When = EVERY) -> int:
        """Answer with a return code, any CK_RV. Return the rule's number, as every rule does."""
        return self._rule(function, when, f"return:{code:#x}")

    def delays(self, function: str, seconds: float, when: When = EVERY) -> int:
        """Wait, and then do the call."""
        return self._rule(function, when, f"delay:{int(seconds * 1000)}")

    def hangs(self, function: str, when: When = EVERY) -> int:
        """Never answer."""
        return self._rule(function, when, "hang")

    def crashes(self, function: str, when: When = EVERY) -> int:
        """Abort the process (SIGABRT)."""
        return self._rule(function, when, "crash")

    def forks(self, function: str, when: When = EVERY, *, parent_dies: bool) -> int:
        """Fork a child that holds every socket of the worker until ``end_children``."""
        return self._rule(function, when, "fork:die" if parent_dies else "fork")

    def changes_attribute(self, attribute: int, value: bytes, when: When = EVERY) -> int:
        """Show another value of an attribute than the token has."""
        when = replace(when, attribute=attribute)
        return self._rule("C_GetAttributeValue", when, f"attribute:{attribute:#x}:{value.hex()}")

    def withholds_attribute(self, attribute: int, code: int, when: When = EVERY) -> int:
        """Return a code instead of an attribute's value."""
        when = replace(when, attribute=attribute)
        return self._rule("C_GetAttributeValue", when, f"no-attribute:{attribute:#x}:{code:#x}")

    def hides_mechanism(self, mechanism: int) -> int:
        """Neither list a mechanism nor let it be used."""
        return self._rules_of(
            ("C_GetMechanismList", EVERY, f"no-mechanism:{mechanism:#x}"),
            (EVERY_FUNCTION, When(mechanism=mechanism), f"return:{CKR.MECHANISM_INVALID:#x}"),
        )

    def adds_slot(self, label: str, *, token_info: int | None = None, hangs: bool = False) -> int:
        """List a slot before all others. Its token has the label, and no session can be opened.

        ``token_info``: the code that C_GetTokenInfo returns there. ``hangs``: it never answers.
        """
        there = When(slot=SLOT)
        shape = f"slot:{SLOT:#x}:{label.encode().hex()}"
        lines = [("C_GetSlotList", EVERY, shape)]
        if token_info is not None:
            lines.append(("C_GetTokenInfo", there, f"return:{token_info:#x}"))
        elif hangs:
            lines.append(("C_GetTokenInfo", there, "hang"))
        for function in ("C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList"):
            lines.append((function, there, shape))
        return self._rules_of(*lines)

    def limits_sessions(self, most: int) -> int:
        """Return CKR_SESSION_COUNT when all processes together have ``most`` sessions.

        Sessions of dead processes do not count, unless a forked child keeps them.
        """
        return self._rule("C_OpenSession", EVERY, f"sessions:{most}")

    def replaces_gcm_iv(self, *, appended: bool, size: int = 12) -> int:
        """Encrypt by AES-GCM with an IV of the module's own choice.

        The new IV is written over the caller's IV, or ``appended`` to the ciphertext with ``size``
        bytes.
        """
        shape = f"iv-appended:{size}" if appended else "iv-written"
        return self._rule("C_EncryptInit", When(mechanism=AES_GCM), shape)

    def renames_mechanism(self, vendors: int, real: int) -> int:
        """Have a vendor's number for a mechanism that wraps keys."""
        shape = f"renamed:{vendors:#x}:{real:#x}"
        functions = ("C_GetMechanismInfo", "C_WrapKey", "C_UnwrapKey")
        return self._rules_of(*((function, EVERY, shape) for function in functions))

    def enters_pin(self, pin: str, *, at: str) -> int:
        """Log in with a PIN that a person enters: at C_Login without a PIN, or at C_OpenSession."""
        return self._rule(at, EVERY, f"entered-pin:{pin.encode().hex()}")

    def remove(self, *rules: int) -> None:
        """Take rules back. Their faults end at once, also in running processes."""
        for rule in rules:
            del self._rules[rule]
        self._write()

    def clear(self) -> None:
        """Take every rule back."""
        self.remove(*self._rules)

    def calls(self, function: str | None = None) -> list[Call]:
        """Return what the module did, in order, for one function or all."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        calls = [_call(line) for line in lines]
        return [call for call in calls if function in (None, call.function)]

    def fired(self, rule: int) -> int:
        """Return how often a rule has done something."""
        return sum(1 for call in self.calls() if call.rule == rule)

    def children(self) -> list[int]:
        """Return the process ids of all forked children, the ended ones too."""
        outcomes = [str(call.outcome) for call in self.calls()]
        return [int(each.removeprefix(CHILD)) for each in outcomes if each.startswith(CHILD)]

    def end_children(self) -> None:
        """Kill the forked children."""
        for child in self.children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)

    def _rule(self, function: str, when: When, action: str) -> int:
        return self._rules_of((function, when, action))

    def _rules_of(self, *lines: tuple[str, When, str]) -> int:
        """Add lines of the script that come and go together, under one number."""
        self._last_rule += 1
        self._rules[self._last_rule] = [
            " ".join([str(self._last_rule), function, *when.words(), f"do={action}"])
            for function, when, action in lines
        ]
        self._write()
        return self._last_rule

    def _write(self) -> None:
        """Replace the script. The module reads it again at its next call."""
        lines = [f"module {self.real}", f"folder {self.folder}"]
        lines += [f"rule {rule}" for rules in self._rules.values() for rule in rules]
        new = self.folder / "script.new"
        new.write_text("".join(f"{line}\n" for line in lines))
        new.rename(self.folder / "script")


def build() -> None:
    """Compile the module unless that was done before. Takes 50 ms then."""
    subprocess.run([ROOT / "devstack" / "providers.sh", "faulty"], check=True)


def _call(line: str) -> Call:
    process_id, function, outcome, rule = line.split(" ")
    return Call(
        int(process_id),
        function,
        int(outcome, 16) if outcome.startswith("0x") else outcome,
        None if rule == "-" else int(rule),
    )
