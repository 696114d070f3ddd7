"""What the source of a dataclass says beneath its fields."""

import ast
import inspect
import textwrap
from collections.abc import Mapping


def field_texts(kind: type) -> Mapping[str, str]:
    """Return the text beneath each field of a class that has one, as one line."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    texts: dict[str, str] = {}
    name: str | None = None
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=str(field))):
                name = field
            case ast.Expr(value=ast.Constant(value=str(text))) if name is not None:
                texts[name] = one_line(text)
            case _:
                name = None
    return texts


def one_line(text: str) -> str:
    """Return a text without its line breaks."""
    return " ".join(text.split())
