"""The control plane: takes applications' requests, and has nodes do them. It holds no key."""
