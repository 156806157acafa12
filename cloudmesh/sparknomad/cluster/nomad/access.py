"""Reaching a cluster's own servers: directly on this machine, else by the cluster's gateway."""

from __future__ import annotations

import json
import ssl
import urllib.request
from functools import cached_property
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.errors import UnreachableError
from cloudmesh.sparknomad.incluster.direct import get_json
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfs
from cloudmesh.sparknomad.model_storage import ClusterStorage

__all__ = ["Access"]

_SECONDS = 5
_HINT = "See `cms sparknomad cluster status`; deploy the cluster again."


class Access:
    """The servers of one cluster.

    Args:
        nomad: knows their addresses, our token, and our certificate if there is one.
        site: whose servers are meant, where the cluster has sites.
    """

    def __init__(self, nomad: Nomad, site: str = "") -> None:
        self.nomad = nomad
        self.site = site

    def address(self, service: str) -> str:
        """The address of a service, or an empty string."""
        found = self.nomad.service(f"{service}-{self.site}" if self.site else service)
        return found[0] if found else ""

    @property
    def _way(self) -> str:
        """The service that is reached itself when the cluster's HDFS is asked."""
        return "gateway" if self.nomad.certificate else "hdfs-http"

    def _outside(self) -> str:
        """Where we reach the cluster's HDFS; empty if it is not there."""
        host, colon, port = self.address(self._way).rpartition(":")
        return f"{self.nomad.outside.get(host, host)}{colon}{port}"

    def url(self, service: str) -> str:
        """Where a service's pages are for us; empty if it is not there."""
        if not self.nomad.certificate:
            address = self.address(service)
            return f"http://{address}" if address else ""
        gateway = self._outside()
        return f"https://{gateway}/service/{service}" if gateway else ""

    def json(self, service: str, path: str) -> Any:
        """What a service answers.

        Raises:
            OSError: if it does not answer.
            ValueError: if that is no JSON.
        """
        url = self.url(service)
        if not url:
            raise ConnectionError(f"there is no {service}")
        if not self._tls:
            return get_json(url + path, _SECONDS)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self._tls)
        )
        request = urllib.request.Request(url + path, headers=self._headers)
        with opener.open(request, timeout=_SECONDS) as answer:
            return json.load(answer)

    @property
    def _headers(self) -> dict[str, str]:
        return {"X-Nomad-Token": self.nomad.token}

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        shown = self.nomad.certificate
        if not shown:
            return None
        context = ssl.create_default_context(cafile=str(shown.authority))
        context.load_cert_chain(shown.certificate, shown.key)
        return context

    def hdfs(self, patience: float = 30) -> WebHdfs:
        """The cluster's HDFS.

        Args:
            patience: seconds for which requests are tried again.

        Raises:
            UnreachableError: if nothing of it is there.
        """
        address = self._outside()
        if not address:
            raise UnreachableError("The cluster's HDFS is not there.", hint=_HINT)
        if not self._tls:
            return WebHdfs(address, patience=patience)
        return WebHdfs(
            f"https://{address}", patience=patience, tls=self._tls, headers=self._headers
        )

    def storage(self, name: str) -> ClusterStorage:
        """Where the cluster's HDFS is for Hadoop, and for us.

        Args:
            name: of the cluster.

        Raises:
            UnreachableError: if it is not there.
        """
        inside, outside = self.address("hdfs"), self._outside()
        if not inside or not outside:
            raise UnreachableError(f"The HDFS of cluster {name!r} does not answer.", hint=_HINT)
        url = f"hdfs://{inside}/sparknomad/"
        shown = self.nomad.certificate
        if not shown:
            return ClusterStorage(url, f"http://{outside}")
        options = {
            "certificate": str(shown.certificate),
            "key": str(shown.key),
            "token_file": str(shown.certificate.with_name("token")),
        }
        return ClusterStorage(url, f"https://{outside}", str(shown.authority), options)
