"""What a run needs of the user's machine, brought into the cluster's HDFS before it is sent."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from cloudmesh.sparknomad.cluster.definition import Definition, run_document
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfs
from cloudmesh.sparknomad.model import Submission

__all__ = ["bring", "bring_file", "bring_text", "payload"]

_PAYLOAD_LIMIT = 16_384
_ARTIFACTS = "/sparknomad/artifacts"
_INPUTS = "/sparknomad/inputs"


def _upload(hdfs: WebHdfs, source: Path, target: str) -> None:
    if hdfs.size(target) != source.stat().st_size:
        hdfs.put(source, target)


def bring(hdfs: WebHdfs, definition: Definition, submission: Submission) -> None:
    """Upload a run's program, dependencies and local inputs, unless they are there.

    Raises:
        WebHdfsError: if HDFS does not take them.
    """
    for artifact in definition.artifacts:
        bring_file(hdfs, artifact.path, artifact.sha256)
    for file in submission.inputs:
        for source, place in file.files():
            _upload(hdfs, source, f"{_INPUTS}/{place}")


def bring_text(hdfs: WebHdfs, directory: Path, run: str, text: bytes) -> str:
    """Upload a text among the artifacts, where every token may write; its SHA-256.

    Args:
        hdfs: the cluster's.
        directory: for a file of it, while it is uploaded.
        run: that it belongs to.
        text: itself.

    Raises:
        WebHdfsError: if HDFS does not take it.
    """
    digest = hashlib.sha256(text).hexdigest()
    file = directory / f".text-{run}"
    try:
        file.write_bytes(text)
        bring_file(hdfs, file, digest)
    finally:
        file.unlink(missing_ok=True)
    return digest


def bring_file(hdfs: WebHdfs, file: Path, sha256: str) -> None:
    """Upload a file among the artifacts, unless it is there.

    Raises:
        WebHdfsError: if HDFS does not take it.
    """
    _upload(hdfs, file, f"{_ARTIFACTS}/{sha256}")


def payload(
    hdfs: WebHdfs,
    directory: Path,
    submission: Submission,
    definition: Definition | None = None,
    *,
    whole: bool = False,
) -> bytes:
    """The run's document; large arguments go through HDFS, for Nomad takes 16 KiB.

    Args:
        hdfs: the cluster's.
        directory: for a file of large arguments, while it is uploaded.
        submission: the run.
        definition: of its job, where Nomad's job does not have it.
        whole: whether nothing of it may lie apart: no launch of a schedule puts its ids in there.

    Raises:
        WebHdfsError: if HDFS does not take the arguments.
        InputError: if what can't go through HDFS is too large.
    """
    document = run_document(submission, time.time())
    if definition:
        document["definition"] = definition.document
    text = json.dumps(document)
    if len(text.encode()) <= _PAYLOAD_LIMIT:
        return text.encode()
    if whole:
        raise InputError(
            f"job {submission.job.job}: its parameters are too large for a schedule: Nomad takes "
            "16 KiB of a run.",
            hint="Put what is large into a file, and give its URL.",
        )
    arguments = json.dumps(document.pop("arguments")).encode()
    digest = bring_text(hdfs, directory, submission.run, arguments)
    small = json.dumps({**document, "arguments_sha256": digest}).encode()
    if len(small) > _PAYLOAD_LIMIT:
        raise InputError(
            f"What Nomad is sent of job {submission.job.job!r} has {len(small):,} bytes; at most "
            f"{_PAYLOAD_LIMIT:,} fit.",
            hint="Use fewer dependencies, parameters that are staged, or lines of conf.",
        )
    return small
