"""The HSM: wrapped keys, the worker processes that speak PKCS#11, and the one facade over them."""
