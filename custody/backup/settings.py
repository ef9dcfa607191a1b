"""The [backup] section of a configuration file, and its text in a new file."""

from typing import Annotated

from pydantic import Field, model_validator

from custody.runtime.configuration import ConfiguredPath, Section, read_secret

BACKUP_SECTION = """\
[backup]
# `{program} backup create` writes its files into this folder. Copy them to another host as well:
# docs/how-to/back-up.md.
folder = "backups"
# The age public keys that a backup is encrypted to: "age1..." as `age-keygen` prints it, or
# "ssh-ed25519 ...". Name several people. Their private keys do not belong on this host.
recipients = []
# `{program} backup prune` keeps the backups of this many days, at least this many of the newest,
# and always the newest one that `{program} backup verify` found good.
keep_days = 35
keep_count = 7
# `backup verify` creates a database, and drops it afterwards. Default: on the server of [database].
# scratch_url = "postgresql://user@host:port/postgres"   # with a password: scratch_url_file = "..."

"""


class BackupSection(Section):
    """[backup]: where backups go, who can open them, and how long they stay."""

    folder: ConfiguredPath
    recipients: tuple[str, ...] = ()
    keep_days: Annotated[int, Field(ge=1)] = 35
    keep_count: Annotated[int, Field(ge=1)] = 7
    scratch_url: str | None = None
    scratch_url_file: ConfiguredPath | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "BackupSection":
        if self.scratch_url is not None and self.scratch_url_file is not None:
            raise ValueError("give either scratch_url or scratch_url_file")
        return self

    def read_scratch_url(self) -> str | None:
        """Return the URL of the server for scratch databases. Raise ConfigurationError."""
        if self.scratch_url_file is not None:
            return read_secret(self.scratch_url_file, "the scratch server's URL").decode()
        return self.scratch_url
