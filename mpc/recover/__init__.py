"""Recovery of private keys from share copies (Layer 4): offline, without any other part."""
