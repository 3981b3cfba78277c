from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.reports.figures import box_plot
from pipeline.reports.page import Section, html_page
from pipeline.reports.tables import Table

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Read(HTMLParser):
    """What a page holds; fails where a tag is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        """Each text with the tag that it stands in."""
        self.attributes: list[tuple[str, str, str]] = []
        """Tag, name and value of each attribute."""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag: str) -> list[str]:
        """The texts in such tags."""
        return [text for inside, text in self.texts if inside == tag and text]

    def values(self, *names: str) -> list[str]:
        """The values of such attributes."""
        return [value for _, name, value in self.attributes if name in names]


def pages(count: int) -> list[Section]:
    return [Section(f"Part {number}") for number in range(count)]


def section() -> Section:
    return Section(
        "Test error <b>&",
        ["One & <i>two</i>", "Three"],
        Table(["model", "error"], [["mlp", "<script>1</script>"], ["a & b", None]]),
        box_plot({"mlp": [0.1, 0.2]}, "test error"),
        'Errors of "mlp" <b>',
    )


def test_a_page_holds_every_heading_paragraph_cell_and_caption() -> None:
    read = Read(html_page("Comparison", [section(), Section("Rest", caption="No picture")]))
    assert read.of("title") == read.of("h1") == ["Comparison"]
    assert read.of("h2") == ["Test error <b>&", "Rest"]
    assert read.of("p") == ["One & <i>two</i>", "Three", "No picture"]
    assert read.of("th") == ["model", "error"]
    assert read.of("td") == ["mlp", "<script>1</script>", "a & b", "None"]
    assert read.of("figcaption") == read.values("alt") == ['Errors of "mlp" <b>']
    assert not read.of("b") + read.of("i") + read.of("script")


def test_a_page_needs_nothing_from_elsewhere() -> None:
    page = html_page("Comparison", [section() for _ in range(5)])
    addresses = Read(page).values("src", "href", "srcset", "data")
    assert len(addresses) == 10
    assert all(address.startswith(("#", "data:")) for address in addresses)
    for forbidden in ("http:", "https:", "@import", "url(", "<script", "<link"):
        assert forbidden not in page


def test_a_picture_without_a_caption_is_described_by_its_heading() -> None:
    read = Read(html_page("Comparison", [Section("Ranks", figure=box_plot({"mlp": [0.1]}, "test error"))]))
    assert read.values("alt") == ["Ranks"]
    assert read.values("src")[0].startswith("data:image/svg+xml;base64,")


@pytest.mark.parametrize(("count", "listed"), [(0, 0), (3, 0), (4, 4), (9, 9)])
def test_more_than_three_sections_are_listed_with_links_to_them(count: int, listed: int) -> None:
    read = Read(html_page("Comparison", pages(count)))
    assert read.of("a") == read.of("h2")[:listed]
    assert read.values("href") == [f"#{name}" for name in read.values("id")][:listed]
    assert len(set(read.values("id"))) == count


def test_the_same_content_gives_the_same_page() -> None:
    assert html_page("Comparison", [section()]) == html_page("Comparison", [section()])


TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1) | st.sampled_from(["<b>&", "{{ 1 }}", "'>\""])


@given(text=TEXTS)
@settings(max_examples=30, deadline=None)
def test_whatever_the_text_it_is_shown_as_it_is(text: str) -> None:
    read = Read(html_page(text, [Section(text, [text], caption=text)]))
    assert ["".join(read.of(tag)) for tag in ("title", "h1", "h2")] == [text] * 3
    assert "".join(read.of("p")) == 2 * text


CELLS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=8) | st.sampled_from(
    ["<b>", "&amp;", "a & b", "</td>", "{{ 1 }}", "1e3", "0.10", "a cell that is longer than a line of its column"]
)


@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_a_table_shows_every_cell_as_it_is(rows: list[list[str]]) -> None:
    read = Read(html_page("Table", [Section("Part", table=Table(rows[0], rows[1:]))]))
    assert read.of("th") + read.of("td") == [cell for row in rows for cell in row]
