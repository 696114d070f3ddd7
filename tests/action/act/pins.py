"""Which actions of others our files use, and what stands in for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

STAND_INS = Path(__file__).with_name("stand_ins")


def pinned_actions(project: Path) -> frozenset[str]:
    """Return every `owner/name@commit` that the action and the workflows of a project use."""
    files = [project / "action.yml", *sorted((project / ".github" / "workflows").glob("*.yml"))]
    documents = (yaml.safe_load(file.read_text("utf-8")) for file in files if file.exists())
    used = {uses for document in documents for uses in _uses(document)}
    return frozenset(uses for uses in used if not uses.startswith("./"))


def pin_of(name: str, project: Path) -> str:
    """Return the one `owner/name@commit` under which a project uses an action."""
    (pin,) = (uses for uses in pinned_actions(project) if uses.partition("@")[0] == name)
    return pin


def stand_in_options(project: Path) -> Iterator[str]:
    """Yield the options that make act take our stand-ins wherever a project uses another action."""
    repositories = set()
    for uses in sorted(pinned_actions(project)):
        name, _, commit = uses.partition("@")
        assert (STAND_INS / name / "action.yml").is_file(), f"nothing stands in for {uses}"
        repositories.add(("/".join(name.split("/")[:2]), commit))
    for repository, commit in sorted(repositories):
        yield f"--local-repository={repository}@{commit}={STAND_INS / repository}"


def _uses(node: Any) -> Iterator[str]:
    """Yield the value of every `uses` in a document, however deep."""
    if isinstance(node, dict):
        if isinstance(node.get("uses"), str):
            yield node["uses"]
        for inner in node.values():
            yield from _uses(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _uses(inner)
