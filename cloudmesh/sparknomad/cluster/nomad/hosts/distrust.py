"""Why a TLS connection was not made, in words that say what to do."""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator

from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Certificate, ends, is_of
from cloudmesh.sparknomad.errors import TrustError

__all__ = ["explain"]

# https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_NOT_YET, _EXPIRED, _OTHER_NAME = 9, 10, 62
_ROTATE = (
    "An operator makes new ones with `cms sparknomad cluster rotate`, which works by SSH also "
    "when they have ended; whoever has a token's bundle asks the operator for a new one."
)
_OTHER = (
    "If the certificates were rotated elsewhere, import a new bundle (`cluster export` or "
    "`token create --bundle` there, `cluster import` here). If they were not, somebody may "
    "stand between you and the cluster: do not go on."
)


def _chain(error: object) -> Iterator[BaseException]:
    """An exception with all that it was made from, also inside of its arguments."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def explain(error: object, address: str, shown: Certificate | None) -> None:
    """Tell what is wrong with the certificates, if that is why a connection was not made.

    Args:
        error: that the connection ended with.
        address: of the other side.
        shown: our certificate.

    Raises:
        TrustError: if it is the certificates.
    """
    if not shown:
        return
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            raise TrustError(_about_theirs(each, address, shown), hint=_hint(each.verify_code))
    now = datetime.datetime.now(datetime.UTC)
    own = ends(shown.certificate)
    refused = any(isinstance(each, ssl.SSLError | ConnectionError) for each in chain)
    if refused and own is not None and own < now:
        raise TrustError(
            f"The certificate with which this machine asks the cluster at {address} "
            f"({shown.certificate}) ended at {own:%Y-%m-%d %H:%M:%S} UTC.",
            hint=_ROTATE,
        )
    # An alert of the other side gets lost where it closes the connection at once.
    told = " ".join(str(each) for each in chain).lower()
    unknown = "alert" in told and ("unknown ca" in told or "bad certificate" in told)
    if unknown or (refused and not is_of(shown)):
        raise TrustError(
            f"The cluster at {address} does not trust the authority of this machine's "
            f"certificate ({shown.certificate}).",
            hint=_OTHER,
        )
    if "alert" in told and "expired" in told:
        raise TrustError(
            f"The cluster at {address} says that this machine's certificate has ended "
            f"({shown.certificate}).",
            hint="Compare the clocks. " + _ROTATE,
        )


def _about_theirs(error: ssl.SSLCertVerificationError, address: str, shown: Certificate) -> str:
    if error.verify_code == _EXPIRED:
        return f"The certificate of the cluster at {address} has ended."
    if error.verify_code == _NOT_YET:
        return f"The certificate of the cluster at {address} is not valid yet."
    if error.verify_code == _OTHER_NAME:
        return f"The certificate that {address} shows is another machine's."
    return (
        f"The certificate that {address} shows is not signed by the cluster's authority "
        f"({shown.authority})."
    )


def _hint(code: int) -> str:
    if code in (_EXPIRED, _NOT_YET):
        return f"Compare the clocks of this machine and the hosts. {_ROTATE}"
    return _OTHER
