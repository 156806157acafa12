"""The engine of pipelines: order, conditions, retries; killed anywhere, each step runs once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudmesh.sparknomad.incluster.pipeline import (
    Attempt,
    PipelineState,
    Plan,
    PlannedStep,
    RefusedError,
    Seen,
)
from cloudmesh.sparknomad.incluster.pipeline_engine import Engine


class KilledError(Exception):
    """The engine's process is gone."""


@dataclass
class Cluster:
    """Runs that were sent take some looks to end; some fail, and the engine may be killed."""

    fails: Mapping[str, int] = field(default_factory=dict)
    looks: int = 2
    sent: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    die_after: int = 10**9
    lost: set[str] = field(default_factory=set)
    calls: int = 0
    most: int = 0
    now: float = 0.0

    def _call(self) -> None:
        self.calls += 1
        if self.calls >= self.die_after:
            self.die_after = 10**9
            raise KilledError

    def send(self, attempt: Attempt) -> None:
        self._call()
        if attempt.run not in self.sent:
            self.sent.append(attempt.run)
            self.left[attempt.run] = self.looks
        self.most = max(self.most, sum(left > 0 for left in self.left.values()))
        self._call()

    def look(self, runs: Sequence[str]) -> Mapping[str, Seen | None]:
        self._call()
        return {run: self._seen(run) for run in runs}

    def _seen(self, run: str) -> Seen | None:
        if run not in self.left or run in self.lost:
            return None
        if run in self.cancelled:
            return Seen("cancelled")
        self.left[run] -= 1
        if self.left[run] > 0:
            return Seen("running", started=self.now)
        step, _, number = run.rpartition("-")
        if int(number) < self.fails.get(step, 0):
            return Seen("failed", f"{step} went wrong", self.now, self.now)
        return Seen("succeeded", "", self.now, self.now)

    def cancel(self, run: str) -> None:
        self.cancelled.append(run)

    def pause(self, seconds: float) -> None:
        self.now += seconds


def step(name: str, *needs: str, when: str = "succeeded", retries: int = 0) -> PlannedStep:
    attempts = tuple(Attempt(f"{name}-{number}", {}) for number in range(retries + 1))
    return PlannedStep(name, needs, when, attempts)


def plan(*steps: PlannedStep, concurrency: int = 8, timeout: float | None = None) -> Plan:
    return Plan("p", steps, concurrency, timeout, 0.0)


def run(made: Plan, cluster: Cluster, **more: object) -> PipelineState:
    engine = Engine(made, cluster, clock=lambda: cluster.now, **more)  # type: ignore[arg-type]
    return engine.run(cluster.pause)


def states(ended: PipelineState) -> dict[str, str]:
    return {each.name: each.state for each in ended.steps}


