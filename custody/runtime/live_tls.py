"""A TLS context that follows its files, and connections whose peers are checked again.

A change of the files makes a new context for new connections. Open connections keep the context
that they began with, so ``LiveTls`` checks their peers' chains against the files of now:

- at the end of the handshake, before the first byte of a request is sent or received;
- when the connection sends or receives data, if roots or CRLs have changed since the last check. So
  a kept connection carries no further request to a revoked server, whichever library keeps it;
- at once, for connections of a listener: ``subscribe``.
"""

import _ssl
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

import structlog
from cryptography import x509

from custody.runtime.errors import ConfigurationError
from custody.runtime.revocation import CertificateRevoked, RevocationUnknown, check_chain
from custody.runtime.tls import FileIdentity, LoadedTls, TlsFiles, load_tls

REMINDER_SECONDS = 3600.0
"""Seconds after which the log says again that the files cannot be used."""

log = structlog.get_logger(__name__)


class LiveTls:
    """The newest usable context of some files. The constructor raises ConfigurationError."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._identity = files.identity()
        self._loaded = self._load()
        self._invalid_crls = self._find_invalid_crls(datetime.now(UTC))
        self._subscribers: list[Callable[[], None]] = []
        self._said = float("-inf")
        self.refusal: str | None = None
        """Why the files of now are not in use; None while they are."""
        self.trust_generation = 0
        """Counts the changes of roots, of CRLs, and of what a CRL says by its age."""
        self.generation = 0
        """Counts the contexts."""

    @property
    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection."""
        return self._loaded.context

    @property
    def loaded(self) -> LoadedTls:
        """Return the contents in use."""
        return self._loaded

    def subscribe(self, on_trust_change: Callable[[], None]) -> None:
        """Have a function called after each change of the trust in peers."""
        self._subscribers.append(on_trust_change)

    def read(self, *, always: bool = False) -> tuple[FileIdentity, LoadedTls] | None:
        """Read the files if they have changed, or ``always``. Change nothing in this object.

        Return None if there is nothing new, or if the files change just now. Raise
        ConfigurationError. May run in a thread.
        """
        identity = self.files.identity()
        if identity == self._identity and not always:
            return None
        loaded = self._load()
        return (identity, loaded) if self.files.identity() == identity else None

    def take(self, read: tuple[FileIdentity, LoadedTls]) -> None:
        """Use what ``read`` returned, for new connections and in checks of open ones."""
        before = self._loaded
        self._identity, self._loaded = read
        self.generation += 1
        self.refusal = None
        loaded = self._loaded
        log.info(
            "TLS files taken up",
            use=self.files.use,
            serial=format(loaded.chain[0].serial_number, "x") if loaded.chain else None,
            not_after=str(loaded.chain[0].not_valid_after_utc) if loaded.chain else None,
            roots=len(loaded.roots),
            crl_numbers=[crl.number for crl in loaded.crls],
        )
        if before.roots != loaded.roots or before.crls != loaded.crls:
            self._invalid_crls = self._find_invalid_crls(datetime.now(UTC))
            self._trust_changed()

    def refuse(self, error: ConfigurationError, now: float) -> None:
        """Keep what is in use. ``now``: monotonic seconds."""
        if error.what != self.refusal or now - self._said > REMINDER_SECONDS:
            self._said = now
            log.error(
                "changed TLS files cannot be used, the old ones stay in use",
                use=self.files.use,
                error=error.what,
                todo=error.todo,
            )
        self.refusal = error.what

    def same(self) -> None:
        """Note that the files are those in use."""
        if self.refusal is not None and self.files.identity() == self._identity:
            self.refusal = None

    def notice_time(self, now: datetime) -> None:
        """Check open connections again if a CRL has expired, or has begun to be valid."""
        invalid = self._find_invalid_crls(now)
        if invalid != self._invalid_crls:
            self._invalid_crls = invalid
            self._trust_changed()

    def require_trusted(self, tls: ssl.SSLObject | ssl.SSLSocket) -> None:
        """Raise ssl.SSLCertVerificationError unless the peer's chain is good by the files of now.

        A listener that asks for no client certificates accepts all peers.
        """
        loaded = self._loaded
        if not loaded.roots:
            return
        chain = verified_chain(tls)
        if not chain or chain[-1] not in loaded.roots:
            raise ssl.SSLCertVerificationError(1, "the peer's root is not trusted any more")
        if self.files.crl is None:
            return
        try:
            check_chain(chain, loaded.crls, datetime.now(UTC))
        except (CertificateRevoked, RevocationUnknown) as error:
            raise ssl.SSLCertVerificationError(1, str(error)) from None

    def _load(self) -> LoadedTls:
        loaded = load_tls(self.files, _LiveContext)
        cast(_LiveContext, loaded.context).live = self
        return loaded

    def _find_invalid_crls(self, now: datetime) -> list[bool]:
        crls = self._loaded.crls
        return [not crl.this_update <= now < crl.next_update for crl in crls]

    def _trust_changed(self) -> None:
        self.trust_generation += 1
        for notify in list(self._subscribers):
            notify()


def verified_chain(tls: ssl.SSLObject | ssl.SSLSocket) -> list[x509.Certificate]:
    """Return the chain that the handshake verified: leaf, intermediates, root.

    Empty for a peer without a certificate. Before Python 3.13 the ssl module knows the chain, but
    has no public method for it.
    """
    public: Any = getattr(tls, "get_verified_chain", None)
    if public is not None:
        return [_parse(der) for der in public() or ()]
    found: Any = tls._sslobj.get_verified_chain()  # type: ignore[union-attr]
    return [_parse(each.public_bytes(_ssl.ENCODING_DER)) for each in found or ()]


@lru_cache(maxsize=4096)  # a CRL remembers by the public key whether an issuer has signed it
def _parse(der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(der)


class CheckedObject(ssl.SSLObject):
    """The TLS state of a connection of an event loop."""

    _trust_generation = -1

    def do_handshake(self) -> None:
        super().do_handshake()
        self._check()

    def read(self, *arguments: Any, **named: Any) -> Any:
        self._check_again()
        return super().read(*arguments, **named)

    def write(self, data: Any) -> int:
        self._check_again()
        return super().write(data)

    def _check_again(self) -> None:
        if self._trust_generation != _live(self).trust_generation:
            self._check()

    def _check(self) -> None:
        live = _live(self)
        generation = live.trust_generation
        live.require_trusted(self)
        self._trust_generation = generation


class CheckedSocket(ssl.SSLSocket):
    """A blocking TLS connection. Its thread may be another one than that of the LiveTls."""

    _trust_generation = -1

    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        self._check_again()

    def read(self, *arguments: Any, **named: Any) -> Any:
        self._check_again()
        return super().read(*arguments, **named)

    def send(self, *arguments: Any, **named: Any) -> int:
        self._check_again()
        return super().send(*arguments, **named)

    def _check_again(self) -> None:
        live: LiveTls | None = self.context.live  # type: ignore[attr-defined]
        if live is None:  # the roots are not ours
            return
        generation = live.trust_generation
        if self._trust_generation != generation:
            live.require_trusted(self)
            self._trust_generation = generation


def _live(tls: ssl.SSLObject) -> LiveTls:
    live: LiveTls = tls.context.live  # type: ignore[attr-defined]
    return live


class _LiveContext(ssl.SSLContext):
    live: LiveTls
    sslobject_class = CheckedObject
    sslsocket_class = CheckedSocket
