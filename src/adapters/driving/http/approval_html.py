"""How the pages behind a signed link look: small, without scripts, and with nothing from elsewhere.

Everything that is filled in is escaped by the template engine, and nothing is filled in outside of text and attributes.
"""

import hashlib
from base64 import b64encode
from typing import Final

from jinja2 import DictLoader, Environment, StrictUndefined

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #fff; --ground: #f3f4f6; --line: #d0d7de;
  --go: #1a6e3c; --go-ink: #fff; --stop: #a3262a; --warn: #7a4d00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --paper: #1c2127; --ground: #12161a;
  --line: #3a424b; --go: #3fb26a; --go-ink: #07160d; --stop: #ff8a86; --warn: #e5b567; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 1.5rem 1rem 3rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 42rem; margin: 0 auto; padding: 1.5rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 12px; }
header { max-width: 42rem; margin: 0 auto .75rem; color: var(--soft); font-weight: 600; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.25; }
h2 { margin: 1.75rem 0 .5rem; font-size: 1.05rem; }
p { margin: .5rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ol { margin: .5rem 0; padding-left: 1.5rem; }
li { margin: .6rem 0; overflow-wrap: anywhere; }
pre { margin: .35rem 0; padding: .6rem .75rem; max-height: 18rem; overflow: auto; background: var(--ground);
  border-radius: 6px; font: .875rem/1.45 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
.mark { display: inline-block; padding: 0 .5rem; border: 1px solid currentColor; border-radius: 99px;
  font-size: .8rem; }
.critical, .high { color: var(--stop); }
.warning, .medium { color: var(--warn); }
.low { color: var(--go); }
form { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: 1.75rem; padding-top: 1.25rem;
  border-top: 1px solid var(--line); }
button { min-height: 2.75rem; padding: .5rem 1.25rem; border: 2px solid var(--go); border-radius: 8px;
  background: var(--go); color: var(--go-ink); font: inherit; font-weight: 600; cursor: pointer; }
button.reject { border-color: var(--stop); background: transparent; color: var(--stop); }
button:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
"""
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The browser itself refuses all but the one style sheet and the form."""

TEMPLATES: Final = {
    "page": """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>{% block title %}{% endblock %} · Sextant</title>
<style>{{ style | safe }}</style>
</head>
<body>
<header>Sextant</header>
<main>
{% block content %}{% endblock %}
</main>
</body>
</html>
""",
    "request": """{% extends "page" %}
{% macro steps(planned) %}
<ol>
{% for step in planned %}
<li><strong>{{ step.name }}</strong> <span class="mark {{ step.risk }}">{{ step.risk }} risk</span><br>
{{ step.summary }}
{% for heading, text in step.details %}
<div class="soft">{{ heading }}</div><pre tabindex="0">{{ text }}</pre>
{% endfor %}
</li>
{% endfor %}
</ol>
{% endmacro %}
{% block title %}{{ title }}{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
<h2>The alert</h2>
<dl>
{% for name, text, mark in alert %}
<dt>{{ name }}</dt><dd>{% if mark %}<span class="mark {{ mark }}">{{ text }}</span>{% else %}{{ text }}{% endif %}</dd>
{% endfor %}
</dl>
<h2>What {{ "would be" if waits else "was to be" }} done</h2>
<p>By policy <strong>{{ policy }}</strong>{% if description %}: {{ description }}{% endif %}</p>
{{ steps(acting) }}
<p>{{ afterwards }}</p>
{% if rollback %}
<h2>If it does not help</h2>
{{ steps(rollback) }}
{% endif %}
{% if waits %}
<form method="post" action="decide">
<input type="hidden" name="token" value="{{ token }}">
<button type="submit" name="answer" value="approve">Approve and run</button>
<button type="submit" name="answer" value="reject" class="reject">Reject</button>
</form>
<p class="soft">{{ deadline }}</p>
{% endif %}
{% endblock %}
""",
    "message": """{% extends "page" %}
{% block title %}{{ title }}{% endblock %}
{% block content %}
<h1>{{ title }}</h1>
{% for paragraph in paragraphs %}
<p>{{ paragraph }}</p>
{% endfor %}
{% if small %}<p class="soft">{{ small }}</p>{% endif %}
{% endblock %}
""",
}

_environment = Environment(
    loader=DictLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def rendered_page(name: str, **values: object) -> str:
    """The page, of those in `TEMPLATES`, with `values` in it."""
    return _environment.get_template(name).render(style=STYLE, **values)
