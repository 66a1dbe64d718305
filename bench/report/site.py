"""Hooks of mkdocs (``mkdocs.yml``): the navigation, and pages with the items that were drawn of each suite.

A suite's pages come from the files that `bench items` wrote; nothing is measured or drawn here. Torch-free.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from bench.report.html import SCRIPT
from bench.report.items import ITEMS, category
from bench.support import paths
from bench.support.files import read_json

# Pages of docs/ by heading; a page that is not named stands under "More".
NAVIGATION = {
    "Use": ("index", "results", "add-architecture", "data", "cluster"),
    "Understand": ("measurements", "protocol", "models", "training", "leaderboard"),
    "Extend": ("extend", "options"),
}
CATEGORIES = {
    "figures": ("Paper figures", "Appendix figures"),
    "tables": ("Paper tables", "Appendix tables"),
    "checks": ("Claims, quality, protocol",),
}
TITLES = {"figures": "figures", "tables": "tables", "checks": "claims, quality, protocol"}
CSS = (
    ".md-typeset table:not([class]) th{min-width:3rem;padding:.4em .6em}"
    ".md-typeset table:not([class]) td{padding:.3em .6em}"
    'th[aria-sort="ascending"]::after{content:" \\2191"}th[aria-sort="descending"]::after{content:" \\2193"}'
    ".md-typeset figure{width:100%;margin:0 0 2em}.md-typeset figure img{width:100%;max-width:46rem;background:#fff}"
    ".md-typeset figcaption{max-width:none;text-align:left;font-style:normal}.scroll{overflow-x:auto}"
)
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)\)")  # a link from docs/ to another file of the project


def navigation(pages: set[str], suites: list[str]) -> list[dict[str, Any]]:
    """Return the navigation over the names of pages (without .md) and the pages of suites."""
    known = {name for names in NAVIGATION.values() for name in names}
    groups = {**NAVIGATION, "More": tuple(sorted(pages - known))}
    found = [{head: [f"{n}.md" for n in names if n in pages]} for head, names in groups.items()]
    found = [group for group in found if any(group.values())]
    measured = [{suite: [{TITLES[k]: f"suites/{suite}-{k}.md"} for k in _kinds(suite)]} for suite in suites]
    return [*found, {"Measured": measured}] if measured else found


def drawn(suite: str) -> dict[str, Path]:
    """Return item -> sidecar of a suite's items that lie in ``figures`` and ``results``, in the order of ITEMS."""
    folders = {"figure": paths.figures_folder(suite), "table": paths.tables_folder(suite)}
    found = {name: folders[item.kind] / f"{name}.json" for name, item in ITEMS.items()}
    main = {"figure": ".png", "table": ".html"}
    return {
        name: path
        for name, path in found.items()
        if path.exists() and path.with_suffix(main[ITEMS[name].kind]).exists()
    }


def suites() -> list[str]:
    """Return the suites of which items were drawn."""
    folders = [*paths.FIGURES.glob("*/"), *(p.parent for p in paths.RESULTS.glob("*/tables/"))]
    return sorted({folder.name for folder in folders if drawn(folder.name)})


def _kinds(suite: str) -> list[str]:
    found = {category(name) for name in drawn(suite)}
    return [kind for kind, categories in CATEGORIES.items() if found & set(categories)]


def page(suite: str, kind: str) -> str:
    """Return a suite's page of figures, tables or checks in Markdown."""
    lines = [f"# Suite {suite}: {TITLES[kind]}", ""]
    if kind != "figures":
        lines += ["A click on a head of a table sorts its rows.", ""]
    items = drawn(suite)
    for heading in CATEGORIES[kind]:
        names = [name for name in items if category(name) == heading]
        lines += [f"## {heading}", ""] if names and len(CATEGORIES[kind]) > 1 else []
        for name in names:
            record = read_json(items[name])
            lines += [
                f"### {record['item']}: {ITEMS[name].subject}",
                "",
                *_item(suite, name, record["caption"]),
            ]
    return "\n".join(lines) + "\n"


def _item(suite: str, name: str, caption: str) -> list[str]:
    text = html.escape(caption).replace("\n", " ")
    where = f"{suite}/{name}"
    if ITEMS[name].kind == "figure":
        title = html.escape(f"{ITEMS[name].title}: {ITEMS[name].subject}")
        return [
            f'<figure><img src="{where}.png" alt="{title}" loading="lazy">',
            f'<figcaption>{text} (<a href="{where}.pdf">PDF</a>, <a href="{where}.json">inputs</a>)</figcaption></figure>',
            "",
        ]
    body = paths.tables_folder(suite).joinpath(f"{name}.html").read_text(encoding="utf-8")
    body = body[body.index("<table>") : body.index("</table>") + len("</table>")]
    links = ", ".join(f'<a href="{where}.{form}">{form.upper()}</a>' for form in ("csv", "tex", "json"))
    return [f'<div class="scroll">\n{body}\n</div>', f"<p>{text} ({links})</p>", ""]


def assets(suite: str) -> dict[str, Path]:
    """Return address on the site -> file of everything that a suite's pages show or link."""
    found = {}
    for name, sidecar in drawn(suite).items():
        forms = ("png", "pdf", "json") if ITEMS[name].kind == "figure" else ("csv", "tex", "json")
        found |= {f"suites/{suite}/{name}.{form}": sidecar.with_suffix(f".{form}") for form in forms}
    return found


def linked(markdown: str) -> list[str]:
    """Return the files of the project outside docs/ that a page links."""
    return _OUTSIDE.findall(markdown)


def on_config(config: Any, **_: Any) -> Any:
    """Set the navigation."""
    pages = {path.stem for path in Path(config["docs_dir"]).glob("*.md")}
    config["nav"] = navigation(pages, suites())
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the pages of suites, what they show, and the files that pages link outside docs/."""
    from mkdocs.structure.files import File

    texts = {"assets/sort.js": SCRIPT.read_text(encoding="utf-8"), "assets/site.css": CSS}
    places = {}
    for suite in suites():
        texts |= {f"suites/{suite}-{kind}.md": page(suite, kind) for kind in _kinds(suite)}
        places |= assets(suite)
    docs = Path(config["docs_dir"])
    for path in docs.glob("*.md"):
        places |= {_copy(name): docs.parent / name for name in linked(path.read_text(encoding="utf-8"))}
    for address, text in texts.items():
        files.append(File.generated(config, address, content=text))
    for address, path in places.items():
        files.append(File.generated(config, address, abs_src_path=str(path.resolve())))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Point links that leave docs/ to the copies on the site."""
    return _OUTSIDE.sub(lambda found: f"]({_copy(found[1])})", markdown)


def _copy(name: str) -> str:
    """Return the address of a file outside docs/; a Markdown file there is shown as text, not as a page."""
    return f"project/{name}" + (".txt" if name.endswith(".md") else "")
