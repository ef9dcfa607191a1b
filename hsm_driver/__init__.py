"""The driver does the control plane's jobs with keys that only its HSM can unwrap."""
