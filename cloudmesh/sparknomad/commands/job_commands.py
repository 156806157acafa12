"""Commands about jobs and runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    limit_of,
    make_manager,
    make_output,
    show_checks,
    show_plan,
    tell,
    timeout_of,
)
from cloudmesh.sparknomad.errors import InputError, NotFoundError, RunFailedError
from cloudmesh.sparknomad.job.parameters import parse_assignments
from cloudmesh.sparknomad.job.staging import parse_stage
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import LogChunk, LogStream, RunRecord, RunState
from cloudmesh.sparknomad.output import Output, when
from cloudmesh.sparknomad.specfile import spec_to_dict
from cloudmesh.sparknomad.units import format_duration

__all__ = ["VERBS", "attend"]

_LIMIT = 50


def _job_define(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    spec = manager.job_define(Path(arguments["SPEC"]))
    output = make_output(arguments)
    if output.is_table:
        manager.say(f"job {spec.job!r} is defined")
    else:
        output.data(spec_to_dict(spec))
    return 0


def _job_list(arguments: Arguments) -> int:
    output = make_output(arguments)
    specs = make_manager(arguments).job_list()
    if not output.is_table:
        output.data([spec_to_dict(spec) for spec in specs])
        return 0
    columns = {
        "JOB": lambda spec: spec.job,
        "PROGRAM": lambda spec: spec.program,
        "PARAMETERS": lambda spec: ", ".join(spec.parameters) or "-",
        "DESCRIPTION": lambda spec: spec.description,
    }
    output.rows(specs, columns, empty="no jobs; `cms sparknomad job define FILE` defines one")
    return 0


def _job_show(arguments: Arguments) -> int:
    import yaml

    output = make_output(arguments)
    data = spec_to_dict(make_manager(arguments).job_show(arguments["JOB"]))
    if output.is_table:
        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    else:
        output.data(data)
    return 0


def _job_remove(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    manager.job_remove(arguments["JOB"])
    tell(arguments, manager, f"job {arguments['JOB']!r} is removed", "job", "JOB")
    return 0


def _job_run(arguments: Arguments) -> int:
    output = make_output(arguments)
    manager = make_manager(arguments)
    values = parse_assignments(arguments["--param"])
    options = {
        "cluster": arguments["--cluster"],
        "timeout": timeout_of(arguments, None),
        "queue_timeout": timeout_of(arguments, None, "--queue-timeout"),
        "stage": parse_stage(arguments["--stage"]),
        "site": arguments["--site"],
    }
    if arguments["--dry-run"]:
        return show_plan(output, manager.job_plan(arguments["JOB"], values, **options))
    if arguments["--check"]:
        steps = manager.job_check(
            arguments["JOB"], values, cluster=arguments["--cluster"], site=arguments["--site"]
        )
        if not all(step.ok for step in steps):
            return show_checks(arguments, steps)
        manager.say(f"{len(steps)} checks went well")
    record = manager.job_run(arguments["JOB"], values, **options)
    if arguments["--detach"]:
        if output.is_table:
            print(record.run)
        else:
            output.data(record)
        return 0
    return attend(manager, output, record)


def attend(manager: Sparknomad, output: Output, record: RunRecord) -> int:
    """Show a run's output until it has ended, then how it ended."""
    manager.say(f"run {record.run} on cluster {record.cluster}")
    try:
        _await_start(manager, record)
        for chunk in manager.job_logs(record.run, follow=True):
            _write_chunk(chunk, to_stderr=not output.is_table)
        record = manager.job_wait(record.run)
    except KeyboardInterrupt:
        print(
            f"\nThe run goes on. Follow it:  cms sparknomad job logs {record.run} --follow\n"
            f"                 end it:     cms sparknomad job cancel {record.run}",
            file=sys.stderr,
        )
        return 130
    if not output.is_table:
        output.data(record)
    return _outcome(manager, record)


def _await_start(manager: Sparknomad, record: RunRecord) -> None:
    """Wait while a run is pending, and say what it waits for."""
    told = ""
    while record.state is RunState.PENDING:
        if record.reason and record.reason != told:
            manager.say(record.reason)
            told = record.reason
        time.sleep(0.1)
        record = manager.job_status(record.run)


def _write_chunk(chunk: LogChunk, *, to_stderr: bool = False) -> None:
    stream = sys.stdout if chunk.stream is LogStream.STDOUT and not to_stderr else sys.stderr
    stream.flush()
    stream.buffer.write(chunk.data)
    stream.buffer.flush()


def _outcome(manager: Sparknomad, record: RunRecord) -> int:
    took = (record.finished or record.submitted) - record.submitted
    if record.state is RunState.SUCCEEDED:
        manager.job_fetch(record.run)
        manager.say(f"run {record.run} succeeded after {format_duration(max(took, 0))}")
        return 0
    raise RunFailedError(
        f"run {record.run} {record.state.value}: {record.reason or 'no reason is known'}",
        hint=f"{_storage_hint(record)}See `cms sparknomad job logs {record.run}` and `job report`.",
    )


def _storage_hint(record: RunRecord) -> str:
    """What to do about a storage that has failed a run, if it was one."""
    from cloudmesh.sparknomad.storage.explain import hint_for

    if not record.reason.startswith(("input ", "output ", "a transfer failed", "an output")):
        return ""
    hint = hint_for(record.reason)
    return f"{hint}\n" if hint else ""


