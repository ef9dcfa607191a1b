"""Certificates for mutual TLS: the pki command."""
