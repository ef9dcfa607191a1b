"""Recovery of private keys from share copies (Layer 4), without network, database, configuration.

One command, ``restore-signer``, runs on a signer's host, and needs that signer's configuration.
"""