DIAMOND = plan(step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c"))


def test_steps_run_in_their_order() -> None:
    cluster = Cluster()
    ended = run(DIAMOND, cluster)
    assert ended.state == "succeeded" and ended.finished is not None
    assert cluster.sent[0] == "a-0" and cluster.sent[-1] == "d-0" and len(cluster.sent) == 4


def test_a_failed_step_skips_what_depends_on_it_and_nothing_else() -> None:
    cluster = Cluster(fails={"b": 9})
    ended = run(DIAMOND, cluster)
    assert ended.state == "failed" and "b went wrong" in ended.reason
    assert states(ended) == {"a": "succeeded", "b": "failed", "c": "succeeded", "d": "skipped"}


def test_conditions_on_the_outcome() -> None:
    made = plan(
        step("a"),
        step("mend", "a", when="failed"),
        step("clean", "a", when="always"),
        step("good"),
        step("mend2", "good", when="failed"),
    )
    ended = run(made, Cluster(fails={"a": 9}))
    assert states(ended) == {
        "a": "failed",
        "mend": "succeeded",
        "clean": "succeeded",
        "good": "succeeded",
        "mend2": "skipped",
    }
    assert ended.state == "failed"


def test_a_failed_run_is_replaced_as_often_as_is_asked() -> None:
    cluster = Cluster(fails={"a": 2})
    ended = run(plan(step("a", retries=2)), cluster)
    assert ended.state == "succeeded" and cluster.sent == ["a-0", "a-1", "a-2"]
    cluster = Cluster(fails={"a": 3})
    assert run(plan(step("a", retries=2)), cluster).state == "failed"
    assert len(cluster.sent) == 3


def test_no_more_run_at_a_time_than_is_asked() -> None:
    cluster = Cluster(looks=3)
    ended = run(plan(*(step(f"s{n}") for n in range(9)), concurrency=2), cluster)
    assert ended.state == "succeeded" and cluster.most == 2


def test_what_has_succeeded_before_is_not_run_again() -> None:
    cluster = Cluster()
    done = PlannedStep("a", (), "succeeded", (), done="old-run")
    ended = run(plan(done, step("b", "a")), cluster)
    assert cluster.sent == ["b-0"] and ended.steps[0].runs == ("old-run",)


def test_after_its_time_everything_ends() -> None:
    cluster = Cluster(looks=10**6)
    ended = run(plan(step("a"), step("b", "a"), timeout=5), cluster)
    assert ended.state == "failed" and "did not end within 5 s" in ended.reason
    assert cluster.cancelled == ["a-0"]
    assert states(ended) == {"a": "cancelled", "b": "skipped"}


def test_when_it_is_told_to_stop_nothing_more_begins() -> None:
    cluster = Cluster(looks=10**6)
    ended = run(plan(step("a"), step("b", "a")), cluster, stopping=lambda: cluster.now > 2)
    assert ended.state == "cancelled" and cluster.cancelled == ["a-0"]
    assert cluster.sent == ["a-0"]


def test_a_run_that_the_cluster_has_lost_fails_after_a_while() -> None:
    cluster = Cluster(lost={"a-0"})
    ended = run(plan(step("a", retries=1)), cluster)
    assert ended.state == "succeeded" and cluster.sent == ["a-0", "a-1"] and cluster.now > 60


def test_while_the_cluster_is_away_it_is_waited_for() -> None:
    cluster = Cluster()
    look, away = cluster.look, iter(range(4))

    def unsure(runs: Sequence[str]) -> Mapping[str, Seen | None]:
        if next(away, None) is not None:
            raise OSError("connection refused")
        return look(runs)

    cluster.look = unsure  # type: ignore[method-assign]
    told: list[str] = []
    assert run(DIAMOND, cluster, say=told.append).state == "succeeded"
    assert len(told) == 4 and len(cluster.sent) == 4


def test_states_and_plans_can_be_written_and_read_again() -> None:
    import json

    ended = run(DIAMOND, Cluster())
    assert PipelineState.read(json.loads(ended.as_json())) == ended
    assert Plan.read(json.loads(json.dumps(asdict(DIAMOND)))) == DIAMOND


@st.composite
def graphs(draw: st.DrawFn) -> Plan:
    steps: list[PlannedStep] = []
    for number in range(draw(st.integers(1, 7))):
        before = [each.name for each in steps]
        needs = draw(st.lists(st.sampled_from(before), unique=True)) if before else []
        retries = draw(st.integers(0, 2))
        steps.append(step(f"s{number}", *needs, retries=retries))
    return plan(*steps, concurrency=draw(st.integers(1, 3)))


@settings(max_examples=150, deadline=None)
@given(graphs(), st.lists(st.integers(1, 40), max_size=6), st.data())
def test_killed_anywhere_each_step_runs_exactly_once_to_success(
    made: Plan, deaths: list[int], data: st.DataObject
) -> None:
    fails = {each.name: data.draw(st.integers(0, len(each.attempts) - 1)) for each in made.steps}
    cluster = Cluster(fails=fails)
    for death in [*deaths, 10**9]:
        cluster.die_after = cluster.calls + death
        try:
            ended = run(made, cluster)
        except KilledError:
            continue
        break
    assert ended.state == "succeeded"
    wanted = [f"{each.name}-{n}" for each in made.steps for n in range(fails[each.name] + 1)]
    assert sorted(cluster.sent) == sorted(wanted)
    place = {name: index for index, name in enumerate(cluster.sent)}
    for each in made.steps:
        for before in each.needs:
            assert place[f"{before}-{fails[before]}"] < place[f"{each.name}-0"]


@pytest.mark.parametrize("death", range(1, 12))
def test_killed_at_each_point_of_a_small_plan(death: int) -> None:
    cluster = Cluster(die_after=death)
    try:
        ended = run(DIAMOND, cluster)
    except KilledError:
        ended = run(DIAMOND, cluster)
    assert ended.state == "succeeded" and sorted(cluster.sent) == ["a-0", "b-0", "c-0", "d-0"]


# what can't be sent


class Choosy(Cluster):
    """A cluster that does not take some runs, now or ever, and knows what was noted before."""

    def __init__(self, **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self.refuses: set[str] = set()
        self.away: dict[str, int] = {}
        self.saved: list[PipelineState] = []
        self.unknown: list[str] = []

    def send(self, attempt: Attempt) -> None:
        known = {each for step in self.saved[-1].steps for each in step.runs}
        if attempt.run not in known:
            self.unknown.append(attempt.run)
        if attempt.run in self.refuses:
            raise RefusedError("Nomad refuses it: the job is stopped")
        if self.away.get(attempt.run, 0):
            self.away[attempt.run] -= 1
            raise OSError("no leader")
        super().send(attempt)


def test_a_run_that_is_refused_fails_its_step_and_no_other() -> None:
    cluster = Choosy()
    cluster.refuses = {"b-0"}
    ended = run(DIAMOND, cluster, save=cluster.saved.append)
    assert states(ended) == {
        "a": "succeeded", "b": "failed", "c": "succeeded", "d": "skipped",
    }  # fmt: skip
    assert "step b: Nomad refuses it" in ended.reason


def test_a_run_that_can_not_be_sent_now_holds_no_other() -> None:
    cluster = Choosy()
    cluster.away = {"b-0": 5}
    ended = run(DIAMOND, cluster, save=cluster.saved.append)
    assert ended.state == "succeeded" and cluster.sent.index("c-0") < cluster.sent.index("b-0")
    told = {step.reason for state in cluster.saved for step in state.steps if step.name == "b"}
    assert "not sent yet: no leader" in told


@given(st.integers(1, 30), st.integers(1, 40))
def test_what_may_have_been_sent_is_noted_before(count: int, concurrency: int) -> None:
    """Whoever ends the pipeline from outside ends all of it."""
    cluster = Choosy(fails={f"s{number}": number % 2 for number in range(count)})
    steps = [step(f"s{number}", retries=1) for number in range(count)]
    ended = run(plan(*steps, concurrency=concurrency), cluster, save=cluster.saved.append)
    first = [each for each in cluster.unknown if each.endswith("-0")]
    assert ended.state == "succeeded" and first == []


@given(st.integers(1, 12), st.integers(1, 3), st.integers(1, 12))
def test_retries_are_noted_before_they_are_sent_too(
    count: int, failures: int, concurrency: int
) -> None:
    cluster = Choosy(fails={f"s{number}": failures for number in range(count)})
    steps = [step(f"s{number}", retries=failures) for number in range(count)]
    ended = run(plan(*steps, concurrency=concurrency), cluster, save=cluster.saved.append)
    assert ended.state == "succeeded" and cluster.unknown == []


def test_a_run_whose_answer_was_lost_is_watched_and_ended() -> None:
    cluster = Choosy()
    send = cluster.send

    def lost(attempt: Attempt) -> None:
        send(attempt)
        if attempt.run == "a-0" and len(cluster.sent) == 1:
            raise OSError("the answer did not come")

    cluster.send = lost  # type: ignore[method-assign]
    ended = run(plan(step("a")), cluster, save=cluster.saved.append)
    assert ended.state == "succeeded" and cluster.sent == ["a-0"]
    assert all(each.steps[0].runs == ("a-0",) for each in cluster.saved)


def test_a_state_that_can_not_be_kept_sends_nothing_and_loses_nothing() -> None:
    cluster, full = Choosy(), [3]

    def save(state: PipelineState) -> None:
        if full[0]:
            full[0] -= 1
            raise OSError("no space left on device")
        cluster.saved.append(state)

    ended = run(DIAMOND, cluster, save=save)
    assert ended.state == "succeeded" and len(cluster.sent) == 4


def test_nothing_is_sent_when_all_is_to_end() -> None:
    cluster = Choosy()
    ended = run(
        plan(step("a"), step("b")), cluster,
        save=cluster.saved.append, stopping=lambda: bool(cluster.saved),
    )  # fmt: skip
    assert ended.state == "cancelled" and cluster.sent == []
