"""What a bucket permits, found by doing. Each check puts at most one small object."""

from collections.abc import Iterator
from typing import Any

from custody.runtime.checks import Check, Status
from custody.s3.bucket import Bucket, Stored
from custody.s3.faults import FaultKind, S3Fault

VERSIONING = "versioning"
OBJECT_LOCK = "object lock"
ALLOW_READING = (
    "Allow s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration on the bucket, or check "
    "as its administrator."
)
ONLY_PUT = "Allow these credentials s3:PutObject below the prefix, and nothing else on objects."
TURN_ON_LOCK = (
    "Create a bucket with object lock, and give it a default retention: aws s3api "
    "put-object-lock-configuration"
)


def check_bucket(bucket: Bucket, name: str, content: bytes, elsewhere: str) -> Iterator[Check]:
    """Yield what credentials may do with an object of the given name, which is put first.

    ``elsewhere``: a name below a prefix that is not this program's.
    """
    try:
        put = bucket.put_new(name, content)
    except S3Fault as fault:
        yield Check("may put", Status.FAIL, fault.what, fault.todo)
        return
    yield Check("may put", Status.OK, name)
    yield _second_put(bucket, name, content)
    yield _forbidden(bucket, "may not get", Status.WARN, "get_object", Key=name)
    yield _forbidden(
        bucket, "may not list", Status.WARN, "list_objects_v2", Prefix=bucket.settings.prefix
    )
    yield _overwriting(bucket, name, content)
    yield _elsewhere(bucket, elsewhere, content)
    yield _versioning(bucket, put)
    yield object_lock_check(bucket)
    yield _forbidden(bucket, "may not delete", Status.FAIL, "delete_object", Key=name)
    if put.version is not None:
        yield _forbidden(
            bucket,
            "may not delete a version",
            Status.FAIL,
            "delete_object",
            Key=name,
            VersionId=put.version,
        )


def versioning_check(bucket: Bucket) -> Check:
    """Check versioning by reading the bucket's setting. Changes nothing."""
    try:
        status = bucket.call("get_bucket_versioning").get("Status")
    except S3Fault as fault:
        if fault.kind is FaultKind.DENIED and fault.code == "AccessDenied":
            return Check(VERSIONING, Status.WARN, "cannot be read", ALLOW_READING)
        return Check(VERSIONING, Status.FAIL, fault.what, fault.todo)
    if status != "Enabled":
        return _versioning_is_off()
    return Check(VERSIONING, Status.OK, "on")


def object_lock_check(bucket: Bucket) -> Check:
    """Check object lock by reading the bucket's setting. Changes nothing."""
    try:
        answer = bucket.call("get_object_lock_configuration")
    except S3Fault as fault:
        if fault.code == "ObjectLockConfigurationNotFoundError":
            return Check(OBJECT_LOCK, Status.FAIL, "off", TURN_ON_LOCK)
        if fault.kind is FaultKind.DENIED:
            return Check(OBJECT_LOCK, Status.WARN, "cannot be read", ALLOW_READING)
        return Check(OBJECT_LOCK, Status.WARN, f"not checked: {fault.what}", fault.todo)
    found = answer.get("ObjectLockConfiguration", {})
    retention = found.get("Rule", {}).get("DefaultRetention", {})
    if found.get("ObjectLockEnabled") != "Enabled":
        return Check(OBJECT_LOCK, Status.FAIL, "off", TURN_ON_LOCK)
    length = next(
        (f"{retention[unit]} {unit}" for unit in ("Years", "Days") if unit in retention), ""
    )
    if not length:
        return Check(
            OBJECT_LOCK,
            Status.FAIL,
            "on, without a default retention: it keeps nothing",
            TURN_ON_LOCK,
        )
    if retention.get("Mode") != "COMPLIANCE":
        return Check(
            OBJECT_LOCK,
            Status.WARN,
            f"{retention.get('Mode')}, {length}: some administrators may delete objects earlier",
            "Use the mode COMPLIANCE.",
        )
    return Check(OBJECT_LOCK, Status.OK, f"COMPLIANCE, {length}")


def _second_put(bucket: Bucket, name: str, content: bytes) -> Check:
    subject = "refuses a taken name"
    try:
        again = bucket.put_new(name, content)
    except S3Fault as fault:
        return Check(subject, Status.WARN, f"not checked: {fault.what}", fault.todo)
    if again.is_new:
        return Check(
            subject,
            Status.WARN,
            "the server ignores If-None-Match: a retry stores another version of the same bytes",
            "Use a server that supports conditional writes.",
        )
    return Check(subject, Status.OK, "412")


def _forbidden(
    bucket: Bucket, subject: str, if_allowed: Status, operation: str, **parameters: Any
) -> Check:
    try:
        bucket.call(operation, **parameters)
    except S3Fault as fault:
        if fault.kind is FaultKind.DENIED:
            return Check(subject, Status.OK, "denied")
        return Check(subject, Status.WARN, f"not checked: {fault.what}", fault.todo)
    return Check(subject, if_allowed, f"{operation} is allowed", ONLY_PUT)


def _overwriting(bucket: Bucket, name: str, content: bytes) -> Check:
    subject = "may not overwrite"
    try:
        stored = bucket.overwrite(name, content)
    except S3Fault as fault:
        if fault.kind is FaultKind.DENIED:
            return Check(subject, Status.OK, "denied without If-None-Match")
        return Check(subject, Status.WARN, f"not checked: {fault.what}", fault.todo)
    if stored.version is None:
        return Check(subject, Status.FAIL, "a put replaces an object", "Turn versioning on.")
    return Check(subject, Status.OK, "a put makes another version, and the first one stays")


def _elsewhere(bucket: Bucket, name: str, content: bytes) -> Check:
    subject = "may not put elsewhere"
    try:
        bucket.put_new(name, content)
    except S3Fault as fault:
        if fault.kind is FaultKind.DENIED:
            return Check(subject, Status.OK, f"{name}: denied")
        return Check(subject, Status.WARN, f"not checked: {fault.what}", fault.todo)
    return Check(subject, Status.FAIL, f"{name} could be put", ONLY_PUT)


def _versioning(bucket: Bucket, put: Stored) -> Check:
    """Return what the put has shown: only a bucket with versioning answers with a version id."""
    if put.version is not None and put.version != "null":
        return Check(VERSIONING, Status.OK, "on")
    if put.is_new:
        return _versioning_is_off()
    return versioning_check(bucket)


def _versioning_is_off() -> Check:
    return Check(VERSIONING, Status.FAIL, "off", "Turn it on: aws s3api put-bucket-versioning")
