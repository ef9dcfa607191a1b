"""Drills: each scenario of docs/how-to/recover, carried out for real on throw-away parts.

A scenario is one file of ``scenarios/``; its name with dashes is the scenario's name. The file
defines ``SCENARIO``. Its function gets a ``Drill``, which measures and compares.
"""