def _job_runs(arguments: Arguments) -> int:
    output = make_output(arguments)
    state = None
    if arguments["--state"]:
        try:
            state = RunState(arguments["--state"])
        except ValueError:
            allowed = ", ".join(state.value for state in RunState)
            given = arguments["--state"]
            raise InputError(f"--state={given}: must be one of {allowed}.") from None
    limit = limit_of(arguments, _LIMIT)
    asked = None if limit is None else limit + 1
    chosen = {"job": arguments["--job"], "state": state, "after": arguments["--after"]}
    records = make_manager(arguments).job_runs(**chosen, limit=asked)
    columns = {
        "RUN": lambda record: record.run,
        "JOB": lambda record: record.job,
        "CLUSTER": lambda record: record.cluster,
        "STATE": lambda record: record.state,
        "SUBMITTED": lambda record: when(record.submitted),
        "TOOK": _took,
        "REASON": lambda record: record.reason[:100],
    }
    output.rows(records[:limit], columns, empty="no runs")
    if arguments["--limit"] is None and len(records) > _LIMIT and not arguments["--quiet"]:
        print(f"the newest {_LIMIT}; --limit=all shows every one", file=sys.stderr)
    return 0


def _took(record: RunRecord) -> str:
    if record.finished is None:
        return "-"
    return format_duration(max(0.0, record.finished - record.submitted))


def _job_status(arguments: Arguments) -> int:
    record = make_manager(arguments).job_status(arguments["RUN"])
    shown = {
        "run": record.run,
        "job": record.job,
        "cluster": record.cluster,
        "state": record.state,
        "reason": record.reason,
        "exit code": record.exit_code,
        "attempts": record.attempts,
        "submitted": when(record.submitted),
        "started": when(record.started),
        "finished": when(record.finished),
        **{f"parameter {name}": value for name, value in record.parameters.items()},
    }
    make_output(arguments).record(record, shown)
    return 0


def _job_logs(arguments: Arguments) -> int:
    output = make_output(arguments)
    chunks = make_manager(arguments).job_logs(arguments["RUN"], follow=arguments["--follow"])
    if output.is_table:
        for chunk in chunks:
            _write_chunk(chunk)
        return 0
    texts = {stream.value: b"" for stream in LogStream}
    for chunk in chunks:
        texts[chunk.stream.value] += chunk.data
    output.data({name: data.decode("utf-8", "replace") for name, data in texts.items()})
    return 0


def _job_wait(arguments: Arguments) -> int:
    output = make_output(arguments)
    manager = make_manager(arguments)
    record = manager.job_wait(arguments["RUN"], timeout=timeout_of(arguments, None))
    if not output.is_table:
        output.data(record)
    return _outcome(manager, record)


def _job_cancel(arguments: Arguments) -> int:
    output = make_output(arguments)
    manager = make_manager(arguments)
    record = manager.job_cancel(arguments["RUN"])
    if output.is_table:
        manager.say(f"run {record.run} is {record.state.value}")
    else:
        output.data(record)
    return 0


def _job_report(arguments: Arguments) -> int:
    output = make_output(arguments)
    record = make_manager(arguments).job_status(arguments["RUN"])
    if not record.state.is_terminal and not record.report:
        raise NotFoundError(
            f"Run {record.run!r} is {record.state.value}: it has no report yet.",
            hint=f"`cms sparknomad job wait {record.run}` waits for its end.",
        )
    if not output.is_table:
        output.data({"run": record.run, "state": record.state, **record.report})
        return 0
    shown: dict[str, Any] = {"run": record.run, "state": record.state, "reason": record.reason}
    for name, value in record.report.items():
        if isinstance(value, Mapping):
            shown |= _shown_parts(name, value)
            continue
        label = name.replace("_", " ")
        if name.endswith("_bytes"):
            label, value = label.removesuffix(" bytes"), format_size_of(value)
        elif name.endswith("_seconds"):
            label, value = label.removesuffix(" seconds"), f"{value:.2f} s"
        shown[label] = value
    output.record(record, shown)
    return 0


def _shown_parts(name: str, parts: Mapping[str, Any]) -> dict[str, str]:
    """Rows for what is measured by parameter, or by locality."""
    if name == "crossed":
        return {
            f"{parameter} of site {told['site']}": "moved by Spark itself"
            if told["bytes"] is None
            else format_size_of(told["bytes"])
            for parameter, told in parts.items()
        }
    if name == "locality_bytes":
        whole = sum(parts.values()) or 1
        told = ", ".join(f"{level} {100 * size / whole:.0f}%" for level, size in parts.items())
        return {"input read": told} if parts else {}
    return {
        f"{name.removesuffix('s')} {parameter}": _shown_transfer(told)
        for parameter, told in parts.items()
        if isinstance(told, Mapping)
    }


def _shown_transfer(told: Mapping[str, Any]) -> str:
    """One staged input or output in a line."""
    text = f"{told.get('objects', 0):,} objects, {format_size_of(told.get('bytes', 0))}"
    if "reason" in told:
        text += f", {'staged' if told.get('staged') else 'read directly'}: {told['reason']}"
    if told.get("fetched_bytes"):
        text += f", {format_size_of(told['fetched_bytes'])} fetched"
    if told.get("nodes"):
        rates = (f"{host} {each['mb_per_s']:,.1f} MB/s" for host, each in told["nodes"].items())
        text += f" ({', '.join(rates)})"
    return f"{text}, {told.get('seconds', 0):.2f} s"


def format_size_of(size: Any) -> str:
    """A number of bytes for a person."""
    return f"{size / 1e6:,.3f} MB" if isinstance(size, int) else str(size)


VERBS: dict[str, Callable[[Arguments], int]] = {
    "define": _job_define,
    "list": _job_list,
    "show": _job_show,
    "remove": _job_remove,
    "run": _job_run,
    "runs": _job_runs,
    "status": _job_status,
    "logs": _job_logs,
    "wait": _job_wait,
    "cancel": _job_cancel,
    "report": _job_report,
}
