"""One HTML file that holds a whole report: text, tables and pictures, with nothing to load from elsewhere."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

from pipeline.reports.tables import Table

SHORT = 24
"""Characters of a cell that stands in one line."""
LISTED = 3
"""With more sections than that, a page begins with a list of them."""

TEMPLATE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light only">
<title>{{ title }}</title>
<style>
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #111; background: #fff;
       font: 16px/1.5 system-ui, sans-serif; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #bbb; }
a { color: inherit; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.85rem; border-block: 2px solid #111; }
th, td { padding: 0.2rem 0.6rem; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid #111; }
td { min-width: 14rem; }
.short { min-width: 0; white-space: nowrap; }
tbody tr:nth-child(even) { background: #f2f2f2; }
figure { margin: 1.5rem 0; }
img { max-width: 100%; height: auto; }
figcaption { font-size: 0.85rem; color: #333; }
@media print {
  body { max-width: none; margin: 0; font-size: 10pt; }
  .table { overflow: visible; }
  figure, tr { break-inside: avoid; }
  h2 { break-after: avoid; }
}
</style>
</head>
<body>
<h1>{{ title }}</h1>
{% if listed %}
<nav aria-label="Contents">
<ol>
{% for section in sections %}
<li><a href="#section-{{ loop.index }}">{{ section.heading }}</a></li>
{% endfor %}
</ol>
</nav>
{% endif %}
{% for section in sections %}
<section id="section-{{ loop.index }}">
<h2>{{ section.heading }}</h2>
{% for paragraph in section.text %}
<p>{{ paragraph }}</p>
{% endfor %}
{% if section.table is not none %}
<div class="table">
<table>
<thead>
<tr>{% for cell in section.table.headers %}<th>{{ cell }}</th>{% endfor %}</tr>
</thead>
<tbody>
{% for row in section.table.rows %}
<tr>{% for cell in row %}<td class="{{ 'short' if cell | string | length <= short }}">{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
{% if section.figure is not none %}
<figure>
<img src="{{ section.figure | picture }}" alt="{{ section.caption or section.heading }}">
{% if section.caption %}
<figcaption>{{ section.caption }}</figcaption>
{% endif %}
</figure>
{% elif section.caption %}
<p>{{ section.caption }}</p>
{% endif %}
</section>
{% endfor %}
</body>
</html>
"""


@dataclass(frozen=True)
class Section:
    """A part of a page: paragraphs, then a table, then a picture with its caption."""

    heading: str
    text: Sequence[str] = ()
    table: Table | None = None
    figure: Figure | None = None
    caption: str = ""


def html_page(title: str, sections: Sequence[Section]) -> str:
    """The page as one document; it needs no network and no scripts, and is the same for the same content."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["picture"] = _picture
    template = environment.from_string(TEMPLATE)
    return template.render(title=title, sections=sections, listed=len(sections) > LISTED, short=SHORT)


def _picture(figure: Figure) -> str:
    """The picture itself as an address: its names cannot clash with those of another in the same page."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "variantlab"}):  # instead of names by chance
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
