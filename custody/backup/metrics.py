"""Prometheus metrics of backups, read from the state directory at each scrape."""

from prometheus_client import CollectorRegistry, Gauge

from custody.backup.history import BackupHistory


class BackupMetrics:
    """The last backup and the last verification of this host. Each is 0 if there was none."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.created = Gauge(
            "custody_backup_last_seconds",
            "Unix time of the last backup that this host made; 0 for none",
            registry=registry,
        )
        self.size = Gauge(
            "custody_backup_last_bytes",
            "Size of the last backup that this host made",
            registry=registry,
        )
        self.verified = Gauge(
            "custody_backup_last_verified_seconds",
            "Unix time of the newest backup that `backup verify` found good on this host; 0 for "
            "none",
            registry=registry,
        )

    def watch(self, history: BackupHistory) -> None:
        """Read the history whenever somebody asks for the metrics."""

        def created() -> float:
            backup = history.created()
            return 0.0 if backup is None else backup.created_at.timestamp()

        def size() -> float:
            backup = history.created()
            return 0.0 if backup is None else float(backup.size)

        def verified() -> float:
            return max((each.created_at.timestamp() for each in history.verified()), default=0.0)

        self.created.set_function(created)
        self.size.set_function(size)
        self.verified.set_function(verified)
