"""Commands about storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.commands.job_commands import attend
from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    show_checks,
    tell,
    timeout_of,
)
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.job.parameters import parse_assignments
from cloudmesh.sparknomad.output import to_plain, when
from cloudmesh.sparknomad.units import format_bytes, format_duration

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster.staged import StagedEntry
    from cloudmesh.sparknomad.storage.profile import StorageProfile
    from cloudmesh.sparknomad.storage.storage import Entry
    from cloudmesh.sparknomad.storage.transfer import Transferred

__all__ = ["VERBS"]


# profiles


def _profile(arguments: Arguments) -> int:
    verbs = {
        "add": _profile_add,
        "list": _profile_list,
        "show": _profile_show,
        "remove": _profile_remove,
    }
    return next(function for verb, function in verbs.items() if arguments[verb])(arguments)


def _profile_add(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.specfile import build_spec
    from cloudmesh.sparknomad.storage.profile import CredentialSource, StorageProfile

    manager = make_manager(arguments)
    profile = build_spec(StorageProfile, _profile_data(arguments))
    source = profile.credentials.source
    if source is CredentialSource.PLAIN and not arguments["--secrets-in-plain-text"]:
        raise InputError(
            "--credentials=plain: would write the secret into cloudmesh.yaml, for whoever reads "
            "that file.",
            hint="Take environment, files, file or keyring; or say --secrets-in-plain-text.",
        )
    secrets = _asked(profile) if source is CredentialSource.KEYRING else None
    added = manager.storage_profile_add(profile, secrets=secrets, replace=arguments["--replace"])
    output = make_output(arguments)
    if output.is_table:
        manager.say(f"storage profile {added.name!r} is {added.url}")
        manager.say(f"try it: cms sparknomad storage check {added.name}")
    else:
        output.data(_shown(added))
    return 0


def _asked(profile: StorageProfile) -> Mapping[str, str]:
    from cloudmesh.sparknomad.storage.credentials import ask
    from cloudmesh.sparknomad.storage.registry import load_kind
    from cloudmesh.sparknomad.storage.url import SCHEMES, parse_url

    kind = profile.kind or SCHEMES.get(parse_url(profile.url).scheme, "")
    return ask(profile.name, load_kind(kind).fields)


def _profile_data(arguments: Arguments) -> dict[str, Any]:
    """A profile's fields from the options; ``--set=credentials.path=FILE`` goes deeper."""
    data: dict[str, Any] = {"name": arguments["NAME"]}
    for name in ("url", "kind", "endpoint", "region", "ca", "site"):
        if arguments[f"--{name}"] is not None:
            data[name] = arguments[f"--{name}"]
    if arguments["--credentials"] is not None:
        data["credentials"] = {"source": arguments["--credentials"]}
    for field, value in parse_assignments(arguments["--set"]).items():
        group, _, name = field.partition(".")
        if group not in ("options", "credentials") or not name:
            raise InputError(
                f"--set={field}=…: unknown field.",
                hint="Write --set=options.NAME=VALUE, --set=credentials.path=FILE, "
                "--set=credentials.profile=NAME, --set=credentials.variables.FIELD=VARIABLE or "
                "--set=credentials.values.FIELD=VALUE.",
            )
        place = data.setdefault(group, {})
        inner, _, last = name.partition(".")
        if group == "credentials" and last:
            place, name = place.setdefault(inner, {}), last
        place[name] = value
    return data


def _shown(profile: StorageProfile) -> dict[str, Any]:
    """A profile for eyes and programs: plain secrets stay where they are."""
    from cloudmesh.sparknomad.specfile import spec_to_dict

    data = spec_to_dict(profile)
    data["credentials"]["values"] = dict.fromkeys(data["credentials"]["values"], "(hidden)")
    return data


def _profile_list(arguments: Arguments) -> int:
    output = make_output(arguments)
    profiles = make_manager(arguments).storage_profile_list()
    if not output.is_table:
        output.data([_shown(profile) for profile in profiles])
        return 0
    columns = {
        "NAME": lambda profile: profile.name,
        "KIND": lambda profile: profile.kind,
        "URL": lambda profile: profile.url,
        "ENDPOINT": lambda profile: profile.endpoint or "-",
        "CREDENTIALS": lambda profile: profile.credentials.source.value,
    }
    hint = "no storage profiles; `cms sparknomad storage profile add NAME --url=URL` adds one"
    output.rows(profiles, columns, empty=hint)
    return 0


def _profile_show(arguments: Arguments) -> int:
    profile = make_manager(arguments).storage_profile_show(arguments["NAME"])
    shown = _shown(profile)
    credentials = shown["credentials"]
    lines = {
        name: shown[name] for name in ("name", "kind", "url", "endpoint", "region", "ca", "site")
    }
    lines |= {f"options.{name}": value for name, value in shown["options"].items()}
    lines |= {
        f"credentials.{name}": value if isinstance(value, str) else ", ".join(sorted(value))
        for name, value in credentials.items()
        if value
    }
    make_output(arguments).record(shown, lines)
    return 0


