"""The handlers of a signer: one for each kind of job."""
