"""What a run needs of the user's machine, brought into the cluster's HDFS before it is sent."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from cloudmesh.sparknomad.cluster.definition import Definition, run_document
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfs
from cloudmesh.sparknomad.model import Submission

__all__ = ["bring", "payload"]

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
        _upload(hdfs, artifact.path, f"{_ARTIFACTS}/{artifact.sha256}")
    for file in submission.inputs:
        for source, place in file.files():
            _upload(hdfs, source, f"{_INPUTS}/{place}")


def payload(hdfs: WebHdfs, directory: Path, submission: Submission) -> bytes:
    """The run's document; large arguments go through HDFS, for Nomad takes 16 KiB.

    Args:
        hdfs: the cluster's.
        directory: for a file of large arguments, while it is uploaded.
        submission: the run.

    Raises:
        WebHdfsError: if HDFS does not take the arguments.
    """
    document = run_document(submission, time.time())
    whole = json.dumps(document).encode()
    if len(whole) <= _PAYLOAD_LIMIT:
        return whole
    text = json.dumps(document.pop("arguments")).encode()
    digest = hashlib.sha256(text).hexdigest()
    file = directory / f".arguments-{submission.run}"
    try:
        file.write_bytes(text)
        _upload(hdfs, file, f"{_ARTIFACTS}/{digest}")
    finally:
        file.unlink(missing_ok=True)
    return json.dumps({**document, "arguments_sha256": digest}).encode()