def _profile_remove(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    manager.storage_profile_remove(arguments["NAME"])
    told = f"storage profile {arguments['NAME']!r} is removed; what it named stays"
    tell(arguments, manager, told, "profile", "NAME")
    return 0


# what lies there


def _plain(entry: Entry) -> dict[str, Any]:
    return {
        "url": str(entry.url),
        "size": entry.size,
        "directory": entry.is_directory,
        "modified": entry.modified,
        "version": entry.version,
        "md5": entry.md5,
    }


def _list(arguments: Arguments) -> int:
    output = make_output(arguments)
    manager = make_manager(arguments)
    entries = list(manager.storage_list(arguments["URL"][0], recursive=arguments["--recursive"]))
    if not output.is_table:
        output.data([_plain(entry) for entry in entries])
        return 0
    columns = {
        "SIZE": lambda entry: "-" if entry.is_directory else f"{entry.size:,}",
        "MODIFIED": lambda entry: when(entry.modified) if entry.modified else "-",
        "URL": lambda entry: str(entry.url),
    }
    output.rows(entries, columns, empty="nothing is there")
    return 0


def _info(arguments: Arguments) -> int:
    entry = make_manager(arguments).storage_info(arguments["URL"][0])
    plain = _plain(entry)
    shown = {
        **plain,
        "size": None if entry.is_directory else f"{entry.size:,} bytes",
        "directory": "yes" if entry.is_directory else None,
        "modified": when(entry.modified) if entry.modified else None,
    }
    make_output(arguments).record(plain, shown)
    return 0


def _usage(arguments: Arguments) -> int:
    usage = make_manager(arguments).storage_usage(arguments["URL"][0])
    plain = {"url": str(usage.url), "objects": usage.objects, "size": usage.size}
    shown = {**plain, "size": f"{usage.size:,} bytes ({format_bytes(usage.size)})"}
    make_output(arguments).record(plain, shown)
    return 0


def _transferred(arguments: Arguments, done: Transferred, say: Any) -> int:
    output = make_output(arguments)
    if not output.is_table:
        output.data(done)
        return 0
    rate = done.size / done.seconds if done.seconds else 0.0
    skipped = f", {done.skipped} were there already" if done.skipped else ""
    say(
        f"{done.objects} object{'' if done.objects == 1 else 's'}, {format_bytes(done.size)} in "
        f"{format_duration(done.seconds)} ({format_bytes(rate)}/s){skipped}; "
        f"{done.verified} proven by checksum"
    )
    return 0


def _put(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    done = manager.storage_put(arguments["PATH"], arguments["URL"][0])
    return _transferred(arguments, done, manager.say)


def _get(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    done = manager.storage_get(arguments["URL"][0], arguments["PATH"])
    return _transferred(arguments, done, manager.say)


def _copy(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    source, target = arguments["URL"]
    done = manager.storage_copy(source, target, **_where(arguments))
    return _transferred(arguments, done, manager.say)


def _remove(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    url = arguments["URL"][0]
    count = manager.storage_remove(url)
    output = make_output(arguments)
    if output.is_table:
        manager.say(f"{url} is removed ({count} object{'' if count == 1 else 's'})")
    else:
        output.data({"url": url, "objects": count})
    return 0


def _check(arguments: Arguments) -> int:
    manager, subjects = make_manager(arguments), arguments["SUBJECT"]
    if arguments["--cluster"]:
        return show_checks(
            arguments,
            manager.cluster_check(subjects or None, **_where(arguments)),
        )
    return show_checks(arguments, manager.storage_check(subjects))


# in a cluster


def _stage(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    record = manager.storage_stage(
        arguments["URL"],
        **_where(arguments),
        pin=arguments["--pin"],
        ttl=timeout_of(arguments, None, "--ttl"),
    )
    if arguments["--detach"]:
        if output.is_table:
            print(record.run)
        else:
            output.data(record)
        return 0
    return attend(manager, output, record)


def _plain_staged(each: StagedEntry) -> dict[str, Any]:
    return {**to_plain(each.entry), "last_used": each.last_used, "users": list(each.users)}


def _show_staged(arguments: Arguments, found: Sequence[StagedEntry], empty: str) -> int:
    output = make_output(arguments)
    if not output.is_table:
        output.data([_plain_staged(each) for each in found])
        return 0
    columns = {
        "OBJECTS": lambda each: f"{each.entry.objects:,}",
        "SIZE": lambda each: format_bytes(each.entry.bytes),
        "STAGED": lambda each: when(each.entry.created),
        "LAST USED": lambda each: when(each.last_used),
        "KEPT": _kept,
        "IN USE": lambda each: str(len(each.users)) if each.users else "-",
        "URL": lambda each: each.entry.source,
    }
    output.rows(found, columns, empty=empty)
    return 0


def _kept(each: StagedEntry) -> str:
    if each.entry.pin:
        return "pinned"
    return "-" if each.entry.ttl is None else format_duration(each.entry.ttl)


def _where(arguments: Arguments) -> dict[str, Any]:
    """The cluster and its site that options name."""
    return {"cluster": arguments["--cluster"], "site": arguments["--site"]}


def _staged(arguments: Arguments) -> int:
    found = make_manager(arguments).storage_staged(**_where(arguments))
    return _show_staged(arguments, found, "nothing is staged")


def _unstage(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    found = manager.storage_unstage(
        arguments["URL"][0],
        **_where(arguments),
        force=arguments["--force"],
    )
    return _show_staged(arguments, found, "nothing was removed")


def _evict(arguments: Arguments) -> int:
    found = make_manager(arguments).storage_evict(**_where(arguments))
    return _show_staged(arguments, found, "nothing was removed")


VERBS: dict[str, Callable[[Arguments], int]] = {
    "profile": _profile,
    "list": _list,
    "info": _info,
    "put": _put,
    "get": _get,
    "copy": _copy,
    "remove": _remove,
    "usage": _usage,
    "check": _check,
    "stage": _stage,
    "staged": _staged,
    "unstage": _unstage,
    "evict": _evict,
}
