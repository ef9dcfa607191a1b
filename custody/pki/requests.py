"""Certificate signing requests (PKCS#10, RFC 2986): made on a host, checked at the authority.

Pure. The authority takes only the public key from a request. Everything else in the certificate is
what the operator has stated.
"""

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID


class BadRequest(ValueError):
    """The request must not be signed; the text says why."""


def make_request(
    name: str, names: x509.SubjectAlternativeName, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateSigningRequest:
    """Make a request that its own key signs: that proves possession of the key."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return builder.add_extension(names, critical=False).sign(key, SHA256())


def check_request(
    request: x509.CertificateSigningRequest, expected: x509.SubjectAlternativeName
) -> ec.EllipticCurvePublicKey:
    """Return the public key of a request for exactly the expected names. Raise BadRequest.

    Other attributes and extensions of the request are not read: nothing of them gets into the
    certificate.
    """
    try:
        key = request.public_key()
    except ValueError as error:  # also UnsupportedAlgorithm's parent in some versions
        raise BadRequest(f"its public key cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise BadRequest("its key is not a P-256 key, the only kind that pki certifies")
    if request.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA256:
        raise BadRequest("it is not signed with ECDSA and SHA-256")
    if not request.is_signature_valid:
        raise BadRequest("its signature is wrong: it does not prove possession of the private key")
    found = names_in(request)
    if found != _shown(expected):
        raise BadRequest(
            f"it is for {', '.join(sorted(found)) or 'no name'}, and not for "
            f"{', '.join(sorted(_shown(expected)))}"
        )
    return key


def names_in(request: x509.CertificateSigningRequest) -> set[str]:
    """Return the names that a request asks for, in words. Raise BadRequest."""
    try:
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    except ValueError as error:
        raise BadRequest(f"its extensions cannot be read: {error}") from None
    return _shown(names)


def _shown(names: x509.SubjectAlternativeName) -> set[str]:
    return {f"{type(each).__name__} {each.value}" for each in names}
