"""Options of each `init` that name the TLS files of a host, with the names of `pki install`."""

from pathlib import Path
from typing import Annotated

import typer

CERTIFICATE, PRIVATE_KEY = Path("tls/certificate.pem"), Path("tls/private_key.pem")
CA, CRL = Path("tls/ca.pem"), Path("tls/crl.pem")

CrlFile = Annotated[
    Path | None,
    typer.Option("--crl", help="CRLs from `pki crl`, in the folder of pki install: tls/crl.pem."),
]
