"""The web page in a real Chromium: sign in, run, watch, cancel, fail, follow a pipeline."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command
from acceptance.test_service import Service, serving
from needs import require

pytestmark = pytest.mark.spark

PICTURES = Path(__file__).parents[2] / "docs" / "images"
SECONDS = 90_000
GREET = """import sys, time
for number in range(int(sys.argv[2])):
    print("hello", sys.argv[1], number, flush=True)
    time.sleep(0.5)
"""
JOB = """job: greet
description: Says hello
program: greet.py
parameters:
  whom:  {required: true, description: who is meant}
  times: {type: integer, default: 1, minimum: 1, maximum: 600}
  tone:  {type: choice, choices: [kind, stern], default: kind}
arguments: ["{whom}", "{times}"]
"""
PIPELINE = """pipeline: greetings
description: Two after one
parameters: {whom: {required: true}}
steps:
  first:  {job: greet, parameters: {whom: "{whom}"}}
  second: {job: greet, parameters: {whom: "{whom}"}, after: [first]}
  third:  {job: greet, parameters: {whom: "{whom}"}, after: [first]}
"""
BROKEN = """job: broken
program: broken.py
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, cache: Any) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("web home")
    command = Command(home, cache)
    (home / "greet.py").write_text(GREET)
    (home / "greet.yaml").write_text(JOB)
    (home / "broken.py").write_text("raise SystemExit('it is broken')\n")
    (home / "broken.yaml").write_text(BROKEN)
    (home / "greetings.yaml").write_text(PIPELINE)
    deploy = ("--provider=local", "--workers=1", "--memory=1g")
    command.ok("cluster", "deploy", "default", *deploy)
    for name in ("greet", "broken"):
        command.ok("job", "define", str(home / f"{name}.yaml"))
    command.ok("pipeline", "define", str(home / "greetings.yaml"))
    (home / "desk").mkdir()
    add = ("storage", "profile", "add")
    command.ok(*add, "desk", f"--url=file://{home}/desk/")
    command.ok(
        *add, "gone", "--url=s3://gone/", "--endpoint=http://127.0.0.1:9", "--credentials=none"
    )
    with serving(command, "--allow-local") as made:
        yield made
    command.ok("cluster", "destroy", "default", "--force")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    require(program, "chromium (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark", "phone"])
