"""The page in a real headless browser: no errors, no requests, what is pressed answers, and nothing sticks out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compact_labse.measure.pages.page import html
from compact_labse.measure.pages.summary import MORE, summarise
from compact_labse.measure.speed.latency import Cell
from tests.measure.browser import Browser, browser
from tests.measure.records import SHAPES, agrees, measured, model, retrieval, speed

pytestmark = pytest.mark.slow
TEXT = Cell(mode="text")
MODELS = (
    (model("teacher-with-a-rather-long-name", "torch", 900e6), 10.0, 95.0),
    (model("student", "torch", 90e6), 2.0, 91.0),
    ({**model("student/model_int8", size=23e6), "dtype": "int8", "made_from": ["hash of student"]}, 1.0, 90.8),
    ({**model("student/model_int4", "litert", size=13e6), "dtype": "int4"}, 1.5, 88.0),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = []
    for of, ms, points in MODELS:
        records += [speed(of, ms + n / 100, n, cell) for n in range(5) for cell in (*SHAPES, TEXT)]
        records += [retrieval(of, "tatoeba", untrained=("ka",), de=points, ko=points - 30, ka=points - 70)]
        records += [
            retrieval(of, "pud", de=points, ko=points - 10),
            agrees(of),
            *(measured(of, kind) for kind in MORE if kind != "mteb"),
        ]
    file = tmp_path_factory.mktemp("page") / "report.html"
    file.write_text(html(summarise(records)), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def labels(page: Browser, plot: int = 0) -> set[str]:
    script = f"[...document.querySelectorAll('.plot')[{plot}].querySelectorAll('.point')].map(p => p.dataset.label)"
    return set(page.run(script))


def test_it_loads_without_complaint_and_asks_for_nothing(page: Browser, path: Path):
    page.open(path)
    assert page.run("document.querySelectorAll('.plot svg .point').length") == 8
    assert page.run("document.querySelectorAll('.plot svg .front').length") == 2
    assert page.run("document.querySelectorAll('.panel svg').length") == 8
    assert page.errors == []


def test_a_page_that_fails_or_asks_is_noticed(page: Browser, path: Path, tmp_path: Path):
    broken = tmp_path / "broken.html"
    ask = "<script>const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x'; document.body.append(i);"
    broken.write_text(path.read_text().replace("</body>", ask + "null.x</script></body>"), encoding="utf-8")
    page.open(broken)
    found, page.errors = page.errors, []
    assert any("TypeError" in error for error in found)
    assert any("Content Security Policy" in error or "asked for" in error for error in found)


def test_hovering_shows_the_figures(page: Browser, path: Path):
    page.open(path)
    box = page.run(
        "(async () => { const m = document.querySelector('[data-label=student] .mark');"
        "m.scrollIntoView({block: 'center', behavior: 'instant'});"
        "for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);"  # scrolling hides the tip
        "const b = m.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    tip = "document.getElementById('tip')"
    assert page.run(f"{tip}.textContent").splitlines() == [
        "student",
        "torch, fp32",
        "file size: 90.0 MB",
        "tatoeba xx→en: 57.7",
    ]
    assert page.run(f"{tip}.style.opacity") == "1"


def test_filters_hide_runtimes_and_types_and_bring_them_back(page: Browser, path: Path):
    page.open(path)
    press = "document.querySelector('[data-value=\"{}\"]').click()"
    page.run(press.format("torch"))
    assert labels(page) == labels(page, 1) == {"student/model_int8", "student/model_int4"}
    page.run(press.format("int4"))
    assert labels(page) == {"student/model_int8"}
    page.run(press.format("int8"))
    assert "Nothing to show" in page.run("document.querySelector('.plot .box').textContent")
    for value in ("torch", "int4", "int8"):
        page.run(press.format(value))
    assert len(labels(page)) == 4
    assert page.errors == []


def test_every_pair_of_axes_can_be_drawn(page: Browser, path: Path):
    page.open(path)
    drawn = page.run(
        "(() => { const plot = document.querySelector('.plot'), [y, x] = plot.querySelectorAll('select'), seen = [];"
        "for (const a of y.options) for (const b of x.options) { y.value = a.value; x.value = b.value;"
        "x.dispatchEvent(new Event('change')); y.dispatchEvent(new Event('change'));"
        "const svg = plot.querySelector('svg'); seen.push([svg.querySelectorAll('.point').length,"
        "svg.querySelectorAll('.tick').length, /NaN|Infinity|undefined/.test(svg.outerHTML)]); } return seen; })()"
    )
    assert len(drawn) > 100
    assert all(points == 4 and ticks >= 4 and not bad for points, ticks, bad in drawn)


def test_headers_sort_both_ways_and_what_is_missing_stays_last(page: Browser, path: Path):
    page.open(path)
    sort = (
        "(() => { const h = document.querySelectorAll('.sortable')[1].querySelectorAll('th')[3]; h.click();"
        "const rows = [...h.closest('table').tBodies[0].rows];"
        "return [h.getAttribute('aria-sort'), ...rows.map(row => row.cells[3].textContent)]; })()"
    )
    assert page.run(sort) == ["ascending", "13.0", "23.0", "90.0", "900.0"]
    assert page.run(sort) == ["descending", "900.0", "90.0", "23.0", "13.0"]


def test_heat_maps_and_pictures_follow_their_lists(page: Browser, path: Path):
    page.open(path)
    choose = "(() => {{ const s = {}; s.value = '{}'; s.dispatchEvent(new Event('change')); return {}; }})()"
    heat = "document.querySelector('.heat select')"
    assert page.run(choose.format(heat, 1, "document.querySelector('.heat td[data-figures]').textContent")) == "94.0"
    count = "document.querySelectorAll('.panel')[0].querySelectorAll('.other').length"
    assert page.run(count) == 4
    assert page.run(choose.format("document.getElementById('language')", "ko", count)) == 2
    assert "94 %" in page.run("document.querySelector('.panel p').textContent")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(page: Browser, path: Path, width: int):
    page.open(path, width)
    assert page.run("document.documentElement.scrollWidth") == width
    outside = page.run(
        "[...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll') && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert outside == []


def test_labels_of_points_do_not_overlap(page: Browser, path: Path):
    for width in (360, 1280):
        page.open(path, width)
        overlapping = page.run(
            "[...document.querySelectorAll('.plot svg')].flatMap(svg => { const boxes = [...svg.querySelectorAll("
            "'.point text')].map(t => t.getBoundingClientRect()); return boxes.flatMap((a, i) => boxes.slice(i + 1)"
            ".filter(b => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2 && "
            "Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)); }).length"
        )
        assert overlapping == 0


def test_dark_is_dark_and_print_is_paper(page: Browser, path: Path, tmp_path: Path):
    colour = "getComputedStyle(document.body).backgroundColor"
    page.open(path, dark=True)
    assert page.run(colour) == "rgb(20, 22, 26)"
    page.open(path, dark=True, print_=True)
    assert page.run(colour) == "rgb(255, 255, 255)"
    page.open(path)
    page.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes()[:5] == b"%PDF-"
