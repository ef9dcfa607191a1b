"""PKCS#11 modules that the tests run against, beside SoftHSM."""
