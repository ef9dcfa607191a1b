"""The control plane: takes applications' requests, and has nodes do them. Holds no key of theirs."""
