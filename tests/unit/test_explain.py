"""What is said about a storage's refusal: the words are the libraries' own, as they were seen."""

from __future__ import annotations

import pytest

from cloudmesh.sparknomad.errors import CredentialError, NotFoundError, StorageError
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.storage.explain import hint_for, storage_error
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.url import parse_url

PROFILE = build_spec(StorageProfile, {"name": "aws", "url": "s3://bucket/x/"})
JAVA = "AccessDeniedException: s3a://b/x: listObjects() on s3a://b/x: software.amazon.awssdk."


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (
            "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting "
            "'us-east-1' (Service: S3, Status Code: 400, Request ID: tx1)",
            "set the profile's region to us-east-1",
        ),
        (
            "AWSRedirectException: Received permanent redirect response to region eu-west-1. This "
            "likely indicates that the S3 region configured in fs.s3a.endpoint.region does not "
            "match the AWS region containing the bucket.",
            "set the profile's region",
        ),
        ("UnknownHostException: storage.example", "name can't be resolved"),
        ("gaierror: [Errno -2] Name or service not known", "name can't be resolved"),
        ("ConnectException: Connection refused", "Nothing answers at the endpoint"),
        (
            "IOException: the proxy 10.0.0.1:3128: ConnectException: Connection refused",
            "A proxy stands in between",
        ),
        ("SSLHandshakeException: PKIX path building failed", "Java on the workers does not trust"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "name its CA"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "no TLS at this port"),
        ("SSLException: Unsupported or unrecognized SSL message", "no TLS at this port"),
        (
            "CertificateException: No subject alternative names matching IP address found",
            "certificate is for another name",
        ),
        (
            f"{JAVA}S3Exception: The difference between the request time and the current time is "
            "too large. (Service: S3, Status Code: 403, Request ID: null):RequestTimeTooSkewed",
            "clock of this host differs",
        ),
        (
            f"{JAVA}S3Exception: (Service: S3, Status Code: 403, Request ID: null):null",
            "What answers is not the storage",
        ),
        (
            f"{JAVA}S3Exception: Access Denied. (Service: S3, Status Code: 403, Request ID: 18EB)"
            ":AccessDenied",
            "do not allow it",
        ),
        (
            "OSError: An error occurred () when calling the ListObjectsV2 operation:",
            "What answers is not the storage",
        ),
        ("something else altogether", ""),
    ],
)
def test_the_hint_names_what_to_do(text: str, hint: str) -> None:
    told = hint_for(text)
    assert hint in told if hint else told == ""


def test_an_error_names_what_was_tried_once() -> None:
    error = storage_error(PermissionError("Access Denied."), PROFILE, "list", parse_url("aws:"))
    assert isinstance(error, CredentialError)
    assert error.message == "Could not list aws: PermissionError: Access Denied."


def test_a_proxy_is_blamed_where_it_was_the_proxy_that_was_asked() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    direct = storage_error(refused, PROFILE, "reach 10.0.0.1:9000 for")
    proxied = storage_error(refused, PROFILE, "reach the proxy 10.0.0.1:3128 for")
    assert isinstance(direct, StorageError) and "Nothing answers" in direct.hint
    assert "A proxy stands in between" in proxied.hint
    assert "10.0.0.1:3128" in proxied.message


def test_a_missing_bucket_is_not_a_missing_object() -> None:
    missing = storage_error(FileNotFoundError("x"), PROFILE, "read", parse_url("aws:x"))
    assert isinstance(missing, NotFoundError)
    bucket = FileNotFoundError("The specified bucket does not exist.")
    assert "no such bucket" in storage_error(bucket, PROFILE, "list", parse_url("aws:")).hint
