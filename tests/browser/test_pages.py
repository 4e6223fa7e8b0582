"""The pages as somebody sees them who looks: Prefect's, MLflow's, and the report."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from flows.ops.deployments import RETRAIN
from flows.ops.processes import answers
from freqd.config import RunConfig
from freqd.config.load import build
from tasks.mlops.tracking import table_page
from tasks.runtime.server_state import Stack
from tests.browser.conftest import Window
from tests.shell import SMALL, User, free_port, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Response

pytestmark = pytest.mark.slow

MODEL = "freqd-purchases"


def stack(shop: User) -> Stack:
    found = Stack.read(shop.workspace)
    assert found is not None
    return found


def settings(shop: User, **sections: Any) -> dict[str, Any]:
    """The small settings with these in their place, as the form takes them."""
    source = {"data": {"source": [str(shop.folder / "purchases.csv")]}}
    return build([tomllib.loads(SMALL), sections, source]).model_dump(mode="json")


BUSY = 503
"""Prefect's answer where two writers meet in its SQLite file. Its own clients ask again, its page does not."""


def submitted(page: Page) -> Response | None:
    """Press the button of the form; None where it has to be pressed again (docs/operations.md, troubles)."""
    with page.expect_response("**/create_flow_run") as answer:
        page.get_by_role("button", name="Submit").press("Enter")  # a mouse may miss it while the form is drawn anew
    return None if answer.value.status == BUSY else answer.value


def test_a_run_is_started_from_its_form_and_shows_what_it_found(shop: User, window: Window) -> None:
    page = window.page
    window.open(f"{stack(shop).prefect}/deployments")
    page.get_by_role("link", name="retrain", exact=True).click()
    window.shows("flows.pipeline.pipeline", "freqd: retrain on drift")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()

    window.shows("Run Name", "Embedding dimension of the student.")
    form = page.locator("form").first
    labels = form.inner_text()
    for name, section in RunConfig.model_fields.items():
        title = section.title or name.replace("_", " ").title()
        if name in RETRAIN.unused:
            continue
        assert f"{title} (Optional)" in labels, f"the form has no {name}"
    window.keep("form")
    page.locator("xpath=//*[normalize-space(text())='Parameters']/following::button[1]").click()
    page.get_by_text("Use JSON input").click()
    asked = {"workdir": str(shop.workspace.root), "config": settings(shop, seed=7)}
    form.locator("textarea").fill(json.dumps(asked, indent=1))
    window.keep("json")
    form.locator("textarea").blur()
    answer = wait_for(lambda: submitted(page), 10)
    assert answer.ok, answer.text()
    run = answer.json()["id"]
    page.locator(f"a[href*='{run}']").first.click()
    window.shows("Completed")
    window.shows("report-")
    window.keep("run")
    page.get_by_text("Artifacts", exact=True).click()
    window.shows("evaluation", "spectrum", "gate", "result", "data-quality")
    window.keep("artifacts")

    query = {"flow_runs": {"id": {"any_": [run]}}}
    found = {artifact["key"]: artifact for artifact in shop.ask("/artifacts/filter", query)}
    expected = {
        "evaluation": ("ndcg_at_10", "student", "scratch"),
        "spectrum": ("ranking filter", "Ranking teacher, raw"),
        "gate": (f"{MODEL} version ", "size in bytes", "median ms to score a user", "> 0.0"),
        "result": ("Dimension", "No-distillation baseline", "Gate"),
    }
    for key, texts in expected.items():
        window.open(f"{stack(shop).prefect}/artifacts/artifact/{found[key]['id']}")
        window.shows(*texts)
        shown = page.inner_text("body")
        assert found[key]["description"] in shown
        assert "**" not in shown, "markdown that was not rendered"
        window.keep(key)
    assert shop.ask(f"/flow_runs/{run}", None)["state"]["message"].startswith(found["result"]["description"])


def test_the_short_form_starts_from_the_companys_own_settings(shop: User, window: Window) -> None:
    assert shop("deploy", "--config", "small.toml").returncode == 0
    page = window.page
    window.open(f"{stack(shop).prefect}/deployments")
    page.get_by_role("link", name="train", exact=True).click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Custom run").click()
    window.shows("Run Name", "settings (Optional)", "budget_minutes (Optional)")
    form = page.locator("form").first
    assert form.evaluate("form => form.scrollHeight") < 1_600
    assert str(shop.folder / "small.toml") in [box.input_value() for box in form.locator("textarea").all()]
    window.keep("short-form", whole=True)
    answer = wait_for(lambda: submitted(page), 10)
    assert answer.ok, answer.text()
    page.locator(f"a[href*='{answer.json()['id']}']").first.click()
    window.shows("Completed", "data: purchases", f"model: {MODEL}", "verdict: ")


