"""Commands about pipelines and their runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    limit_of,
    make_manager,
    make_output,
    tell,
    timeout_of,
)
from cloudmesh.sparknomad.errors import InputError, RunFailedError
from cloudmesh.sparknomad.job.parameters import parse_assignments
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import RunState
from cloudmesh.sparknomad.output import Output, when
from cloudmesh.sparknomad.pipeline.drawing import tree
from cloudmesh.sparknomad.pipeline.schedules import OVERLAPS
from cloudmesh.sparknomad.specfile import spec_to_dict
from cloudmesh.sparknomad.state_pipelines import PipelineRecord
from cloudmesh.sparknomad.units import format_duration

__all__ = ["VERBS"]

_LIMIT = 50
_FORMS = ("mermaid", "svg")


def _define(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    spec = manager.pipeline_define(Path(arguments["SPEC"]))
    output = make_output(arguments)
    if output.is_table:
        manager.say(f"pipeline {spec.pipeline!r} is defined, with {len(spec.steps)} steps")
    else:
        output.data(spec_to_dict(spec))
    return 0


def _list(arguments: Arguments) -> int:
    output = make_output(arguments)
    specs = make_manager(arguments).pipeline_list()
    if not output.is_table:
        output.data([spec_to_dict(spec) for spec in specs])
        return 0
    columns = {
        "PIPELINE": lambda spec: spec.pipeline,
        "STEPS": lambda spec: ", ".join(spec.steps),
        "PARAMETERS": lambda spec: ", ".join(spec.parameters) or "-",
        "DESCRIPTION": lambda spec: spec.description,
    }
    empty = "no pipelines; `cms sparknomad pipeline define FILE` defines one"
    output.rows(specs, columns, empty=empty)
    return 0


def _show(arguments: Arguments) -> int:
    output = make_output(arguments)
    data = spec_to_dict(make_manager(arguments).pipeline_show(arguments["PIPELINE"]))
    if output.is_table:
        sys.stdout.write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    else:
        output.data(data)
    return 0


def _remove(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    name = arguments["PIPELINE"]
    manager.pipeline_remove(name)
    tell(arguments, manager, f"pipeline {name!r} is removed", "pipeline", "PIPELINE")
    return 0


def _run(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    record = manager.pipeline_run(
        arguments["PIPELINE"],
        parse_assignments(arguments["--param"]),
        cluster=arguments["--cluster"],
        site=arguments["--site"],
        reuse=arguments["--reuse"],
    )
    return _attend(arguments, manager, record)


def _resume(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    return _attend(arguments, manager, manager.pipeline_resume(arguments["RUN"]))


def _attend(arguments: Arguments, manager: Sparknomad, record: PipelineRecord) -> int:
    """Show how a run goes on, or only its id."""
    output = make_output(arguments)
    if arguments["--detach"]:
        if output.is_table:
            print(record.run)
        else:
            output.data(record)
        return 0
    manager.say(f"pipeline run {record.run} on cluster {record.cluster}")
    try:
        record = _watch(manager, record)
    except KeyboardInterrupt:
        print(
            f"\nThe pipeline goes on. See it:  cms sparknomad pipeline status {record.run}\n"
            f"                      end it:  cms sparknomad pipeline cancel {record.run}",
            file=sys.stderr,
        )
        return 130
    return _outcome(output, record)


def _watch(manager: Sparknomad, record: PipelineRecord) -> PipelineRecord:
    told: dict[str, str] = {}
    while True:
        record = manager.pipeline_status(record.run)
        for step in record.steps:
            before = told.get(step.name, "waiting")
            if step.state != before:
                told[step.name] = step.state
                run = f" ({step.runs[-1]})" if step.runs and step.state == "running" else ""
                reason = f": {step.reason}" if step.reason and step.state != "running" else ""
                manager.say(f"step {step.name} {step.state}{run}{reason}")
            manager.show(step.name, step.state)
        if record.state.is_terminal:
            manager.show("", "")
            return record
        time.sleep(0.3)


def _outcome(output: Output, record: PipelineRecord) -> int:
    if output.is_table:
        _show_record(output, record)
    else:
        output.data(record)
    if record.state is RunState.SUCCEEDED:
        return 0
    raise RunFailedError(
        f"pipeline run {record.run} {record.state.value}: {record.reason}",
        hint=f"`cms sparknomad pipeline resume {record.run}` runs again what failed; "
        "`job logs RUN` has the output of a step's run.",
    )


def _show_record(output: Output, record: PipelineRecord) -> None:
    lines = {
        "run": record.run,
        "pipeline": record.pipeline,
        "cluster": record.cluster,
        "state": record.state.value,
        "reason": record.reason,
    }
    output.record(record, {name: value for name, value in lines.items() if value})
    states = {step.name: step.state for step in record.steps}
    for line in tree(record.edges, states):
        print(line)


def _runs(arguments: Arguments) -> int:
    limit = limit_of(arguments, _LIMIT)
    chosen = {"pipeline": arguments["--pipeline"], "after": arguments["--after"]}
    found = make_manager(arguments).pipeline_runs(**chosen, limit=limit)
    columns = {
        "RUN": lambda record: record.run,
        "PIPELINE": lambda record: record.pipeline,
        "CLUSTER": lambda record: record.cluster,
        "STATE": lambda record: record.state.value,
        "STEPS": _shown_steps,
        "SUBMITTED": lambda record: when(record.submitted),
        "REASON": lambda record: record.reason,
    }
    empty = "no runs of pipelines; `cms sparknomad pipeline run` makes one"
    make_output(arguments).rows(found, columns, empty=empty)
    return 0


def _shown_steps(record: PipelineRecord) -> str:
    done = sum(step.state == "succeeded" for step in record.steps)
    return f"{done}/{len(record.steps)}"


def _status(arguments: Arguments) -> int:
    output = make_output(arguments)
    record = make_manager(arguments).pipeline_status(arguments["RUN"])
    if output.is_table:
        _show_record(output, record)
    else:
        output.data(record)
    return 0


def _wait(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    record = manager.pipeline_wait(arguments["RUN"], timeout=timeout_of(arguments, None))
    return _outcome(make_output(arguments), record)


def _logs(arguments: Arguments) -> int:
    sys.stdout.write(make_manager(arguments).pipeline_logs(arguments["RUN"]))
    return 0


def _cancel(arguments: Arguments) -> int:
    manager, output = make_manager(arguments), make_output(arguments)
    record = manager.pipeline_cancel(arguments["RUN"])
    if output.is_table:
        manager.say(f"pipeline run {record.run} is {record.state.value}")
    else:
        output.data(record)
    return 0


def _graph(arguments: Arguments) -> int:
    form = arguments["--form"] or _FORMS[0]
    if form not in _FORMS:
        raise InputError(f"--form={form}: must be one of {', '.join(_FORMS)}.")
    sys.stdout.write(make_manager(arguments).pipeline_graph(arguments["PIPELINE"], form=form))
    return 0


def _report(arguments: Arguments) -> int:
    steps = make_manager(arguments).pipeline_report(arguments["RUN"])
    columns = {
        "STEP": lambda step: step.step,
        "STATE": lambda step: step.state,
        "WAITED": lambda step: _seconds(step.waited),
        "WORKED": lambda step: _seconds(step.worked),
        "READ": lambda step: f"{step.input_bytes / 1e6:,.1f} MB",
        "WROTE": lambda step: f"{step.output_bytes / 1e6:,.1f} MB",
        "RUN": lambda step: step.run or "-",
    }
    make_output(arguments).rows(steps, columns, empty="no steps")
    return 0


def _seconds(value: float | None) -> str:
    return "-" if value is None else format_duration(value)


def _schedule(arguments: Arguments) -> int:
    manager, output = make_manager(arguments), make_output(arguments)
    record = manager.pipeline_schedule(
        arguments["PIPELINE"],
        parse_assignments(arguments["--param"]),
        schedule=arguments["--schedule"],
        time_zone=arguments["--time-zone"] or "UTC",
        overlap=arguments["--overlap"] or OVERLAPS[0],
        cluster=arguments["--cluster"],
        site=arguments["--site"],
    )
    if output.is_table:
        print(record.schedule)
        manager.say(f"the next launch is at {when(record.next)}")
    else:
        output.data(record)
    return 0


def _schedules(arguments: Arguments) -> int:
    columns = {
        "SCHEDULE": lambda record: record.schedule,
        "PIPELINE": lambda record: record.pipeline,
        "CLUSTER": lambda record: record.cluster,
        "WHEN": lambda record: f"{record.crontab} {record.time_zone}",
        "OVERLAP": lambda record: record.overlap,
        "NEXT": lambda record: when(record.next),
        "LAST": lambda record: record.last or "-",
    }
    empty = "no schedules; `cms sparknomad pipeline schedule` makes one"
    found = make_manager(arguments).pipeline_schedules()
    make_output(arguments).rows(found, columns, empty=empty)
    return 0


def _unschedule(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    name = arguments["SCHEDULE"]
    manager.pipeline_unschedule(name)
    tell(arguments, manager, f"schedule {name!r} has ended", "schedule", "SCHEDULE")
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    "define": _define,
    "list": _list,
    "show": _show,
    "remove": _remove,
    "run": _run,
    "runs": _runs,
    "status": _status,
    "wait": _wait,
    "logs": _logs,
    "cancel": _cancel,
    "resume": _resume,
    "graph": _graph,
    "report": _report,
    "schedule": _schedule,
    "schedules": _schedules,
    "unschedule": _unschedule,
}
