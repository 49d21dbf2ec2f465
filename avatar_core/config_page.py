"""The reference of all settings as a Markdown page, from the config models: python -m avatar_core.config_page.

python -m avatar_core.config_page > docs/configuration.md
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from avatar_core.config import Preset

INTRODUCTION = """# Configuration

Every setting of a preset. A preset of your own is a YAML file of differences: `extends: draft` and what is to change.

```yaml
extends: draft
texturing:
  steps: 200
  losses: { clay: 1.0 }
```

    avatars run people.csv --library library --preset mine.yaml

Settings that do not exist and values out of bounds are refused with the file, the key and the remedy. The defaults
below are those of `draft`. What a stage reads here enters its keys: another value computes that stage and
those after it again.

Made by `python -m avatar_core.config_page > docs/configuration.md`; change the models, not this page.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([INTRODUCTION, *_sections(Preset, "")])


def describe(model: type[BaseModel]) -> dict[str, str]:
    """Return what is said of each field: the text below it in the source, of this class or those that it extends."""
    said: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if not (issubclass(cls, BaseModel) and cls is not BaseModel):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:]):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
            ):
                said[field.target.id] = " ".join(str(text.value.value).split())
    return said


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    said, inner = describe(model), []
    rows = ["| setting | type | default | bounds | what it is |", "|---|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if _model(field) is not None:
            inner.append((f"{path}.{name}".lstrip("."), field))
            continue
        default = "—" if field.is_required() else f"`{field.default!r}`"
        cells = [f"`{name}`", f"`{_kind(field)}`", default, _bounds(field), said.get(name, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    yield f"## {path or 'The preset itself'}\n\n{inspect.cleandoc(model.__doc__ or '')}\n"
    if len(rows) > 2:
        yield "\n".join(rows) + "\n"
    for place, field in inner:
        nested = _model(field)
        assert nested is not None
        yield from _sections(nested, place)


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _kind(field: FieldInfo) -> str:
    kind: Any = field.annotation
    name = kind.__name__ if isinstance(kind, type) and "[" not in repr(kind) else repr(kind)
    return name.replace("typing.", "")


def _bounds(field: FieldInfo) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(
        f"{sign} {getattr(one, name)}" for one in field.metadata for name, sign in signs.items() if hasattr(one, name)
    )


if __name__ == "__main__":
    sys.stdout.write(page())