def test_mlflow_compares_runs_and_versions(shop: User, window: Window) -> None:
    page, home = window.page, stack(shop).mlflow
    window.open(home)
    page.get_by_text("Model training", exact=True).first.click()
    page.get_by_role("link", name="Experiments").first.click()
    page.get_by_role("link", name="freqd", exact=True).first.click()
    rows = [page.get_by_role("row").filter(has_text=f"with-{dim}-numbers") for dim in (2, 4)]
    for row in rows:
        row.first.wait_for()
    window.keep("runs")
    for row in rows:
        row.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Compare").click()
    window.shows("Comparing 2 Runs", "student_ndcg_at_10", "distill.dim")
    page.mouse.wheel(0, 5000)
    window.keep("compared-runs", whole=True)

    window.open(f"{home}/#/models/{MODEL}")
    window.shows("@ champion", "Version 1", "Version 2")
    window.keep("model")
    for version in ("Version 1", "Version 2"):
        row = page.get_by_role("row").filter(has=page.get_by_role("link", name=version, exact=True))
        row.hover()
        row.get_by_role("checkbox").check(force=True)
    page.get_by_text("Compare", exact=True).click()
    window.shows("Comparing 2 Versions", "gap_closed", "student_ndcg_at_10")
    differ = page.inner_text("body")
    assert "distill.dim\t2\t4" in differ or "distill.dim\t4\t2" in differ
    assert "teacher.factors" not in differ, "only what differs is shown"
    window.keep("compared-versions")

    window.open(f"{home}/#/models/{MODEL}/versions/2")
    window.shows("@ champion", "with-4-numbers", "decision.reason", "Promoted. NDCG@10")
    window.keep("version")


def test_the_table_of_runs_shows_what_decides(shop: User, window: Window) -> None:
    run = json.loads((shop.workspace.root / "runs" / "with-4-numbers" / "summary.json").read_text())["mlflow"]
    window.page.set_viewport_size({"width": 1900, "height": 900})
    window.open(table_page(stack(shop).mlflow, run["experiment_id"]))
    window.shows("with-4-numbers", "decision", "freqd.ndcg_at", "promoted", "kB")
    window.keep("table-of-runs")
    window.open(run["address"])
    window.shows("Prefect run", "report in MLflow")
    window.keep("mlflow-run")
    window.open(f"{run['address']}/artifacts/report.html")
    window.page.frame_locator("iframe").get_by_text("report on purchases").first.wait_for()
    window.keep("report-in-mlflow")


