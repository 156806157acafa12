"""Fill the report's tables, draw its figures, check it, and render it as HTML and PDF.

``make_report.py --check`` changes nothing, and ends with 1 if a table, a figure, a citation or a
link is not as it should be.
"""

from __future__ import annotations

import argparse
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from report_data import ROOT, Asked, ReportError, figure_data, figures, fill

REPORT, REFERENCES = ROOT / "report.md", ROOT / "report.bib"
BUILD = ROOT / "build" / "report"
_KEY = re.compile(r"@([a-z][a-z0-9]+)(?=[\s;,\]])")
_ENTRY = re.compile(r"^@\w+\{([^,\s]+),", re.MULTILINE)
_DATA = re.compile(r"<!-- data: (.*) -->")


def draw(asked: Asked, path: Path) -> None:
    """Draw a figure; the numbers that it shows stand in its file as well."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    data = figure_data(asked)
    plt.rcParams.update({"svg.hashsalt": "sparknomad", "font.size": 9})
    figure, axes = plt.subplots(figsize=(7, 1.2 + 0.4 * len(data)) if asked.kind == "compared"
                                else (6, 3.6), layout="constrained")  # fmt: skip
    if asked.kind == "compared":
        for place, each in enumerate(reversed(data)):
            low, high = each["ratio_interval"] or (each["ratio"], each["ratio"])
            axes.plot([low, high], [place, place], color="tab:blue", alpha=0.5, linewidth=5)
            axes.plot(each["ratio"], place, "o", color="tab:blue")
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_yticks(range(len(data)), [each["name"] for each in reversed(data)])
        axes.set_xlabel("ratio of seconds, ours to the other; bar: 95% interval")
    else:
        for each in data:
            works, seconds = zip(*each["points"], strict=True)
            slope = "" if each["exponent"] is None else f" (exponent {each['exponent']:.2f})"
            axes.loglog(works, seconds, "o-", label=f"{each['name']}{slope}")
        axes.set_xlabel(" / ".join(dict.fromkeys(each["unit"] for each in data)))
        axes.set_ylabel("seconds")
        axes.grid(which="both", alpha=0.2)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = path.read_text("utf-8")
    kept = json.dumps(data, ensure_ascii=True).replace("--", "-\\u002d")
    path.write_text(f"{text.rstrip()}\n<!-- data: {kept} -->\n", "utf-8")


def drawn(path: Path) -> object:
    """The numbers that a figure shows, or ``None``."""
    found = _DATA.search(path.read_text("utf-8")) if path.is_file() else None
    return json.loads(found[1]) if found else None


def cited(text: str) -> set[str]:
    """The keys that a text cites: those in brackets."""
    inside = re.findall(r"\[[^\]]*@[^\]]*\]", text)
    return {key for part in inside for key in _KEY.findall(part)}


def wrong_citations(text: str, references: str) -> list[str]:
    """Keys that are missing, or that nothing cites."""
    keys, used = set(_ENTRY.findall(references)), cited(text)
    missing = [f"cited, but not in report.bib: {key}" for key in sorted(used - keys)]
    return missing + [f"in report.bib, but never cited: {key}" for key in sorted(keys - used)]


class _Page(html.parser.HTMLParser):
    """Collects the anchors of a page, and where its links go."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        if told.get("id"):
            self.anchors.add(str(told["id"]))
        if tag == "a" and told.get("href"):
            self.links.append(str(told["href"]))


def dead_links(page: str) -> list[str]:
    """Links into the page, or to files of the project, that lead nowhere."""
    read = _Page()
    read.feed(page)
    dead = []
    for link in read.links:
        if re.match(r"[a-z]+:", link):
            continue
        place, _, anchor = link.partition("#")
        if place and not (ROOT / place).exists():
            dead.append(f"a link to a file that is not there: {link}")
        if not place and anchor not in read.anchors:
            dead.append(f"a link to a part that is not there: {link}")
    return dead


def problems(text: str) -> list[str]:
    """All that is wrong with the report."""
    found = wrong_citations(text, REFERENCES.read_text("utf-8"))
    if fill(text) != text:
        found.append("a table is not what its JSON says: run make_report.py")
    for place, asked in figures(text).items():
        if drawn(ROOT / place) != json.loads(json.dumps(figure_data(asked))):
            found.append(f"{place}: is not what its JSON says: run make_report.py")
    for place in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        if not (ROOT / place).is_file():
            found.append(f"{place}: there is no such picture")
    return found


def render(target: Path) -> list[str]:
    """Write the report as HTML and PDF; what is wrong with it."""
    import pypandoc

    target.mkdir(parents=True, exist_ok=True)
    page = target / "report.html"
    subprocess.run(
        [pypandoc.get_pandoc_path(), str(REPORT), "--from=markdown-smart", "--citeproc",
         "--standalone", "--toc", "--number-sections", "--embed-resources", "--mathml",
         "--fail-if-warnings", "--metadata=lang:en", f"--css={ROOT / 'docs' / 'report.css'}",
         f"--output={page}"],
        check=True,
        cwd=ROOT,
    )  # fmt: skip
    browser = shutil.which("chromium")
    if browser is None:
        return ["no program chromium, which prints the PDF: apt-get install chromium"]
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
         f"--user-data-dir={target / 'browser'}", f"--print-to-pdf={target / 'report.pdf'}",
         page.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )  # fmt: skip
    shutil.rmtree(target / "browser", ignore_errors=True)
    return dead_links(page.read_text("utf-8"))


def main() -> int:
    """Entry point; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--target", type=Path, default=BUILD)
    given = parser.parse_args()
    try:
        text = REPORT.read_text("utf-8")
        if not given.check:
            text = fill(text)
            REPORT.write_text(text, "utf-8")
            for place, asked in figures(text).items():
                draw(asked, ROOT / place)
        wrong = problems(text) + render(given.target)
    except ReportError as error:
        wrong = [str(error)]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    if not wrong:
        print(f"written: {given.target / 'report.html'} and report.pdf")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
