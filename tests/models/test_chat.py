"""Chat templates: where they come from, and that a hostile one gets nowhere."""

from __future__ import annotations

import json

import pytest

from edgepack.errors import DamagedInput
from edgepack.models.chat import TEMPLATE_LIMIT, read_template, render

MESSAGES = ({"role": "user", "content": "hé <b>"}, {"role": "assistant", "content": "ok"})


def test_precedence(tmp_path):
    assert read_template(tmp_path, {}) is None
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "json"}))
    assert read_template(tmp_path, {}) == "json"
    (tmp_path / "chat_template.jinja").write_text("jinja é", "utf-8")
    assert read_template(tmp_path, {}) == "jinja é"
    assert read_template(tmp_path, {"chat_template": "config"}) == "config"


def test_of_several_the_default(tmp_path):
    named = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}, 3]
    assert read_template(tmp_path, {"chat_template": named}) == "D"
    assert read_template(tmp_path, {"chat_template": named[:1]}) is None


@pytest.mark.parametrize(
    "found",
    [3, {"a": 1}, True, "x" * (TEMPLATE_LIMIT + 1), [{"name": "default", "template": 3}]],
)
def test_not_a_template(tmp_path, found):
    with pytest.raises(DamagedInput, match="not a string of at most"):
        read_template(tmp_path, {"chat_template": found})


def test_odd_names_are_passed_over(tmp_path):
    assert read_template(tmp_path, {"chat_template": [{"name": [], "template": "x"}]}) is None


def test_a_template_file_that_is_not_text(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedInput, match=r"chat_template\.jinja"):
        read_template(tmp_path, {})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% for m in messages %}\n  {{- m.role }}:{{ m['content'] }};\n{% endfor %}\n",
         "user:hé <b>;\nassistant:ok;\n"),
        ("{{ bos }}{{ messages[0] | tojson }}", '<s>{"role": "user", "content": "hé <b>"}'),
        ("{{ [1, 2] | tojson(separators=(',', ':')) }}", "[1,2]"),
        ("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=true) }}", '{\n "a": 2,\n "b": 1\n}'),
        ("{% if tools %}T{% endif %}{% if add_generation_prompt %}G{% endif %}.", "."),
        ("{{ strftime_now('%Y-%m-%d') }}", "2026-01-01"),
        ("{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "1"),
        ("{{ ' ' * 3 }}{{ 4 * 2 }}", "   8"),
        ("{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
    ],
)  # fmt: skip
def test_what_real_templates_use(template, text):
    assert render(template, MESSAGES, {"bos": "<s>"}) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__class__.__base__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ render.__globals__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__self__.__class__.__base__ }}",
        "{{ ''['__cla' ~ 'ss__'] }}",
        "{{ ('{0.__class__}').format(messages) }}",
        "{{ messages | map(attribute='__class__') | list }}",
        "{{ messages[0].update({'role': 'system'}) }}",
        "{{ messages.append(1) }}",
        "{% set x = [] %}{{ x.append(1) }}",
        "{{ range(10 ** 9) }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{{ 'a' * 10000000000 }}",
        "{{ 10000000000 * 'a' }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ 1 / 0 }}",
        "{{ nothing.at.all }}",
        "{{ messages[9].role }}",
        "{% for %}",
        "{{ unclosed",
        "{{ 'a' | nosuchfilter }}",
        "{{ messages | tojson(default=1) }}",
        "{{ raise_exception('roles must alternate') }}",
    ],
)
def test_attacks_and_faults_are_one_error(template):
    messages = [dict(message) for message in MESSAGES]
    try:
        text = render(template, messages, {})
    except DamagedInput as error:
        assert "chat template" in error.message
    else:
        # an attribute that the sandbox hides is undefined, which prints as nothing
        assert "class" not in text
        assert text.strip() in ("", "[Undefined, Undefined]", "[, ]")
    assert messages == [dict(message) for message in MESSAGES]


def test_a_refusal_says_why():
    with pytest.raises(DamagedInput, match="roles must alternate") as caught:
        render("{{ raise_exception('roles must alternate') }}", MESSAGES, {})
    assert caught.value.exit_code == 5
