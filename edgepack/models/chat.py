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

TEMPLATE_LIMIT = 1_000_000  # characters


def read_template(root: Path, tokenizer_config: Mapping[str, Any]) -> str | None:
    """The chat template of a checkpoint folder, or None.

    Precedence: tokenizer_config.json, then chat_template.jinja, then chat_template.json.
    """
    found = tokenizer_config.get("chat_template")
    if isinstance(found, list):  # several named ones: the one called default
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        found = named.get("default")
    if found is None and (root / "chat_template.jinja").is_file():
        found = (root / "chat_template.jinja").read_text("utf-8", errors="strict")
    if found is None and (root / "chat_template.json").is_file():
        found = read_json(root / "chat_template.json").get("chat_template")
    if found is not None and (not isinstance(found, str) or len(found) > TEMPLATE_LIMIT):
        raise DamagedInput(
            f"{root}: the chat template is not a string of at most {TEMPLATE_LIMIT:,} characters",
            "check chat_template in tokenizer_config.json",
        )
    return found


def render(
    template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, str]
) -> str:
    """The conversation as text; `variables` are the special tokens a template may name.

    Raises DamagedInput where the template fails or refuses the messages.
    """
    from jinja2 import TemplateError

    try:
        return _compiled(template).render(
            messages=messages, add_generation_prompt=False, **variables
        )
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise DamagedInput(
            f"the chat template cannot render these messages: {error}",
            "check the roles in the corpus, and chat_template in tokenizer_config.json",
        ) from error


@lru_cache(maxsize=8)
def _compiled(template: str) -> Template:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _refuse
    # one fixed day: the same conversation must give the same ids in every run
    environment.globals["strftime_now"] = datetime.date(2026, 1, 1).strftime
    return environment.from_string(template)


def _tojson(value: Any, indent: int | None = None) -> str:
    """Plain JSON; Jinja's own filter escapes for HTML."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)
