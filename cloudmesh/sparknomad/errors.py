"""The exceptions of sparknomad, one tree for the command line, REST and Python.

::

    SparknomadError                 error                 exit 1    http 500
    ├── InputError                  input_invalid         exit 2    http 400
    │   ├── SpecError               spec_invalid          exit 2    http 400
    │   └── ParameterError          parameter_invalid     exit 2    http 400
    ├── NotFoundError               not_found             exit 4    http 404
    ├── ConflictError               conflict              exit 1    http 409
    ├── ForbiddenError              forbidden             exit 1    http 403
    ├── StorageError                storage_failed        exit 1    http 502
    │   └── CredentialError         credentials_missing   exit 1    http 424
    ├── DependencyError             dependency_missing    exit 1    http 424
    ├── DownloadError               download_failed       exit 1    http 502
    ├── ImageError                  image_failed          exit 1    http 500
    ├── ComputeError                compute_failed        exit 1    http 502
    ├── ClusterError                cluster_failed        exit 1    http 502
    │   ├── UnreachableError        cluster_unreachable   exit 1    http 503
    │   │   └── TrustError          certificate_refused   exit 1    http 503
    │   └── LeftoverError           leftovers             exit 1    http 500
    ├── WaitTimeoutError            timeout               exit 1    http 504
    ├── RunFailedError              run_failed            exit 3    http 200
    └── InterruptedByUserError      interrupted           exit 130  http 499

Every message says what was tried, what happened and what to do.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ClusterError",
    "ComputeError",
    "ConflictError",
    "CredentialError",
    "DependencyError",
    "DownloadError",
    "ForbiddenError",
    "ImageError",
    "InputError",
    "InterruptedByUserError",
    "LeftoverError",
    "NotFoundError",
    "ParameterError",
    "RunFailedError",
    "SparknomadError",
    "SpecError",
    "StorageError",
    "TrustError",
    "UnreachableError",
    "WaitTimeoutError",
]


class SparknomadError(Exception):
    """Root of all errors that sparknomad raises on purpose.

    Args:
        message: what was tried and what happened, as one sentence or a few lines.
        hint: what the user can do about it, or an empty string.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class InputError(SparknomadError):
    """The user's input can't be used: nothing was started."""

    code = "input_invalid"
    exit_code = 2
    http_status = 400


class SpecError(InputError):
    """A spec file has wrong or missing fields."""

    code = "spec_invalid"


class ParameterError(InputError):
    """A run's parameters do not fit what its job declares."""

    code = "parameter_invalid"


class NotFoundError(SparknomadError):
    """No cluster, image, job, run, group or compute has the name that was given."""

    code = "not_found"
    exit_code = 4
    http_status = 404


class ConflictError(SparknomadError):
    """What was asked contradicts what is there already."""

    code = "conflict"
    http_status = 409


class ForbiddenError(SparknomadError):
    """The token that this machine has for the cluster may not do that."""

    code = "forbidden"
    http_status = 403


class StorageError(SparknomadError):
    """A storage did not do what was asked of it."""

    code = "storage_failed"
    http_status = 502


class CredentialError(StorageError):
    """The credentials of a storage or a cloud are not there, or are refused."""

    code = "credentials_missing"
    http_status = 424


class DependencyError(SparknomadError):
    """A program that is needed on this machine is missing or too old."""

    code = "dependency_missing"
    http_status = 424


class DownloadError(SparknomadError):
    """A file could not be fetched, or is not the file that was expected."""

    code = "download_failed"
    http_status = 502


class ImageError(SparknomadError):
    """An image could not be built, or failed its check."""

    code = "image_failed"


class ComputeError(SparknomadError):
    """A cloud did not do what was asked of its machines."""

    code = "compute_failed"
    http_status = 502


class ClusterError(SparknomadError):
    """A provider could not do what was asked of its cluster."""

    code = "cluster_failed"
    http_status = 502


class UnreachableError(ClusterError):
    """The cluster does not answer."""

    code = "cluster_unreachable"
    http_status = 503


class TrustError(UnreachableError):
    """A certificate has ended, or is of another authority."""

    code = "certificate_refused"


class LeftoverError(ClusterError):
    """Something of a destroyed cluster or group is still there; it stays listed."""

    code = "leftovers"
    http_status = 500


class WaitTimeoutError(SparknomadError):
    """What was waited for did not happen in time."""

    code = "timeout"
    http_status = 504


class RunFailedError(SparknomadError):
    """The run was executed and did not succeed."""

    code = "run_failed"
    exit_code = 3
    http_status = 200


class InterruptedByUserError(SparknomadError):
    """Ctrl-C, or a termination signal."""

    code = "interrupted"
    exit_code = 130
    http_status = 499
