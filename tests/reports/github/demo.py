"""Writes comments as Markdown and as pages, to be looked at.

Run it as `python -m tests.reports.github.demo DIR`.
"""

import sys
from dataclasses import replace
from pathlib import Path

from repro_gate.core.report import FinishedCheck, UnfinishedCheck
from repro_gate.reports.github.comment import render_comment, render_running
from repro_gate.reports.github.job_summary import render_job_summary
from tests.reports.github.rendering import html_of
from tests.reports.github.samples import ARTIFACT, MARKER, RUN, drifted, fixed, many

_STYLE = """
body { font: 14px/1.5 -apple-system, "Segoe UI", "Liberation Sans", sans-serif; color: #1f2328;
       width: 766px; margin: 24px auto; padding: 16px;
       border: 1px solid #d1d9e0; border-radius: 6px }
h1, h2 { border-bottom: 1px solid #d1d9e0; padding-bottom: .3em }
h1 { font-size: 2em } h2 { font-size: 1.5em } h3 { font-size: 1.25em } h4 { font-size: 1em }
h1, h2, h3, h4 { margin: 24px 0 16px; line-height: 1.25 } h3:first-of-type { margin-top: 0 }
a { color: #0969da; text-decoration: underline }
p, ul, pre, table, details { margin: 0 0 16px } ul { padding-left: 2em }
code, pre { font: 85%/1.45 ui-monospace, "Liberation Mono", monospace }
code { background: #818b981f; border-radius: 6px; padding: .2em .4em }
pre { background: #f6f8fa; border-radius: 6px; padding: 16px; overflow: auto }
pre code { background: none; padding: 0; font-size: 100% }
table { border-collapse: collapse; display: block; overflow: auto; width: max-content;
        max-width: 100% }
th, td { border: 1px solid #d1d9e0; padding: 6px 13px } tr:nth-child(2n) { background: #f6f8fa }
pre .add { background: #dafbe1; color: #116329 } pre .del { background: #ffebe9; color: #82071e }
pre .hunk { color: #8250df } pre .head { color: #0550ae; font-weight: 600 }
sub { font-size: 75%; vertical-align: sub }
"""


def main(folder: Path) -> None:
    """Write every sample."""
    folder.mkdir(parents=True, exist_ok=True)
    message = "repro-gate.toml: suites.embedded.seeds[2]: expected a seed of at least 1, found 0"
    comments = {
        "drift": render_comment(
            FinishedCheck(report=drifted()), marker=MARKER, run=RUN, artifact_url=ARTIFACT
        ),
        "cut": render_comment(
            FinishedCheck(report=drifted()),
            marker=MARKER,
            run=RUN,
            artifact_url=ARTIFACT,
            limit=3000,
        ),
        "many": render_comment(
            FinishedCheck(report=many()), marker=MARKER, run=RUN, artifact_url=ARTIFACT
        ),
        "fork": render_comment(
            FinishedCheck(report=many()),
            marker=MARKER,
            run=replace(RUN, from_fork=True, from_workflow_run=True, conclusion="failure"),
            artifact_url=None,
        ),
        "lost": render_comment(
            None,
            marker=MARKER,
            run=replace(RUN, from_workflow_run=True, conclusion="success"),
            artifact_url=None,
        ),
        "fixed": render_comment(
            FinishedCheck(report=fixed()), marker=MARKER, run=RUN, artifact_url=ARTIFACT
        ),
        "broken": render_comment(
            UnfinishedCheck(exit_code=3, message=message, remedy="correct the seed"),
            marker=MARKER,
            run=RUN,
            artifact_url=ARTIFACT,
        ),
        "killed": render_comment(None, marker=MARKER, run=RUN, artifact_url=None),
        "running": render_running(marker=MARKER, run=RUN),
        "summary": render_job_summary(
            FinishedCheck(report=drifted()),
            run=RUN,
            note="403: Resource not accessible by integration",
        ),
    }
    for name, body in comments.items():
        (folder / f"{name}.md").write_text(body, "utf-8")
        head = f'<!doctype html><meta charset="utf-8"><style>{_STYLE}</style>'
        page = f"{head}{_coloured(html_of(body))}"
        (folder / f"{name}.html").write_text(page, "utf-8")


def _coloured(html: str) -> str:
    """Return HTML in which diffs have the colours that GitHub gives them."""
    before, *diffs = html.split('<pre lang="diff"><code>')
    for diff in diffs:
        text, _, after = diff.partition("</code>")
        lines = "\n".join(map(_coloured_line, text.split("\n")))
        before += f'<pre lang="diff"><code>{lines}</code>{after}'
    return before


def _coloured_line(line: str) -> str:
    looks = {"@@": "hunk", "---": "head", "+++": "head", "-": "del", "+": "add"}
    look = next((look for start, look in looks.items() if line.startswith(start)), "")
    return f'<span class="{look}">{line}</span>'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
