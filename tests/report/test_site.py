"""The documentation as a site: every page in the navigation, every link resolves, it works from the file system."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest
from synthetic import make

from bench.cli import main
from bench.report import site
from bench.report.items import ITEMS
from bench.report.markup import restructured

ROOT = Path(__file__).resolve().parent.parent.parent
SUITE = "smoke"
DRAWN = {"figure": ("fig6",), "table": ("tab1", "tabProtocol")}
needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("material") is None, reason="mkdocs-material is not installed (the extra docs)"
)
needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("selenium") is None or shutil.which("chromedriver") is None,
    reason="selenium or chromedriver is not installed",
)


class _Page(HTMLParser):
    """Collects the addresses and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[tuple[str, str]] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list) -> None:
        for key, value in attributes:
            if key in ("href", "src") and value:
                self.links.append((tag, value))
            if key == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with drawn items of a synthetic suite and the documentation."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(SUITE, arrays=False)
        for kind, items in DRAWN.items():
            for item in items:
                assert main([kind, item, "--suite", SUITE]) == 0
    for name in ("docs", "config", "bench", "examples", "snakemake_executor_plugin_submitit"):
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "mkdocs.yml"):
        shutil.copy2(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def built(drawn):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=drawn, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return drawn / "site"


def test_every_item_says_how_it_is_read_on_the_page_of_items():
    page = site.items_page()
    for name, item in ITEMS.items():
        assert f"{{#{name.lower()}}}" in page and item.subject in page.replace("\\", "")
    assert "The paper's version shows DiT-XS/1 on CelebA, N = 10, 1,000 and 100,000." in page


def test_links_between_pages_of_the_documentation_resolve():
    for page in sorted((ROOT / "docs").glob("*.md")):
        text = re.sub(r"`[^`\n]*`", "", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            address = urlsplit(target)
            if not address.scheme and address.path:
                assert (page.parent / address.path).exists(), f"{page.name} links {target}"


def test_a_suite_has_a_page_for_figures_tables_and_checks(drawn, monkeypatch):
    monkeypatch.chdir(drawn)
    assert site.suites() == [SUITE]
    assert site.kinds(SUITE) == ["figures", "tables", "checks"]
    (own,) = [e for e in site.on_config({"nav": []})["nav"][-1]["Figures and tables"] if SUITE in e]
    assert [next(iter(name)) for name in own[SUITE]] == ["figures", "tables", "claims, quality, protocol"]
    figures = site.page(SUITE, "figures")
    assert (
        "### Figure 6: PSNR gap with and without local attention" in figures
        and 'src="smoke/fig6.png"' in figures
    )
    assert "Average PSNR gap with global attention" in figures and '<a href="smoke/fig6.png"><img' in figures
    assert "<b>" in site.page(SUITE, "tables") and "assumed" in site.page(SUITE, "checks")
    assert all(path.exists() for path in site.assets(SUITE).values())
    (drawn / "figures" / SUITE / "figA1.json").write_text("{}")
    (drawn / "figures" / SUITE / "figA1.png").touch()
    assert "figA1" not in site.drawn(SUITE)  # the suite does not list it


def test_the_first_page_ends_with_the_board_of_all_papers(drawn, monkeypatch):
    monkeypatch.chdir(drawn)
    pages = {name: SimpleNamespace(file=SimpleNamespace(src_uri=name)) for name in ("index.md", "data.md")}
    first = site.on_page_markdown("# Start", page=pages["index.md"])
    assert first.startswith("# Start") and "| Paper | Does locality come from the architecture? |" in first
    assert f"({SUITE}, [Figure 6](suites/{SUITE}-figures.md#fig6))" in first
    assert "{#fig6}" in site.page(SUITE, "figures")
    assert site.on_page_markdown("# Data", page=pages["data.md"]) == "# Data"


def test_captions_are_shown_as_they_stand_in_the_report():
    assert restructured("Local* |J| a_b") == "Local\\* \\|J\\| a\\_b\n"


@needs_mkdocs
def test_everything_the_site_links_is_there_and_nothing_is_loaded_from_elsewhere(built):
    pages = {path: _Page(path) for path in built.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 10 and built / "suites" / f"{SUITE}-figures.html" in pages
    for path, page in pages.items():
        for tag, link in page.links:
            address = urlsplit(link)
            if address.scheme in ("http", "https"):
                assert tag == "a" or "canonical" in link, f"{path} loads {link}"
                continue
            if address.scheme or (link.startswith("#") and tag != "a"):
                continue
            target = (path.parent / unquote(address.path)).resolve() if address.path else path
            assert target.exists(), f"{path.name} links {link}"
            if address.fragment and target in pages and not address.fragment.startswith("__"):
                assert unquote(address.fragment) in pages[target].anchors, f"{path.name} links {link}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for word in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1300,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@needs_mkdocs
@needs_browser
def test_a_browser_shows_it_without_errors_and_sorts_tables(built, browser):
    loaded = "return [...document.images].map(i => (i.loading = 'eager', i.decode().then(() => 1, () => 0)))"
    for name in (
        "index",
        "leaderboard",
        f"suites/{SUITE}-figures",
        f"suites/{SUITE}-tables",
        f"suites/{SUITE}-checks",
    ):
        browser.get(f"file://{built}/{name}.html")
        script = loaded.replace("return ", "Promise.all(") + ").then(arguments[arguments.length - 1])"
        images = browser.execute_async_script(script)
        assert all(images) and (images or "figures" not in name), name
        errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert not errors, f"{name}: {errors}"
    browser.get(f"file://{built}/suites/{SUITE}-tables.html")
    head = "document.querySelectorAll('.scroll th')[3]"
    column = "return [...document.querySelectorAll('.scroll tbody tr')].map(r => parseFloat(r.cells[3].textContent))"
    for word, order in (("ascending", 1), ("descending", -1)):
        browser.execute_script(f"{head}.click()")
        values = browser.execute_script(column)
        assert len(values) > 1 and values == sorted(values, reverse=order < 0)
        assert browser.execute_script(f"return {head}.getAttribute('aria-sort')") == word
