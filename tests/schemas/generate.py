"""Write the schemas that are made of types; `python -m tests.schemas.generate`."""

import json
from pathlib import Path

import repro_gate
from tests.schemas.made_of_types import LAYOUTS, schema_of

FOLDER = Path(repro_gate.__file__).parent / "schemas"


def file_of(name: str) -> Path:
    """Return where the schema of a kind of file is committed."""
    return FOLDER / f"{name}-v1.json"


def text_of(name: str) -> str:
    """Return what that file says."""
    return json.dumps(schema_of(name), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in LAYOUTS:
        file_of(each).write_text(text_of(each), "utf-8")
