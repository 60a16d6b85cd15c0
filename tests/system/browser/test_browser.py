"""What people see: the report and the dashboard, in a real browser."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from page_complaints import complaints

from hpo.dashboard import Dashboard
from hpo.report import WrittenReport, build_report, write_report
from hpo.report.png import write_images
from hpo.results.reading import StudyView, open_for_reading, read_study
from hpo.settings import Settings

pytestmark = pytest.mark.browser

NAME = 'digits & "quotes" <b>'


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A study with everything a report draws: pruned and failed trials, epochs, hosts, sizes, layers."""
    url = f"sqlite:///{tmp_path_factory.mktemp('drawn') / 'study.db'}"
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name=NAME, direction="maximize")
    study.sampler = optuna.samplers.RandomSampler(seed=0)

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
        layers = trial.suggest_int("layers", 1, 3)
        for layer in range(layers):
            trial.suggest_int(f"width_{layer}", 8, 512, log=True)
        optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
        for key, value in {"host": "one", "device": "cpu", "parameters": 1000 * (trial.number + 1)}.items():
            trial.set_user_attr(key, value)
        if trial.number % 10 == 7:
            trial.set_user_attr("failure", {"kind": "failed", "reason": "shape <3>", "traceback": ["ValueError: <3>"]})
            raise ValueError("3")
        for epoch in range(1, 6):
            trial.report(lr**0.1 * epoch / 5, epoch)
            if trial.number % 3 == 1 and epoch == 2:
                raise optuna.TrialPruned
        return float(lr**0.1 - 0.01 * layers + 0.02 * (optimizer == "adam"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.optimize(objective, n_trials=40, catch=(ValueError,))
        optuna.copy_study(from_study_name=NAME, from_storage=study._storage, to_storage=url)
    optuna.logging.set_verbosity(level)
    return url


@pytest.fixture(scope="module")
def report(url: str, tmp_path_factory: pytest.TempPathFactory) -> WrittenReport:
    folder = tmp_path_factory.mktemp("report")
    engine = open_for_reading(url, Settings(home=folder / "home", checkpoint_dir=folder / "home" / "checkpoints"))
    view: StudyView = read_study(engine, NAME)
    engine.dispose()
    return write_report(build_report(view), folder)


@dataclass(frozen=True)
class Drawn:
    """The report on a screen, offline, with all that folds unfolded; said: what the page complained of."""

    page: Any
    width: int
    said: list[str]


@pytest.fixture(scope="module", params=[1280, 390], ids=["desktop", "phone"])
def drawn(request: pytest.FixtureRequest, browser: Any, report: WrittenReport) -> Iterator[Drawn]:
    page = browser.new_page(viewport={"width": request.param, "height": 850})
    page.set_default_timeout(240_000)
    said = complaints(page)
    page.context.set_offline(True)
    page.goto(report.page.as_uri())
    page.wait_for_selector("body[data-drawn]")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")  # closed, it has no size
    yield Drawn(page, request.param, said)
    page.close()


def test_every_plot_of_the_report_is_drawn(report: WrittenReport, drawn: Drawn) -> None:
    """Offline, on a desktop and on a phone: marks in every figure, no console error, nothing wider than the screen."""
    page, width = drawn.page, drawn.width
    figures = {f"{plot.key}-{index}" for plot in report.plots for index in range(len(plot.drawing.figures))}
    assert len(figures) > 20
    assert int(page.get_attribute("body", "data-drawn")) == len(figures)
    for figure in sorted(figures):
        marks = page.locator(f"#{figure}").locator(
            "path.point, .points path, path.js-line, .hm image, .contourlayer path, canvas.gl-canvas-context"
        )
        assert marks.count() > 0, f"{figure} is empty"
        box = page.locator(f"#{figure} .main-svg").first.bounding_box()
        assert box["height"] > 100, figure
        assert box["width"] > 200, figure
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("h1").inner_text() == NAME
    assert drawn.said == []


def test_what_scrolls_fades_where_there_is_more(drawn: Drawn) -> None:
    """Tables and wide plots fade at the side beyond which there is more; the navigation wraps where there is room."""
    page, width = drawn.page, drawn.width
    page.wait_for_function(  # the observer of sizes speaks with a frame
        "[...document.querySelectorAll('.fades')].every(box => "
        "box.classList.contains('more-right') === (box.scrollWidth - box.clientWidth > 1))"
    )
    boxes = page.locator(".fades")
    for index in range(boxes.count()):
        box = boxes.nth(index)
        more = box.evaluate("box => box.scrollWidth - box.clientWidth > 1")
        assert ("more-right" in box.get_attribute("class")) == more, box.inner_text()[:80]
    navigation = page.locator("nav .fades")
    assert navigation.evaluate("box => box.scrollWidth > box.clientWidth") == (width < 900)
    if width < 900:
        navigation.evaluate("box => { box.scrollLeft = 1e6; }")
        page.wait_for_function("document.querySelector('nav .fades').classList.contains('more-left')")
        assert "more-right" not in navigation.get_attribute("class")


def test_images_of_every_plot(chromium: str, report: WrittenReport, tmp_path: Path) -> None:
    """--png writes one image for each figure."""
    images = write_images(report.plots, tmp_path / "png")
    assert len(images) == sum(len(plot.drawing.figures) for plot in report.plots)
    for image in images:
        assert image.read_bytes().startswith(b"\x89PNG"), image
        assert image.stat().st_size > 5_000, image


def test_the_dashboard_shows_a_study(url: str, settings: Settings, page: Any, said: list[str]) -> None:
    """optuna-dashboard over a real study: its history, importances and the table of trials."""
    dashboard = Dashboard(url, settings, port=0)
    thread = threading.Thread(target=dashboard.serve, daemon=True)
    thread.start()
    try:
        page.goto(dashboard.url)
        page.get_by_text(NAME).first.click()
        page.locator("#plot-history .point").first.wait_for()
        page.locator("#graph-hyperparameter-importances .point").first.wait_for()
        page.goto(f"{page.url}/trials")
        for number in range(5):  # the list draws only what is in view
            page.get_by_text(f"Trial {number}", exact=True).first.wait_for()
        page.get_by_text("Trial 0 (trial_id=1)").first.wait_for()
        assert said == []
    finally:
        dashboard.close()
        thread.join(timeout=10)