def look(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Page:
    """A page that is signed in; what its console says is an error."""

    def __init__(self, browser: Any, service: Service, look: str = "light") -> None:
        size = {"width": 390, "height": 844} if look == "phone" else {"width": 1280, "height": 900}
        scheme = "dark" if look == "dark" else "light"
        self.context = browser.new_context(viewport=size, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(SECONDS)
        self.wrong: list[str] = []
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on(
            "console",
            lambda message: self.wrong.append(message.text) if message.type == "error" else None,
        )
        self.root = service.url.removesuffix("v1")
        self.token = service.tokens["operator"]

    def sign_in(self) -> Any:
        self.page.goto(self.root)
        self.page.get_by_label("Token").fill(self.token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Overview").wait_for()
        return self.page

    def open(self, place: str, heading: str) -> None:
        self.page.goto(f"{self.root}#/{place}")
        self.page.get_by_role("heading", name=heading, exact=True).wait_for()

    def picture(self, name: str) -> None:
        if os.environ.get("PICTURES"):
            PICTURES.mkdir(exist_ok=True)
            self.page.screenshot(path=str(PICTURES / f"{name}.png"))

    def check(self) -> None:
        """Nothing that keeps somebody from using the page."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        assert not found, [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
        inner = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert inner <= 0, "the page is wider than the screen"

    def close(self) -> None:
        self.context.close()
        assert self.wrong == []


@pytest.fixture
def page(chromium: Any, service: Service) -> Iterator[Page]:
    made = Page(chromium, service)
    made.sign_in()
    yield made
    made.close()


def test_only_a_token_lets_in(chromium: Any, service: Service) -> None:
    made = Page(chromium, service)
    made.page.goto(made.root)
    made.check()
    made.page.get_by_label("Token").fill("nobody's")
    made.page.get_by_role("button", name="Sign in").click()
    made.page.get_by_text("Nobody has this token").wait_for()
    made.page.get_by_label("Token").fill(made.token)
    made.page.keyboard.press("Enter")
    made.page.get_by_role("heading", name="Overview").wait_for()
    made.page.get_by_role("button", name="Sign out").click()
    made.page.get_by_label("Token").wait_for()
    made.wrong = [line for line in made.wrong if "401" not in line]
    made.close()


def test_a_job_is_run_by_its_form_and_watched(page: Page) -> None:
    page.open("jobs", "Jobs")
    page.page.get_by_role("link", name="greet").click()
    form = page.page.get_by_role("region", name="Run it")
    form.get_by_label("whom (required)").fill("you")
    form.get_by_label("times").fill("4")
    assert form.get_by_label("tone").input_value() == "kind"
    page.check()
    page.picture("job")
    form.get_by_role("button", name="Run").click()
    output = page.page.get_by_label("Output")
    output.get_by_text("hello you 0").wait_for()
    output.get_by_text("hello you 3").wait_for()
    page.page.locator("dd .state", has_text="succeeded").wait_for()
    page.page.get_by_role("heading", name="Report").wait_for()
    page.check()
    page.picture("run")


def test_a_value_that_does_not_fit_is_told_before_anything_is_sent(page: Page) -> None:
    page.open("jobs/greet", "greet")
    form = page.page.get_by_role("region", name="Run it")
    form.get_by_role("button", name="Run").click()
    assert page.page.url.endswith("#/jobs/greet")  # the browser asks for what is required
    form.get_by_label("whom (required)").fill("you")
    form.get_by_label("times").fill("601")
    form.get_by_role("button", name="Run").click()
    assert page.page.url.endswith("#/jobs/greet")


def test_a_run_is_cancelled(page: Page) -> None:
    page.open("jobs/greet", "greet")
    form = page.page.get_by_role("region", name="Run it")
    form.get_by_label("whom (required)").fill("nobody")
    form.get_by_label("times").fill("600")
    form.get_by_role("button", name="Run").click()
    page.page.get_by_label("Output").get_by_text("hello nobody 0").wait_for()
    page.page.get_by_role("button", name="Cancel the run").click()
    page.page.locator("dd .state", has_text="cancelled").wait_for()
    page.page.get_by_role("button", name="Cancel the run").wait_for(state="hidden")


def test_a_failure_is_seen_with_its_reason(page: Page) -> None:
    page.open("jobs/broken", "broken")
    page.page.get_by_role("region", name="Run it").get_by_role("button", name="Run").click()
    page.page.locator("dd .state", has_text="failed").wait_for()
    page.page.get_by_text("exit code 1").first.wait_for()
    page.page.get_by_label("Output").get_by_text("it is broken").wait_for()


def test_a_pipeline_is_followed(page: Page) -> None:
    page.open("pipelines", "Pipelines")
    page.page.get_by_role("link", name="greetings").first.click()
    form = page.page.get_by_role("region", name="Run it")
    form.get_by_label("whom (required)").fill("all")
    form.get_by_role("button", name="Run").click()
    steps = page.page.get_by_role("region", name="Steps")
    for name in ("first", "second", "third"):
        row = steps.get_by_role("row", name=name)
        row.locator(".state", has_text="succeeded").wait_for()
    page.page.get_by_role("img", name="first succeeded").wait_for()
    assert (
        page.page.get_by_role("list", name="When each step ran").get_by_role("listitem").count()
        == 3
    )
    page.check()
    page.picture("pipeline")
    steps.get_by_role("link").first.click()
    page.page.get_by_label("Output").get_by_text("hello all 0").wait_for()


def test_every_page_can_be_used_by_everybody(chromium: Any, service: Service, look: str) -> None:
    made = Page(chromium, service, look)
    made.sign_in()
    made.page.get_by_text("2 of 2").or_(made.page.get_by_text("1 of 1")).first.wait_for()
    for place, heading in (
        ("overview", "Overview"),
        ("jobs", "Jobs"),
        ("runs", "Runs"),
        ("pipelines", "Pipelines"),
        ("storage", "Storage"),
        ("operations", "Operations"),
    ):
        made.open(place, heading)
        made.check()
        if place == "overview":
            made.picture(f"overview-{look}")
    # By the keyboard alone: the first stop skips the navigation.
    made.open("runs", "Runs")
    made.page.reload()
    made.page.get_by_role("heading", name="Runs").wait_for()
    made.page.keyboard.press("Tab")
    assert made.page.evaluate("document.activeElement.textContent") == "Skip to content"
    made.close()


def test_profiles_are_tried_and_a_fault_comes_with_what_to_do(page: Page) -> None:
    page.open("storage", "Storage")
    page.page.get_by_role("button", name="Check all profiles").click()
    tried = page.page.get_by_role("region", name="What was tried")
    tried.wait_for()
    desk = tried.get_by_role("row").filter(has_text="desk")
    assert desk.count() >= 4
    assert desk.filter(has_text="succeeded").count() == desk.count()
    gone = tried.get_by_role("row").filter(has_text="gone").filter(has_text="failed")
    assert "127.0.0.1:9" in gone.first.inner_text()
    page.check()


def test_a_page_that_is_not_there_or_a_run_is_told(page: Page) -> None:
    page.page.goto(f"{page.root}#/runs/nope")
    page.page.get_by_role("alert").get_by_text("There is no run 'nope'").wait_for()
    page.wrong = [line for line in page.wrong if "404" not in line]


# what is shown stays as it is used


def test_what_is_drawn_anew_keeps_focus_and_what_is_open(page: Page, service: Service) -> None:
    service("POST", "/runs", {"job": "greet", "values": {"whom": "focus"}})
    tab, count = page.page, itertools.count()

    def changing(route: Any) -> None:
        told = route.fetch().json()
        told[0]["reason"] = f"look {next(count)}"
        route.fulfill(json=told)

    page.open("jobs", "Jobs")
    tab.route("**/v1/clusters", changing)
    page.open("overview", "Overview")
    tab.locator("summary").click()
    tab.get_by_role("region", name="Runs").get_by_role("link").first.focus()
    before = tab.evaluate("document.activeElement.getAttribute('href')")
    later = next(count) + 2
    tab.get_by_text(f"look {later}").wait_for()
    assert before and tab.evaluate("document.activeElement.getAttribute('href')") == before
    assert tab.locator("details").get_attribute("open") is not None
    tab.unroute("**/v1/clusters")


def test_a_page_that_was_left_draws_nothing_any_more(page: Page) -> None:
    tab = page.page
    late: list[Any] = []
    tab.route("**/v1/storage/profiles", lambda route: late.append(route))
    tab.get_by_role("link", name="Storage").click()
    page.open("runs", "Runs")
    tab.unroute("**/v1/storage/profiles")
    for route in late:
        with contextlib.suppress(Exception):  # the page may have given the request up
            route.continue_()
    tab.wait_for_timeout(1000)
    assert late and tab.get_by_role("heading", level=1).inner_text() == "Runs"


def test_a_double_click_makes_one_run(page: Page, service: Service) -> None:
    page.open("jobs/greet", "greet")
    form = page.page.get_by_role("region", name="Run it")
    form.get_by_label("whom (required)").fill("double")
    form.get_by_role("button", name="Run").dblclick()
    page.page.get_by_label("Output").get_by_text("hello double 0").wait_for()
    runs = service("GET", "/runs?job=greet&limit=1000").json()
    assert [run["parameters"]["whom"] for run in runs].count("double") == 1


def test_a_cancel_that_fails_is_told_and_can_be_tried_again(page: Page) -> None:
    page.open("jobs/greet", "greet")
    form = page.page.get_by_role("region", name="Run it")
    form.get_by_label("whom (required)").fill("long")
    form.get_by_label("times").fill("600")
    form.get_by_role("button", name="Run").click()
    cancel = page.page.get_by_role("button", name="Cancel the run")
    cancel.wait_for()

    def refuse(route: Any) -> None:
        if route.request.method != "DELETE":
            route.continue_()
            return
        route.fulfill(status=503, json={"detail": "The cluster does not answer."})

    page.page.route("**/v1/runs/*", refuse)
    cancel.click()
    page.page.get_by_role("alert").get_by_text("does not answer").wait_for()
    page.page.wait_for_timeout(3500)  # two looks at the run
    assert page.page.get_by_role("alert").count() == 1
    page.page.unroute("**/v1/runs/*")
    page.wrong.clear()  # the browser tells of a 503
    cancel.click()
    page.page.locator("dd .state", has_text="cancelled").wait_for()
