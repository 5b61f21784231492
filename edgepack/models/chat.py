"""Chat templates. They are programs: rendered in Jinja's immutable sandbox, never trusted."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgepack.errors import DamagedInput
from edgepack.models.config import read_json

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.runtime import Context

TEMPLATE_LIMIT = 1_000_000  # characters


def read_template(root: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    """The chat template of a checkpoint folder, or None.

    Precedence: tokenizer_config.json, then chat_template.jinja, then chat_template.json.
    """
    found = tokenizer_config.get("chat_template")
    if isinstance(found, list):  # several named ones: the one called default
        named = (item for item in found if isinstance(item, dict))
        found = next((i.get("template") for i in named if i.get("name") == "default"), None)
    if found is None and (root / "chat_template.jinja").is_file():
        found = _read_text(root / "chat_template.jinja")
    if found is None and (root / "chat_template.json").is_file():
        found = read_json(root / "chat_template.json").get("chat_template")
    if found is not None and (not isinstance(found, str) or len(found) > TEMPLATE_LIMIT):
        raise DamagedInput(
            f"{root}: the chat template is not a string of at most {TEMPLATE_LIMIT:,} characters",
            "check chat_template in tokenizer_config.json",
        )
    return found


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedInput(f"{path}: not readable as UTF-8: {error}", "fetch it again") from error


def render(
    template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, Any]
) -> str:
    """The conversation as text; `variables` are the special tokens a template may name, and
    whatever else it asks for: `tools`, `enable_thinking`, `add_generation_prompt`.

    Raises DamagedInput where the template fails or refuses the messages.
    """
    try:
        return _compiled(template).render(
            {"messages": messages, "add_generation_prompt": False, **variables}
        )
    except Exception as error:  # a template is a program: it can raise anything
        raise DamagedInput(
            f"the chat template cannot render these messages: {error}",
            "check the roles in the corpus, and chat_template in tokenizer_config.json",
        ) from error


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """Jinja's sandbox bounds loops; products are bounded here."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            if operator == "**" or _size(left) * _size(right) > TEMPLATE_LIMIT:
                raise SecurityError(f"{operator!r} could make too large a value")
            return super().call_binop(context, operator, left, right)

    environment = Bounded(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    # one fixed day: the same conversation must give the same ids in every run
    environment.globals["strftime_now"] = datetime.date(2026, 1, 1).strftime
    return environment.from_string(template)


def _size(factor: Any) -> float:
    """What a product grows with: a number's size, a text's or list's length."""
    return abs(factor) if isinstance(factor, int | float) else len(factor)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON, with the arguments that templates know; Jinja's own filter escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
