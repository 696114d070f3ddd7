"""The workflow of a first matrix as YAML."""

from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from repro_gate.core.start.workflow import Workflow

_TEMPLATE: Final = "workflow.yml.j2"
_HOSTED_RUNNER: Final = "ubuntu-latest"


def render_workflow(workflow: Workflow) -> str:
    """Return the text of the workflow; every value of it is a plain word."""
    # The delimiters of jinja2 are those of GitHub's expressions.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 -- it is no HTML
    )
    runs_on = f"[{', '.join(workflow.labels)}]" if workflow.labels else _HOSTED_RUNNER
    return environment.get_template(_TEMPLATE).render(
        runs_on=runs_on,
        runner_comments=workflow.comments,
        inputs=workflow.inputs,
        secret=workflow.secret,
    )
