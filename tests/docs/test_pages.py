"""Links and paths lead somewhere, and pages are short and plain."""

import re

import pytest

from tests.docs.pages import ROOT, Page, page, pages

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_OURS = ("repro_gate/", "tests/", "docs/", "snapshots/", "benchmarks/", ".github/")
_MAX_WORDS = 42_000
"""With sign-off, every setting, sampler and file form of llama.cpp, graded drifts, servers, and
hosted models over time, every way to begin and to accept a change, and GitLab."""
_MAX_README_LINES = 150
_REFUSED_WORDS = (
    "told",
    "tells",
    "foreign",
    "believed?",
    "goes on",
    "speaks? of",
    "sameness",
    "hears?",
)
_PAGES = {each.name: each for each in pages()}


def _anchors(target: Page) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in target.sections()
    }


def _links(source: Page) -> list[str]:
    return [link for link in _LINK.findall(source.prose) if "://" not in link]


@pytest.mark.parametrize("name", _PAGES)
def test_links_resolve(name: str) -> None:
    """A link inside the repository names a file that is there, and a heading of it."""
    source = _PAGES[name]
    for link in _links(source):
        path, _, anchor = link.partition("#")
        target = (source.path.parent / path).resolve() if path else source.path
        assert target.exists(), link
        assert not anchor or anchor in _anchors(Page(target)), link


@pytest.mark.parametrize("name", _PAGES)
def test_paths_of_the_repository_exist(name: str) -> None:
    """A path in backticks that starts with one of our folders exists."""
    for code in _PAGES[name].code():
        if code.startswith(_OURS) and not set(code) & set("<*{ "):
            path = ROOT / code
            assert path.exists() or code == "snapshots/models.json", code


def test_every_page_can_be_reached() -> None:
    """From the README a reader comes to every page, following links."""
    reached: set[str] = set()
    waiting = [page("README.md")]
    while waiting:
        source = waiting.pop()
        if source.name in reached:
            continue
        reached.add(source.name)
        for link in _links(source):
            target = (source.path.parent / link.partition("#")[0]).resolve()
            if target.is_dir():
                waiting += map(Page, target.glob("*.md"))
            elif target.suffix == ".md":
                waiting.append(Page(target))
    assert {name for name in _PAGES if not name.startswith(".github/")} <= reached


@pytest.mark.parametrize("name", _PAGES)
def test_no_page_knows_a_machine(name: str) -> None:
    """Pasted output has no folder of the one who pasted it."""
    assert not re.search(r"/(?:root|home|work|Users)/", _PAGES[name].text)


def test_every_make_target_is_explained() -> None:
    """The guide for contributors names each command of the Makefile."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    assert {f"make {target}" for target in targets} <= page("CONTRIBUTING.md").code()


def test_the_documentation_stays_short() -> None:
    """All pages under docs/ together, and the README, can be read in one sitting."""
    words = sum(len(each.text.split()) for each in _PAGES.values() if each.name.startswith("docs/"))
    readme = page("README.md").text.splitlines()
    assert words <= _MAX_WORDS
    assert len(readme) <= _MAX_README_LINES
    assert any(line.startswith("make ") for line in readme[:30])


@pytest.mark.parametrize("name", _PAGES)
def test_pages_use_the_words_of_the_field(name: str) -> None:
    """Code does not speak, and text that is not ours is untrusted, not foreign."""
    found = re.findall(rf"\b(?:{'|'.join(_REFUSED_WORDS)})\b", _PAGES[name].prose, re.IGNORECASE)
    assert found == []
