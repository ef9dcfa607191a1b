"""The parts of every process: configuration, batching, TLS, logs, console."""
