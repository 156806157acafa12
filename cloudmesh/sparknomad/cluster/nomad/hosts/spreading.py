"""Bringing Nomad and the image to hosts: once over the user's line, then from host to host."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cloudmesh.sparknomad.cluster.nomad.hosts.facts import Facts
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script
from cloudmesh.sparknomad.compute.ssh import HostError, Shell
from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.packing import Packed

__all__ = ["Goods", "spread", "wanted"]

_UNPACK_SECONDS = 900
_FETCHES = 8


@dataclass(frozen=True)
class Goods:
    """What every host needs.

    Attributes:
        directory: on the hosts.
        nomad: the agent's program.
        image: the first 32 digits of the image's id.
        layers: of the image, the lowest first.
    """

    directory: str
    nomad: Packed
    image: str
    layers: tuple[Packed, ...]

    @property
    def needed_disk(self) -> int:
        """Bytes that a host without any of it has to have free."""
        packed = (self.nomad, *self.layers)
        return sum(each.size + each.unpacked for each in packed) + 1024**3


def wanted(goods: Goods, facts: Facts, *, worker: bool) -> list[Packed]:
    """What a host has to get. Pure."""
    found = [] if facts.nomad == goods.nomad.content else [goods.nomad]
    return found if not worker or goods.image in facts.images else [*found, *goods.layers]


async def spread(
    goods: Goods,
    shells: Mapping[str, Shell],
    needs: Mapping[str, Sequence[Packed]],
    addresses: Mapping[str, str],
    say: Callable[[str], None],
) -> dict[str, Exception]:
    """Bring every host what it needs.

    The first host gets the files over SSH; it serves them to the others while they fetch.

    Args:
        goods: all that there is.
        shells: the hosts, logged in, by name.
        needs: what each lacks, by name.
        addresses: by which they reach one another.
        say: shows one line of progress.

    Returns:
        What went wrong, by the host's name.
    """
    lacking = [name for name in needs if needs[name]]
    if not lacking:
        return {}
    # The one that lacks most: what it has got serves all others.
    lacking.sort(key=lambda name: -len(needs[name]))
    failed: dict[str, Exception] = {}
    for seed in lacking:
        try:
            await _upload(shells[seed], goods, needs[seed], say)
            await _unpack(shells[seed], goods, needs[seed])
        except SparknomadError as error:  # another may do in its place
            failed[seed] = error
            continue
        others = [name for name in lacking if name != seed and name not in failed]
        if others:
            say(f"{seed} passes them on to {len(others)} other hosts")
            failed |= await _pass_on(goods, seed, shells, needs, addresses, others)
        await _forget(shells[seed], goods)
        break
    return failed


async def _pass_on(
    goods: Goods,
    seed: str,
    shells: Mapping[str, Shell],
    needs: Mapping[str, Sequence[Packed]],
    addresses: Mapping[str, str],
    others: Sequence[str],
) -> dict[str, Exception]:
    has_image = len(needs[seed]) > 1
    if not has_image:  # without the image there is no Python to serve by
        return await _each(others, lambda name: _send_all(shells[name], goods, needs[name]))
    token = secrets.token_hex(16)
    place = addresses[seed]
    slots = asyncio.Semaphore(_FETCHES)
    async with shells[seed].running(_server(goods, place, token)) as line:
        base = f"http://{place}:{int(await line())}/{token}"

        async def fetch(name: str) -> None:
            async with slots:
                for packed in needs[name]:
                    values = {
                        "url": f"{base}/{packed.digest}",
                        "target": _stored(goods, packed),
                        "digest": packed.digest,
                    }
                    what = f"fetching {packed.name} from {seed}"
                    await shells[name].run(
                        script("fetch", **values), timeout=_UNPACK_SECONDS, name=what
                    )
            await _unpack(shells[name], goods, needs[name])
            await _forget(shells[name], goods)

        return await _each(others, fetch)


async def _each(names: Sequence[str], do: Callable[[str], object]) -> dict[str, Exception]:
    async def one(name: str) -> Exception | None:
        try:
            await do(name)  # type: ignore[misc]
        except Exception as error:
            return error
        return None

    answers = await asyncio.gather(*(one(name) for name in names))
    return {name: answer for name, answer in zip(names, answers, strict=True) if answer}


async def _send_all(shell: Shell, goods: Goods, packed: Sequence[Packed]) -> None:
    await _upload(shell, goods, packed, lambda text: None)
    await _unpack(shell, goods, packed)
    await _forget(shell, goods)


def _server(goods: Goods, address: str, token: str) -> str:
    """Python from the image serves the files; the host need not have any."""
    root = f"{goods.directory}/images/{goods.image}"
    # Of `enter` only the namespaces: what it mounts goes with the process.
    return f"""
set -eu
place='{goods.directory}/store'
exec unshare --mount --fork --kill-child=SIGKILL --propagation private -- /bin/sh -euc '
  mount --bind "$1" "$1"
  mount --bind "$2" "$1/local"
  exec chroot "$1" /usr/bin/python3 /opt/sparknomad/serve.py "$3" "$4" /local
' serve '{root}' "$place" '{address}' '{token}'
"""


def _stored(goods: Goods, packed: Packed) -> str:
    return f"{goods.directory}/store/{packed.digest}"


async def _upload(
    shell: Shell, goods: Goods, files: Sequence[Packed], say: Callable[[str], None]
) -> None:
    total = sum(packed.size for packed in files)
    say(f"{shell.host.name}: sending Nomad and the image ({total // 1024**2} MB)")
    for packed in files:
        target = _stored(goods, packed)
        await shell.upload(packed.path, f"{target}.part", lambda count: None)
        checked = script("check", target=target, digest=packed.digest)
        await shell.run(checked, name=f"checking {packed.name}")


async def _unpack(shell: Shell, goods: Goods, files: Sequence[Packed]) -> None:
    if goods.nomad in files:
        values = {"source": _stored(goods, goods.nomad), "directory": goods.directory}
        placed = script("nomad", **values, digest=goods.nomad.content)
        await shell.run(placed, name="unpacking Nomad")
    layers = [packed for packed in files if packed is not goods.nomad]
    if not layers:
        return
    if len(layers) != len(goods.layers):
        raise HostError(f"{shell.host.name}: layers of the image are missing")
    stored = " ".join(_stored(goods, packed) for packed in layers)
    unpacked = script("unpack", directory=goods.directory, image=goods.image, layers=stored)
    await shell.run(unpacked, timeout=_UNPACK_SECONDS, name="unpacking the image")


async def _forget(shell: Shell, goods: Goods) -> None:
    await shell.run(f"rm -rf '{goods.directory}/store'", name="removing what was sent")
