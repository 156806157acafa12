"""Commands about clusters that several people or machines use."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Callable
from pathlib import Path

from cloudmesh.sparknomad.bundles import MINIMUM, TokenInfo
from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    show_plan,
    timeout_of,
)
from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.manager import NAMESPACE, ROTATE_SECONDS

__all__ = ["VERBS"]

_MAY = {
    "": "everything; log in to its hosts with SSH keys of your own",
    "operator": "run jobs, scale it, and see everything; not deploy, destroy or make tokens",
    "submitter": "run jobs, and see and end the runs of its namespace; nothing else",
    "reader": "see the cluster and the runs of its namespace; change nothing",
}


def _name(arguments: Arguments) -> str:
    return arguments["NAME"] or "default"


def _passphrase(arguments: Arguments, *, new: bool) -> str:
    """From a file, else asked for; twice where a typing error could not be undone."""
    path = arguments["--passphrase-file"]
    if path:
        return _from_file(Path(path))
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InputError(
            "A passphrase is needed, and there is no terminal to ask for it.",
            hint=f"Give a file with it: --passphrase-file=FILE (at least {MINIMUM} characters).",
        )
    given = getpass.getpass("Passphrase: ", sys.stderr)
    if new and getpass.getpass("Again: ", sys.stderr) != given:
        raise InputError("The two passphrases differ; nothing was written.")
    return given


def _from_file(path: Path) -> str:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        raise NotFoundError(f"--passphrase-file={path}: there is no such file.") from None
    except UnicodeDecodeError:
        raise InputError(f"--passphrase-file={path}: is no text.") from None
    if not lines or not lines[0]:
        raise InputError(f"--passphrase-file={path}: its first line is empty.")
    return lines[0]


def _token(arguments: Arguments) -> int:
    if arguments["create"]:
        return _token_create(arguments)
    return _token_revoke(arguments) if arguments["revoke"] else _token_list(arguments)


def _token_create(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    bundle = arguments["--bundle"]
    issued = manager.cluster_token_create(
        _name(arguments),
        arguments["--role"],
        namespace=arguments["--namespace"] or NAMESPACE,
        label=arguments["--label"] or "",
        ttl=timeout_of(arguments, None, "--ttl"),
        bundle=Path(bundle) if bundle else None,
        passphrase=_passphrase(arguments, new=True) if bundle else "",
    )
    token = issued.token
    shown = {
        "accessor": token.accessor,
        # With a bundle its user has it; it need not stand on a screen.
        "secret": None if issued.bundle else issued.secret,
        "role": token.role,
        "namespace": token.namespace,
        "label": token.label,
        "expires": token.expires,
        "address": issued.address,
        "bundle": issued.bundle,
    }
    output.record(shown, shown)
    return 0


def _token_list(arguments: Arguments) -> int:
    columns: dict[str, Callable[[TokenInfo], str]] = {
        "ACCESSOR": lambda token: token.accessor,
        "ROLE": lambda token: token.role or "-",
        "NAMESPACE": lambda token: token.namespace or "-",
        "CREATED": lambda token: token.created[:19].replace("T", " "),
        "EXPIRES": lambda token: (token.expires or "never")[:19].replace("T", " "),
        "LABEL": lambda token: token.label,
    }
    tokens = make_manager(arguments).cluster_token_list(_name(arguments))
    make_output(arguments).rows(tokens, columns, empty="no tokens")
    return 0


def _token_revoke(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    accessor = arguments["ACCESSOR"]
    manager.cluster_token_revoke(_name(arguments), accessor)
    manager.say(f"token {accessor} is of no use any more")
    if not output.is_table:
        output.data({"accessor": accessor, "state": "revoked"})
    return 0


def _export(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    name, path = _name(arguments), Path(arguments["PATH"])
    passphrase = _passphrase(arguments, new=True)
    manager.cluster_export(name, path, passphrase, history=arguments["--history"])
    manager.say(f"{path}: whoever has it and its passphrase rules cluster {name!r}")
    if not output.is_table:
        output.data({"cluster": name, "bundle": str(path)})
    return 0


def _import(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    passphrase = _passphrase(arguments, new=False)
    bundle = manager.cluster_import(
        Path(arguments["PATH"]), passphrase, name=arguments["--name"] or ""
    )
    role = bundle.role or "management"
    shown = {"cluster": bundle.name, "role": role, "may": _MAY[bundle.role]}
    output.record(shown, shown)
    return 0


def _forget(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    name = arguments["NAME"]
    manager.cluster_forget(name, force=arguments["--force"])
    manager.say(f"cluster {name!r} is not known here any more; it goes on")
    if not output.is_table:
        output.data({"cluster": name, "state": "forgotten"})
    return 0


def _rotate(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    name = _name(arguments)
    both = arguments["--certificates"] == arguments["--gossip"]
    certificates, gossip = both or arguments["--certificates"], both or arguments["--gossip"]
    if arguments["--dry-run"]:
        plan = manager.cluster_rotation(name, certificates=certificates, gossip=gossip)
        return show_plan(output, plan)
    timeout = timeout_of(arguments, ROTATE_SECONDS)
    assert timeout is not None
    useless = manager.cluster_rotate(
        name, certificates=certificates, gossip=gossip, timeout=timeout
    )
    for token in useless:
        manager.say(
            f"the bundle of {token.role} {token.label or token.accessor} is of no use any more: "
            "make a new one (`token create --bundle`) and revoke this one"
        )
    if certificates:
        manager.say("other operators need a new bundle, too: `cluster export`")
    if not output.is_table:
        output.data({"cluster": name, "certificates": certificates, "gossip": gossip,
                     "useless_bundles": useless})  # fmt: skip
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    # Before others: `cluster token list` has the word of `cluster list`.
    "token": _token,
    "export": _export,
    "import": _import,
    "forget": _forget,
    "rotate": _rotate,
}
