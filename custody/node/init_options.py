"""Options of `init` that every node's program has."""

from pathlib import Path
from typing import Annotated

import typer

Node = Annotated[str, typer.Option(help="This node's id: a-z, 0-9, '.', '_', '-'.")]
JobSigningKey = Annotated[
    list[str],
    typer.Option(help="The job-signing key that `control-plane init` printed; repeatable."),
]
Url = Annotated[str, typer.Option(help="The node API.")]
Ca = Annotated[Path, typer.Option(help="The root certificate.")]
Certificate = Annotated[Path, typer.Option(help="This node's.")]
PrivateKey = Annotated[Path, typer.Option(help="The certificate's.")]
DatabaseUrl = Annotated[
    str | None, typer.Option(help="URL without a password; otherwise use --database-url-file.")
]
DatabaseUrlFile = Annotated[
    Path | None, typer.Option(help="A file of mode 0600 that holds the URL.")
]
HealthPort = Annotated[int, typer.Option(help="Port of /healthz, /readyz and /metrics.")]
