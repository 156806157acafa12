"""What a run needs of the storages that its parameters name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.incluster.truststore import AUTHORITIES
from cloudmesh.sparknomad.model_storage import RunStorage
from cloudmesh.sparknomad.storage.authorities import authorities_of
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.url import CLUSTER, StorageURL, is_storage_url, parse_url

__all__ = ["resolve_storage"]


@dataclass
class _Merged:
    """Settings of several storages in one Spark application, which has one of each key."""

    values: dict[str, str] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)

    def add(self, owner: str, settings: Mapping[str, str]) -> None:
        for key, value in settings.items():
            if self.values.get(key, value) != value:
                raise InputError(
                    f"Storage profiles {self.owners[key]!r} and {owner!r} both set {key}, to "
                    "different values: one run can't reach both.",
                    hint="Stage one of them, or copy it first: cms sparknomad storage copy.",
                )
            self.values[key] = value
            self.owners.setdefault(key, owner)


def resolve_storage(
    uris: Mapping[str, str], open_storage: Callable[[StorageURL], Storage]
) -> tuple[dict[str, str], RunStorage]:
    """Find what Spark needs for the URLs among a run's parameters.

    Args:
        uris: the values of the parameters of type ``uri``, by name.
        open_storage: opens the storage that a URL lies in, with its credentials.

    Returns:
        The parameters as Hadoop names them, and the settings that the run needs.

    Raises:
        InputError: if two of them can't be used in one run, or a file with certificates can't
            be read.
        CredentialError: if credentials are missing.
    """
    resolved: dict[str, str] = {}
    conf, secrets, spark = _Merged(), _Merged(), _Merged()
    names = []
    origins = {}
    sites = {}
    authorities: dict[str, str] = {}
    for name, text in uris.items():
        if not is_storage_url(text):
            continue
        url = parse_url(text)
        if url.profile == CLUSTER:
            resolved[name] = f"{CLUSTER}:/{url.path}"
            continue
        storage = open_storage(url)
        settings = storage.hadoop(url)
        owner = storage.profile.name
        conf.add(owner, settings.conf)
        secrets.add(owner, settings.secrets)
        spark.add(owner, settings.spark)
        resolved[name] = settings.url
        origins[name] = f"{storage.profile.endpoint}|{settings.url}"
        names.append(owner)
        if storage.profile.ca:
            authorities[owner] = authorities_of(storage.profile)
        if storage.profile.site:
            sites[name] = storage.profile.site
    hadoop = {f"spark.hadoop.{key}": value for key, value in conf.values.items()}
    hidden = {f"spark.hadoop.{key}": value for key, value in secrets.values.items()}
    used = tuple(dict.fromkeys(names))
    conf_values = {**hadoop, **spark.values}
    if authorities:
        conf_values[AUTHORITIES] = "".join(dict.fromkeys(authorities.values()))
    return resolved, RunStorage(used, conf_values, hidden, origins=origins, sites=sites)
