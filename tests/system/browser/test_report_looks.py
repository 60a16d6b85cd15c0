"""The report as people read it: in the dark, on paper, with a keyboard, with a screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, create_trial

from hpo.report import WrittenReport, build_report, write_report
from hpo.results.reading import StudyView

pytestmark = pytest.mark.browser

SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "lr": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True),
    "batch_size": optuna.distributions.IntDistribution(3, 100),
    "a_parameter_with_a_long_name": optuna.distributions.FloatDistribution(0, 1),
    "optimizer": optuna.distributions.CategoricalDistribution(["adam", "sgd"]),
    **{f"hidden_units_{layer}": optuna.distributions.IntDistribution(8, 2048) for layer in range(4)},
}

CONTRAST = """() => {
  const channel = (part) => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parsed = (text) => [...text.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]);
  const ground = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.push(parsed(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const bad = [];
  for (const node of document.querySelectorAll("body *")) {
    if (node.closest(".plot, svg, script, style, noscript, .skip") || !node.checkVisibility()) continue;
    const texts = [...node.childNodes].filter((one) => one.nodeType === 3);
    const words = texts.map((one) => one.textContent.trim()).join("");
    if (!words) continue;
    const below = ground(node), ink = over(parsed(getComputedStyle(node).color), below);
    const [high, low] = [light(ink), light(below)].sort((one, other) => other - one);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${node.tagName} ${words.slice(0, 40)}`);
  }
  return bad;
}"""

BROKEN_NUMBERS = """() => {
  const bad = [];
  for (const cell of document.querySelectorAll("td, th, .facts b")) {
    if (!cell.checkVisibility()) continue;
    const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      for (const found of walk.currentNode.textContent.matchAll(/[\\d.,e+\\u2212-]*\\d/g)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, found.index);
        range.setEnd(walk.currentNode, found.index + found[0].length);
        const lines = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
        if (lines.size > 1) bad.push(found[0]);
      }
    }
  }
  return bad;
}"""


def trial(number: int) -> FrozenTrial:
    """One that an hpo of four layers may have left; every third is pruned."""
    place = (number * 0.618) % 1
    params = {
        "lr": 10 ** (-5 + 4 * place),
        "batch_size": 3 + number % 90,
        "optimizer": ("adam", "sgd")[number % 2],
        "a_parameter_with_a_long_name": 0.123456789 * place,
        **{f"hidden_units_{i}": 1000 + number for i in range(4)},
    }
    pruned = number % 3 == 2
    made = create_trial(
        state=optuna.trial.TrialState.PRUNED if pruned else optuna.trial.TrialState.COMPLETE,
        value=None if pruned else 0.9 - abs(place - 0.5) / 10,
        params=params,
        distributions=SPACE,
        intermediate_values={step: 0.5 + step / 100 for step in range(1, 4)},
        user_attrs={"seed": 1, "host": "one", "device": "cpu", "seconds": 4.0, "train_seconds": 3.0,
                    "parameters": 1000 + number,
                    **({"origin": "baseline"} if number == 0 else {}),
                    **({"failure": {"kind": "diverged", "reason": "NaN"}} if number == 5 else {})},
    )  # fmt: skip
    made.number = number
    made.datetime_complete = (made.datetime_start or made.datetime_complete) + timedelta(seconds=number)
    return made


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    trials = tuple(trial(number) for number in range(48))
    view = StudyView("looks", ("maximize",), trials, {"lr": "1e-05 .. 0.1 log"}, objectives=("val_accuracy",))
    return write_report(build_report(view), tmp_path_factory.mktemp("looks"))


def opened(browser: Any, report: WrittenReport, width: int) -> Any:
    """A page of the report, drawn, with everything that folds unfolded. Closing its context closes it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(240_000)
    page.goto(report.page.as_uri())
    page.wait_for_selector("body[data-drawn]")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    return page


@pytest.fixture(scope="module")
def desk(browser: Any, report: WrittenReport) -> Iterator[Any]:
    """The report, light and 1280 wide, for tests that do not mind what another has clicked: drawing it takes 5 s."""
    page = opened(browser, report, 1280)
    yield page
    page.context.close()


@pytest.fixture
def fresh(desk: Any) -> Any:
    """The same page loaded again, with nothing chosen."""
    desk.reload()
    desk.wait_for_selector("body[data-explored]")
    return desk


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_can_be_read(desk: Any, dark: bool) -> None:
    """A contrast of at least 4.5 with what is behind it: WCAG 2.1, AA."""
    page = desk
    page.emulate_media(color_scheme="dark" if dark else "light")
    assert page.evaluate(CONTRAST) == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in ground[4:-1].split(",")) < 100) == dark
    turned = page.evaluate("getComputedStyle(document.querySelector('.plot')).filter")
    assert (turned == "invert(0.92) hue-rotate(180deg)") == dark
    page.emulate_media(color_scheme="light")


def test_plots_and_tables_speak_to_who_cannot_see_them(desk: Any) -> None:
    page = desk
    alone = page.evaluate(
        "[...document.querySelectorAll('.plot')].filter(one => one.getAttribute('role') !== 'img'"
        " || (one.getAttribute('aria-label') || '').length < 15 || !one.closest('figure').querySelector('figcaption'))"
        ".map(one => one.id)"
    )
    assert alone == []
    tables = "[...document.querySelectorAll('table')].filter(one => !one.caption || !one.caption.innerText.trim())"
    assert page.evaluate(f"{tables}.map(one => one.outerHTML.slice(0, 80))") == []
    unscoped = "[...document.querySelectorAll('th')].filter(one => !one.scope).map(one => one.innerText)"
    assert page.evaluate(unscoped) == []
    stuck = "[...document.querySelectorAll('main .scroll, main .wide, pre')].filter(one => one.tabIndex < 0).length"
    assert page.evaluate(stuck) == 0
    order = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(one => Number(one.tagName[1]))")
    assert order[0] == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(order))


def test_no_number_breaks_in_two_on_paper(desk: Any) -> None:
    page = desk
    page.set_viewport_size({"width": 740, "height": 900})  # as wide as A4 is between its margins
    page.emulate_media(media="print")
    assert page.evaluate(BROKEN_NUMBERS) == []
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(media="screen")
    assert page.evaluate(BROKEN_NUMBERS) == []
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_first_screen_has_the_verdict_the_settings_and_the_best_over_time(
    browser: Any, report: WrittenReport
) -> None:
    page = opened(browser, report, 1440)
    for what in ("#verdict", "table.settings", "#history .main-svg >> nth=0"):
        box = page.locator(what).bounding_box()
        assert box["y"] + min(box["height"], 300) < 900, what
    page.context.close()


def test_the_settings_are_copied_as_python(desk: Any) -> None:
    page = desk
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#copy").click()
    page.get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("{'lr': ")
    assert len(eval(copied)["hidden_units"]) == 4


ROWS = "[...document.querySelectorAll('#explore-table tbody tr')].map(one => Number(one.cells[0].innerText))"
SELECTED = "document.getElementById('explore-points').data[0].selectedpoints"


def test_what_is_chosen_in_one_part_of_the_explorer_is_chosen_in_all(fresh: Any) -> None:
    """Lines, points and the table: by the button, by a threshold, by a drag along an axis, and over points."""
    page = fresh
    page.wait_for_selector("body[data-explored]")
    lines = "document.getElementById('parallel-0')"
    complete = page.evaluate(f"{lines}.layout.meta.trials")
    page.get_by_role("button", name="Top 10 %").click()
    page.wait_for_function(f"{lines}.data[0].dimensions.at(-1).constraintrange?.length === 2")
    best = page.evaluate(ROWS)
    assert len(best) == -(-len(complete) // 10)
    assert [complete[place] for place in page.evaluate(SELECTED)] == sorted(best)
    assert page.locator("#explore-said").inner_text().startswith(f"{len(best)} of {len(complete)} trials chosen; ")
    page.locator("#explore-threshold").fill("0.88")
    page.keyboard.press("Enter")
    page.wait_for_function(f"{SELECTED}.length > {len(best)}")
    assert [trial(complete[place]).values[0] >= 0.88 for place in page.evaluate(SELECTED)].count(False) == 0
    page.get_by_role("button", name="All", exact=True).click()
    page.wait_for_function(f"!{SELECTED}")
    page.select_option("#explore-which", label="batch_size")
    page.locator("#explore-low").fill("20")
    page.locator("#explore-high").fill("30")
    page.keyboard.press("Enter")
    page.wait_for_function(f"{SELECTED}?.length < 20")
    assert sorted(page.evaluate(ROWS)) == [number for number in complete if 20 <= 3 + number % 90 <= 30]


def test_the_explorer_s_table_is_sorted_and_marks_by_the_keyboard(fresh: Any) -> None:
    page = fresh
    page.wait_for_selector("body[data-explored]")
    page.locator("#explore-table thead button", has_text="batch_size").focus()
    page.keyboard.press("Enter")
    assert page.locator("#explore-table th[aria-sort=ascending]").inner_text().startswith("batch_size")
    assert page.evaluate(ROWS) == sorted(page.evaluate(ROWS))
    page.keyboard.press("Enter")  # the focus is still there
    assert page.evaluate(ROWS)[0] == max(page.evaluate("document.getElementById('parallel-0').layout.meta.trials"))
    first = page.locator("#explore-table tbody button").first
    first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('explore-points').data[1].x.length === 1")
    assert first.get_attribute("aria-pressed") == "true"


def test_a_link_into_the_appendix_opens_it(browser: Any, report: WrittenReport) -> None:
    page = browser.new_page()
    page.set_default_timeout(240_000)
    page.goto(f"{report.page.as_uri()}#contour")
    page.wait_for_selector("body[data-drawn]")
    assert page.evaluate("document.getElementById('appendix').open")
    page.close()
