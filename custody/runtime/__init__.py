"""What every process of ours is made of: configuration, database, batching, TLS, logs, console."""
