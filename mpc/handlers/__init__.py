"""What a signer does for each kind of job."""