def test_the_report_needs_nothing_but_itself(shop: User, window: Window) -> None:
    folder = shop.workspace.root / "runs" / "with-4-numbers"
    page = window.page
    window.open((folder / "report.html").as_uri())
    assert page.title() == "freqd: purchases"
    pictures = page.evaluate("[...document.images].map(i => ({loaded: i.complete && i.naturalWidth > 0, alt: i.alt}))")
    assert len(pictures) >= 8
    assert all(picture["loaded"] and picture["alt"] for picture in pictures)
    window.keep("report", whole=True)
    for details in page.locator("details").all():
        details.locator("summary").first.click()
    window.keep("unfolded", whole=True)
    text = page.inner_text("body")
    assert "`" not in text, "markdown in a page that is none"
    assert not [word for word in ("None", "nan", "undefined", "{{") if word in text.split()]
    for width in (1600, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "no page that moves sideways"
    window.keep("narrow", whole=True)
    assert window.errors == []
    assert window.missing == []


def test_a_person_answers_on_the_page_of_a_question(shop: User, window: Window) -> None:
    page = window.page
    shop.retrain(registry={"approval": "ask", "model_name": "asked"})
    run = wait_for(lambda: shop.runs("PAUSED"), 180)[0]["id"]
    window.open(f"{stack(shop).prefect}/runs/flow-run/{run}")
    window.shows("Suspended")
    page.get_by_role("button", name="Resume").first.click()
    form = page.locator(".p-modal__card")
    form.get_by_text("asked version 1 may become champion.").wait_for()
    shown = form.inner_text()
    for text in ("the first model of its name", "size in bytes: ", "median ms to score a user: "):
        assert text in shown
    assert not re.search(r"\d\.\d{8}|required none|\*\*", shown), shown
    window.keep("question")
    form.get_by_role("button", name="Submit").click()
    for name in ("approve", "who", "why"):
        form.get_by_text(f"'{name}' is a required property").wait_for()
    window.keep("refused")
    form.locator(".p-select-button__icon").click(force=True)  # the arrow; Prefect's lists do not open beside it
    page.locator(".p-select-option").filter(has_text="yes").click()
    for place, text in enumerate(("Ann", "the shop team has looked at it")):
        form.locator("textarea").nth(place).fill(text)
    form.locator("textarea").last.blur()
    window.keep("answer")
    with page.expect_response("**/resume") as said:
        form.get_by_role("button", name="Submit").press("Enter")  # a mouse may miss it while the form is drawn anew
    assert said.value.json()["status"] == "ACCEPT"
    wait_for(lambda: shop.ask(f"/flow_runs/{run}", None)["state_type"] == "COMPLETED", 60)
    window.keep("resumed")
    (entry,) = [e for e in json.loads(shop("audit", "--json").stdout) if e["model"] == "asked"]
    assert (entry["what"], entry["who"], entry["why"]) == ("promote", "Ann", "the shop team has looked at it")


def test_the_automations_say_what_they_do_and_can_be_switched_off(shop: User, window: Window) -> None:
    page = window.page
    window.open(f"{stack(shop).prefect}/automations")
    window.shows("freqd: retrain on drift", "the retraining starts with the settings of the check", "Run deployment:")
    window.shows("freqd: close runs that fell silent", "for 5 minutes", "CRASHED")
    window.keep("automations")
    page.get_by_role("link", name="freqd: retrain on drift").click()
    page.wait_for_function("document.querySelectorAll('.p-toggle').length === 1")  # the page of one automation
    window.shows("A custom trigger", "retrain")
    window.keep("automation")

    def enabled() -> bool:
        (found,) = [a for a in shop.ask("/automations/filter", {}) if a["name"] == "freqd: retrain on drift"]
        return bool(found["enabled"])

    assert enabled()
    page.locator(".p-toggle__control").first.click()
    wait_for(lambda: not enabled(), 20)
    window.keep("switched-off")
    page.locator(".p-toggle__control").first.click()
    wait_for(enabled, 20)


def test_drift_is_told_in_the_event_feed(shop: User, window: Window) -> None:
    page, found = window.page, {"freqd.drift.found", "freqd.drift.cooling-down", "freqd.drift.seen"}
    rows = pl.read_csv(shop.folder / "purchases.csv")
    new = rows.with_columns(user="new-" + pl.col("user"), time=pl.col("time") + 10_000_000)
    pl.concat([rows, new]).write_csv(shop.folder / "purchases.csv")
    for _ in ("found", "cooling down"):
        checked = shop("drift", "--new", "purchases.csv", "--name", MODEL)
        assert checked.returncode == 0, checked.stderr
    window.open(f"{stack(shop).prefect}/events?events=freqd.drift.*")
    window.shows("Freqd drift found", "Freqd drift cooling down", f"freqd.model.{MODEL}", f"drift of {MODEL}")
    window.keep("feed")
    assert set(re.findall(r"^freqd\.drift\.[a-z-]+$", page.inner_text("body"), re.MULTILINE)) == found
    page.get_by_role("link", name="Freqd drift found").click()
    window.shows("Resource", f"freqd.model.{MODEL}")
    page.get_by_text("Raw", exact=True).click()
    window.shows("drift in volume, unknown users")
    window.keep("event")
    wait_for(
        lambda: [run for run in shop.runs("COMPLETED") if (run["created_by"] or {}).get("type") == "AUTOMATION"], 120
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_status_page_needs_no_script_and_fits(shop: User, browser: Browser, tmp_path: Path, scheme: Any) -> None:
    context = browser.new_context(java_script_enabled=False, color_scheme=scheme)
    page = context.new_page()
    page.goto(stack(shop).page)
    text = page.inner_text("body")
    for words in (
        MODEL,
        "champion since",
        "with-4-numbers",
        "Versions, and why each was or was not promoted",
        "worker",
        "healthy",
    ):
        assert words in text
    assert page.locator("svg circle.dot-of").count() >= 2
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    light = sum(map(int, re.findall(r"\d+", ground)[:3])) > 3 * 128
    assert light == (scheme == "light")
    for width in (1600, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "no page that moves sideways"
        page.screenshot(path=tmp_path / f"status-{scheme}-{width}.png", full_page=True)
    context.close()


def test_the_links_of_the_status_page_lead_on(shop: User, window: Window) -> None:
    window.open(stack(shop).page)
    links = [link.get_attribute("href") or "" for link in window.page.get_by_role("link").all()]
    assert len(links) >= 5
    window.page.get_by_role("link", name="MLflow: table of runs").click()
    window.shows("with-4-numbers", "decision")
    window.open(stack(shop).page)
    window.page.get_by_role("link", name="with-4-numbers").first.click()
    window.shows("Promoted. NDCG@10")


def test_the_service_explains_itself_and_can_be_tried(shop: User, window: Window) -> None:
    port = free_port()
    serving = shop.start("serve", "--name", MODEL, "--port", str(port))
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"), 60)
        page = window.page
        window.open(f"http://127.0.0.1:{port}/")
        window.shows("A new user, by what they have met", "What users were shown and did")
        assert "`" not in page.inner_text("body")
        window.keep("service")
        page.get_by_role("link", name="Try it").click()
        page.get_by_text("The best items of many users, or of a new one by history").click()
        page.get_by_role("button", name="Try it out").click()
        page.locator("textarea.body-param__text").fill('{"users": ["u0003"], "k": 3}')
        page.get_by_role("button", name="Execute").click()
        page.locator(".live-responses-table").get_by_text("200").first.wait_for()
        assert '"u0003"' in page.locator(".live-responses-table").inner_text()
        window.keep("try")
        assert window.errors == []
        assert window.missing == []
    finally:
        serving.terminate()
        serving.wait(30)
