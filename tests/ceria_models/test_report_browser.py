"""The report in a browser: everything that a person does with it works, and nothing complains."""

import csv
import io

import pytest

from ceria_models import report_run
from ceria_models.report_run import Wishes, run_report
from tests.ceria_models.browser import Browser, browser_program
from tests.ceria_models.film_folder import Script, make_folder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        browser_program() is None,
        reason="no chromium or google-chrome on the PATH (Debian: apt-get install chromium)",
    ),
]
WHERE = "document.querySelector('#where').textContent"
PLACE = """(() => {
  const page = JSON.parse(document.querySelector('#content').textContent);
  const box = document.querySelector('#stage').getBoundingClientRect();
  const at = Number(document.querySelector('#frame').value), [dx, dy] = page.shown.drift[at];
  const of = (x, n) => (x / page.sampling + 0.5) / n;
  return [box.left + of(page.sites.x[%d] + dx, page.pixels[1]) * box.width,
          box.top + of(page.sites.y[%d] + dy, page.pixels[0]) * box.height];
})()"""

INSIDE = """(() => {
  const { x, y, species } = JSON.parse(document.querySelector('#content').textContent).sites;
  return x.findIndex((one, i) => species[i] === 'Ce' && Math.hypot(one - 12.8, y[i] - 12.8) < 3);
})()"""
"""A column so far inside that the zoomed image has it in the middle."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_run, "draw_overlay", lambda *a, **k: a[4].write_bytes(b""))
        patch.setattr(report_run, "_row_pictures", lambda *_: [])
        made = make_folder(tmp_path_factory.mktemp("film"))
        run_report(made, Wishes(animation=False))
    return made


@pytest.fixture(scope="module")
def open_browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def browser(open_browser, folder):
    """The page, opened anew; afterwards nothing was said on the console, and nothing loaded."""
    open_browser.problems.clear()
    open_browser.requests.clear()
    open_browser.open(folder / "report.html")
    yield open_browser
    assert open_browser.problems == []
    others = [url for url in open_browser.requests if not url.startswith(("data:", "blob:"))]
    assert others == [(folder / "report.html").as_uri()]


def test_the_first_screen_of_a_laptop_shows_film_facts_and_rates(browser):
    for selector in ("#stage", "#play", "#frame", "dl", "#rates-head"):
        box = f"document.querySelector('{selector}').getBoundingClientRect()"
        assert browser.run(f"{box}.bottom") < 640, selector
    assert browser.run("document.documentElement.scrollWidth") <= 1366


def test_the_slider_moves_the_film(browser):
    before = browser.run("document.querySelector('#stage').toDataURL()")
    browser.focus("#frame")
    for _ in range(3):
        browser.key("ArrowRight")
    assert browser.run(WHERE).startswith("frame 3 (0 to 23), 0.100 s")
    browser.wait(f"document.querySelector('#stage').toDataURL() !== {before!r}")
    browser.key("ArrowLeft")
    assert browser.run(WHERE).startswith("frame 2 ")
    assert browser.run(
        "document.querySelector('#frame').getAttribute('aria-valuetext')"
    ).startswith("frame 2 ")


def test_space_plays_and_stops(browser):
    browser.focus("#frame")
    browser.key(" ", "Space")
    browser.wait("Number(document.querySelector('#frame').value) > 2")
    browser.key(" ", "Space")
    stopped = browser.run(WHERE)
    assert browser.run("document.querySelector('#play').textContent") == "Play"
    browser.run("new Promise((tell) => setTimeout(tell, 250))")
    assert browser.run(WHERE) == stopped


def test_a_click_on_a_column_shows_its_trace(browser):
    browser.click(*browser.run(PLACE % (9, 9)))
    assert browser.run("document.querySelector('#site').value") == "9"
    assert "Column 9, Ce" in browser.run("document.querySelector('#trace-words').textContent")
    for part in ("line", "band", "dots", "now"):
        assert browser.run(f"document.querySelector('#trace .{part}').getAttribute('d').length") > 9
    words = "document.querySelector('#trace-words').textContent"
    assert "level of single frames" in browser.run(words)
    page = "JSON.parse(document.querySelector('#content').textContent).sites.species"
    browser.choose("#site", str(browser.run(f"{page}.indexOf('O')")))
    assert "fainter where less sure" in browser.run(words)
    browser.choose("#site", "9")
    x, y = browser.middle("#trace")
    browser.click(x, y)
    assert browser.run("Number(document.querySelector('#frame').value)") in (10, 11, 12)


def test_zoomed_in_a_click_still_finds_its_column(browser):
    browser.choose("#zoom", "4")
    site = browser.run(INSIDE)
    browser.choose("#site", str(site))
    box = "document.querySelector('#stage').getBoundingClientRect()"
    browser.click(*browser.run(f"[{box}.left + {box}.width / 2, {box}.top + {box}.height / 2]"))
    assert browser.run("document.querySelector('#site').value") == str(site)


def test_an_event_jumps_to_its_frame_and_is_marked(browser):
    rows = "[...document.querySelectorAll('#events tr[data-event]')]"
    assert browser.run(f"{rows}.length") == 4
    browser.click(*browser.middle("#events tr[data-event='1'] button"))
    assert browser.run(WHERE).startswith("frame 12 ")
    assert browser.run(f"{rows}.find((row) => row.className === 'chosen').dataset.event") == "1"
    marked = browser.run("document.querySelector('#stage').toDataURL()")
    assert browser.run("document.querySelector('#site').value") != ""
    browser.choose("#site", "")
    assert browser.run("document.querySelector('#stage').toDataURL()") != marked
    # That of an O column shows O columns.
    browser.click(*browser.middle("#events tr[data-event='2'] button"))
    assert browser.run("document.querySelector('[name=species][value=O]').checked")


def test_events_are_sorted_by_keyboard(browser):
    browser.focus("#events th:last-child button")
    browser.key("Enter")
    first = "document.querySelector('#events tbody tr').dataset.event"
    assert browser.run(first) == "3"
    assert browser.run("document.activeElement.textContent") == "confidence"
    browser.key("Enter")
    assert browser.run(first) == "0"
    sorted_ = "document.querySelector('#events th:last-child').getAttribute('aria-sort')"
    assert browser.run(sorted_) == "descending"


def test_tab_reaches_every_control_in_the_order_of_the_page(browser):
    seen = []
    for _ in range(7):
        browser.key("Tab")
        seen.append(browser.run("document.activeElement.id || document.activeElement.name"))
    assert seen == ["play", "frame", "view", "species", "species", "zoom", "site"]
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    names = browser.run(
        "[...document.querySelectorAll('button, input, select, canvas, svg[role], [tabindex]')]"
        ".filter((e) => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')"
        " || e.textContent.trim() || (e.labels && e.labels.length))).map((e) => e.outerHTML)"
    )
    assert names == []


def test_the_other_images_and_the_dark_look(browser):
    looks = set()
    for view in ("raw", "averaged", "reference"):
        browser.run(f"document.querySelector('[name=view][value={view}]').click()")
        browser.run("new Promise((tell) => setTimeout(tell, 150))")
        looks.add(browser.run("document.querySelector('#stage').toDataURL()"))
    assert len(looks) == 3
    assert "mean of the whole film" in browser.run(WHERE)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(paper)
    browser.media("dark")
    assert browser.run(paper) != light
    browser.media("light")


def test_tables_are_csv(browser):
    browser.click(*browser.run(PLACE % (9, 9)))
    rows = {name: list(csv.DictReader(io.StringIO(browser.run(f"ceriaTable('{name}')"))))
            for name in ("events", "rates", "sites", "trace")}  # fmt: skip
    assert [row["kind"] for row in rows["events"]] == [
        "migration", "departure", "vacancy_creation", "vacancy_filling"
    ]  # fmt: skip
    assert rows["rates"][0]["facet"] == "111"
    assert rows["sites"][9]["species"] == "Ce"
    assert [row["frame"] for row in rows["trace"]] == [str(i) for i in range(24)]


def test_it_prints(browser, tmp_path):
    browser.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    browser.media("light", printed=True)
    shown = "getComputedStyle(document.querySelector('.controls')).display"
    assert browser.run(shown) == "none"
    browser.media("light")


@pytest.mark.parametrize(
    "script",
    [
        Script(frames=1, events=(), oxygen=False),
        Script(frames=3, tracked=False),
        Script(frames=3, events=(), lost=True),
    ],
    ids=["one frame", "not tracked", "film lost"],
)
def test_pages_with_less_work_too(open_browser, tmp_path, monkeypatch, script):
    monkeypatch.setattr(report_run, "draw_overlay", lambda *a, **k: a[4].write_bytes(b""))
    monkeypatch.setattr(report_run, "_row_pictures", lambda *_: [])
    made = make_folder(tmp_path, script)
    run_report(made, Wishes(animation=False))
    open_browser.problems.clear()
    open_browser.open(made / "report.html")
    open_browser.choose("#site", "4")
    assert "Column 4" in open_browser.run("document.querySelector('#trace-words').textContent")
    disabled = open_browser.run("document.querySelector('#frame').disabled")
    assert disabled == (script.frames == 1)
    assert open_browser.problems == []
