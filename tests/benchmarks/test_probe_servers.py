"""The page of probes shows what a probe finds out today."""

import re
from collections.abc import Mapping

import pytest

from benchmarks.probe_servers import IMITATED, imitations, llama_server
from tests.docs.pages import page

_PAGE = page("docs/examples/probe/report.md")


@pytest.fixture(scope="module")
def imitated() -> Mapping[str, str]:
    """Return the table of each imitation."""
    return dict(imitations())


def _committed(title: str) -> str:
    (table,) = [
        block
        for heading, block in zip(_PAGE.sections(), ("", *_PAGE.blocks("text")), strict=True)
        if heading == title
    ]
    return table.rstrip()


def _without_counts(table: str) -> str:
    return re.sub(r"\d+( of \d+)?", "N", table)


@pytest.mark.parametrize("name", IMITATED.values())
def test_the_imitations_have_the_committed_tables(imitated: Mapping[str, str], name: str) -> None:
    """Each with its possible policies."""
    title = f"An imitation of {name}"

    assert imitated[title] == _committed(title)


def test_llama_server_has_the_committed_table() -> None:
    """A real one, with a model of random weights; how many tokens it generates may differ."""
    title, table = llama_server()

    assert _without_counts(table) == _without_counts(_committed(title))


def test_the_page_has_the_servers_that_were_run() -> None:
    """The others need an installation of their own."""
    assert {"vLLM", "llama_cpp.server", "llama-server"} <= _PAGE.sections().keys()
