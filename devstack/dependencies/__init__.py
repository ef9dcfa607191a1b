"""Checks of the dependencies (licences, sources, vulnerabilities), and lists of components."""
