"""What a storage's refusal means, in words for a person."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import NamedTuple

from cloudmesh.sparknomad.errors import (
    CredentialError,
    NotFoundError,
    SparknomadError,
    StorageError,
)
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.url import StorageURL

__all__ = ["explained", "hint_for", "storage_error"]


class _Cause(NamedTuple):
    """A pattern of a message, and what to do; ``{0}`` stands for the pattern's first group."""

    pattern: str
    hint: str
    credentials: bool = False


_CAUSES = (
    _Cause(
        r"RequestTimeTooSkewed|time too skewed|clock skew|Date header|not yet valid",
        "The clock of this host differs from the storage's; set it (for instance by NTP).",
    ),
    _Cause(
        r"InvalidAccessKeyId|access key id you provided does not exist",
        "The access key is not known there: wrong key, or keys of another cloud.",
        credentials=True,
    ),
    _Cause(
        r"SignatureDoesNotMatch|signature we calculated|MAC signature|AuthenticationFailed",
        "The secret key is wrong, or the region.",
        credentials=True,
    ),
    _Cause(
        r"invalid_grant|Invalid JWT|is no RSA key",
        "The service account's key is not known there (any more), or this host's clock is wrong; "
        "make a new key, or set the clock.",
        credentials=True,
    ),
    _Cause(
        r"ExpiredToken|token .*expired|expired.*token|TokenRefreshRequired",
        "The credentials have expired; get new ones.",
        credentials=True,
    ),
    _Cause(
        r"expecting '([\w-]+)'",
        "The bucket is in another region; set the profile's region to {0}.",
    ),
    _Cause(
        r"AuthorizationHeaderMalformed|permanent redirect|AWSRedirectException|PermanentRedirect|"
        r"IllegalLocationConstraint|region .*(is wrong|mismatch)",
        "The bucket is in another region; set the profile's region.",
    ),
    _Cause(
        r"NoSuchBucket|specified bucket does not exist|ContainerNotFound|"
        r"container does not exist|bucket.*not found",
        "There is no such bucket or container; make it, or mend the profile's URL.",
    ),
    _Cause(
        r"WRONG_VERSION_NUMBER|record layer failure|Unsupported or unrecognized SSL message",
        "The server speaks no TLS at this port; write http:// in the profile's endpoint, or "
        "another port.",
    ),
    _Cause(
        r"No (subject alternative|name matching)|Hostname mismatch|IP address mismatch",
        "The server's certificate is for another name; write that in the profile's endpoint.",
    ),
    _Cause(
        # Java's words.
        r"PKIX|SunCertPath|certificate_unknown",
        "Java on the workers does not trust the server's certificate; name its CA in the profile "
        "(ca: FILE).",
    ),
    _Cause(
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerification|SSLError|certificate",
        "The server's certificate is not trusted; name its CA in the profile (ca: FILE).",
    ),
    _Cause(
        r"ProxyError|ProxyConnectionError|proxy",
        "A proxy stands in between, and lets nothing through; see HTTPS_PROXY and NO_PROXY on "
        "this machine, and in a cluster the profile's options fs.s3a.proxy.host and .port.",
    ),
    _Cause(
        # An answer of S3 has a code and the request's id.
        r"An error occurred \(\)|An error occurred \(40[357]\)|Request ID: null\):(null|40[357])",
        "What answers is not the storage: a proxy or a firewall stands in between, or the "
        "profile's endpoint is that of something else.",
    ),
    _Cause(
        r"Name or service not known|getaddrinfo|name resolution|NXDOMAIN|nodename nor servname|"
        r"UnknownHost",
        "The endpoint's name can't be resolved; mend the profile's endpoint, or DNS.",
    ),
    _Cause(
        r"Connection refused|Connect call failed|Cannot connect|Could not connect|"
        r"unreachable|No route to host",
        "Nothing answers at the endpoint; mend the profile's endpoint, or start the server.",
    ),
    _Cause(r"SlowDown|503|Service Unavailable|reduce your request rate", "Try again later."),
    _Cause(r"timed? ?out|Timeout", "The storage did not answer in time; try again."),
    _Cause(
        r"No space left|ENOSPC|QuotaExceeded|InsufficientStorage",
        "The storage is full; make room.",
    ),
    _Cause(
        r"Access ?Denied|PermissionError|Forbidden|403|401|Unauthorized|Permission denied|"
        r"Unable to locate "
        r"credentials|NoCredentials|Anonymous caller|AuthorizationFailure|DefaultCredentials",
        "The credentials do not allow it, or there are none; see what the profile names.",
        credentials=True,
    ),
)


def _cause(text: str) -> _Cause | None:
    return next((each for each in _CAUSES if re.search(each.pattern, text, re.IGNORECASE)), None)


def hint_for(text: str) -> str:
    """What to do about an error that a storage's library told; empty if that is not known."""
    cause = _cause(text)
    return _hint(cause, text) if cause else ""


def _hint(cause: _Cause, text: str) -> str:
    found = re.search(cause.pattern, text, re.IGNORECASE)
    return cause.hint.format(*found.groups()) if found else cause.hint


def _chain(error: BaseException) -> str:
    told: list[str] = []
    current: BaseException | None = error
    while current is not None and len(told) < 6:
        text = " ".join(str(current).split())
        told.append(f"{type(current).__name__}: {text}" if text else type(current).__name__)
        current = current.__cause__ or current.__context__
    return " / ".join(told)


def _meant(error: BaseException) -> BaseException:
    """Why something was not found: fsspec's web storage says so of all that goes wrong."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or cause is None:
        return error
    is_web = type(cause).__module__.startswith("aiohttp.")
    return cause if is_web and getattr(cause, "status", None) not in (404, 410) else error


def storage_error(
    error: BaseException, profile: StorageProfile, verb: str, url: StorageURL | None = None
) -> SparknomadError:
    """Our own error for what a storage's library has raised.

    Args:
        error: what was raised.
        profile: of the storage.
        verb: what was tried.
        url: with what; the profile itself if not given.
    """
    error = _meant(error)
    subject = str(url).removesuffix(":") if url else f"storage profile {profile.name!r}"
    whole = _chain(error)
    cause = _cause(f"{verb}: {whole}")
    if isinstance(error, FileNotFoundError) and not (cause and "bucket" in cause.hint):
        return NotFoundError(f"{subject}: there is nothing of this name.")
    text = f"Could not {verb} {subject}: {whole.split(' / ')[0][:500].rstrip('.')}."
    hint = _hint(cause, f"{verb}: {whole}") if cause else ""
    if cause and cause.credentials:
        return CredentialError(text, hint=hint)
    return StorageError(text, hint=hint)


@contextlib.contextmanager
def explained(profile: StorageProfile, verb: str, url: StorageURL | None = None) -> Iterator[None]:
    """Turn whatever a storage's library raises into `storage_error`."""
    try:
        yield
    except (SparknomadError, KeyboardInterrupt, ImportError):
        raise
    except Exception as error:  # each library has errors of its own
        raise storage_error(error, profile, verb, url) from error
