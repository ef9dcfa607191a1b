"""The reference of PKCS#11's return codes: what follows from each."""

from collections.abc import Iterator

from custody.pkcs11.endings import EXCEPTIONS, FUNCTIONS, RULES, Ending, Step
from custody.pkcs11.return_codes import NAME_OF, NAMES, Kind
from devstack.reference.markdown import page, table

INTRODUCTION = """\
Every function of the HSM's PKCS#11 library answers with a return code. This page says what follows
from each: for the worker process, for the request that needed the function, for the node's health
in `/readyz`, and for the operator. To find an ending, look up the code's kind in the first table.
Then look up the function and the kind in the second table. The third table describes the ending.

The names and numbers are those of PKCS#11 3.2 and of all earlier versions. A code of the vendor
(`0x80000000` and above) and an unknown code are of the kind `unclear`."""
PROBING = """\
A worker that starts proves the master keys and finds out what the token can do. There the kinds
`configuration`, `data`, `not_wrappable`, `curve` and `ciphertext` say that the token cannot do the
thing. After any other answer the worker tries again, three times in all. With different answers
the worker does not start. With three times the same answer the node does not offer the algorithm.
The node then does not make keys of this algorithm on the host either, even if `host_signing` names
the algorithm: such an answer does not say that the token cannot do it."""
READING = """\
An error of `C_GetAttributeValue` right after a function made or unwrapped a key counts as an error
of that function: python-pkcs11 reads the new object's attributes in the same call."""
REPLACED = """\
The daemon counts each error in the metric `custody_hsm_errors_total`, and logs it as `hsm error`
with the operator's next step. Errors of a start are logged as `hsm worker cannot start`."""
OTHERS = """\
A driver may not have seen a key's master key on its token yet. The driver then refuses the job with
the code `master_key_missing`, and another driver of the group takes the job."""


def hsm_errors_page() -> dict[str, str]:
    """Return the page's text by its path under docs/."""
    text = page(
        "Errors of the HSM",
        INTRODUCTION,
        "## Kinds of codes",
        table(("kind", "it says", "codes"), _kinds()),
        "## Endings by function and kind",
        table(("functions", *(f"`{_short(kind)}`" for kind in Kind)), _endings()),
        "These codes have endings of their own:",
        table(("functions", "code", "ending"), _exceptions()),
        READING,
        "## What follows",
        table(("ending", "worker", "request", "code", "health", "operator"), _facts()),
        REPLACED,
        "## While a worker starts",
        PROBING,
        "## Master keys that a driver does not have yet",
        OTHERS,
    )
    return {"reference/hsm-errors.md": text}


def _short(kind: Kind | Ending) -> str:
    return kind.name.lower()


def _kinds() -> Iterator[tuple[str, str, str]]:
    for kind, names in NAMES.items():
        codes = ", ".join(f"`CKR_{name}` {number:#x}" for number, name in sorted(names.items()))
        yield f"`{_short(kind)}`", kind.value, codes


def _functions(step: Step) -> str:
    return ", ".join(f"`{function}`" for function in FUNCTIONS[step])


def _endings() -> Iterator[tuple[str, ...]]:
    for step, rules in RULES.items():
        yield _functions(step), *(_short(rules[kind]) for kind in Kind)


def _exceptions() -> Iterator[tuple[str, str, str]]:
    for (step, number), ending in EXCEPTIONS.items():
        yield _functions(step), f"`{NAME_OF[number]}`", _short(ending)


def _facts() -> Iterator[tuple[str, ...]]:
    for ending in Ending:
        facts = ending.facts
        code = "" if facts.code is None else f"`{facts.code}`"
        yield (
            _short(ending),
            facts.worker.value,
            facts.request.value,
            code,
            facts.health.value,
            facts.operator,
        )
