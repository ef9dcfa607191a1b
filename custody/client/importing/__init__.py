"""Importing of private keys: parsing of formats, splitting for signers, sealing. Pure.

No function here reads a file or sends anything. Private keys are Python objects while they are
imported: Python cannot promise to wipe them. So import in a process that ends afterwards, writes
no core files and shows no local variables in error reports.
"""
