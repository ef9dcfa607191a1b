"""Import: shares of a key that an application, or another signer group, already has."""
