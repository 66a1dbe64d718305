"""Hooks of mkdocs (``mkdocs.yml``): a page about every item, and pages with the items drawn for each suite.

A suite's pages come from the files that `bench items` wrote; nothing is measured or drawn here. Torch-free.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from bench.report.board import board
from bench.report.items import ITEMS, category, stem_of
from bench.report.markup import SCRIPT, escaped, markdown
from bench.support import paths
from bench.support.files import read_json

CHECKS = "Claims, quality, protocol"
TITLES = {"figures": "figures", "tables": "tables", "checks": CHECKS[0].lower() + CHECKS[1:]}
_OUTSIDE = re.compile(r"\]\(\.\./([^)#]+)\)")  # a link from docs/ to another file of the project


def listed(suite: str) -> list[str]:
    """Return the items that a suite lists, in the order of their titles."""
    plan = paths.stored_folder(suite) / "plan.json"
    wanted = read_json(plan)["items"] if plan.exists() else {}
    return [name for name in ITEMS if name in wanted]


def drawn(suite: str) -> dict[str, Path]:
    """Return item -> sidecar of the items that a suite lists and that were drawn into ``figures`` and ``results``."""
    found = {name: stem_of(name, suite).with_suffix(".json") for name in listed(suite)}
    main = {"figure": ".png", "table": ".html"}
    return {n: p for n, p in found.items() if p.exists() and p.with_suffix(main[ITEMS[n].kind]).exists()}


def suites() -> list[str]:
    """Return the suites of which items were drawn."""
    folders = [*paths.FIGURES.glob("*/"), *(p.parent for p in paths.RESULTS.glob("*/tables/"))]
    return sorted({folder.name for folder in folders if drawn(folder.name)})


def _page_of(name: str) -> str:
    return "checks" if category(name) == CHECKS else f"{ITEMS[name].kind}s"


def kinds(suite: str) -> list[str]:
    """Return which pages a suite has."""
    found = {_page_of(name) for name in drawn(suite)}
    return [kind for kind in TITLES if kind in found]


def page(suite: str, kind: str) -> str:
    """Return a suite's page of figures, tables or checks in Markdown."""
    lines = [f"# Suite {suite}: {TITLES[kind]}", ""]
    lines += [] if kind == "figures" else ["Click a table heading to sort its rows.", ""]
    items = drawn(suite)
    headings: dict[str, list[str]] = {}
    for name in items:
        if _page_of(name) == kind:
            headings.setdefault(category(name), []).append(name)
    for heading, names in headings.items():
        lines += [] if kind == "checks" else [f"## {heading}", ""]
        for name in names:
            record = read_json(items[name])
            title = markdown(f"{record['item']}: {ITEMS[name].subject}")
            lines += [f"### {title} {{#{name.lower()}}}", "", *_item(suite, name, record["caption"])]
    lacking = [name for name in listed(suite) if _page_of(name) == kind and name not in items]
    titles = "; ".join(markdown(f"{ITEMS[name].title}: {ITEMS[name].subject}") for name in lacking)
    lines += [f"Not drawn (`bench items` says what they lack): {titles}."] if lacking else []
    return "\n".join(lines) + "\n"


def _item(suite: str, name: str, caption: str) -> list[str]:
    item, where = ITEMS[name], escaped(f"{suite}/{name}")
    forms = ("pdf", "json") if item.kind == "figure" else ("csv", "tex", "json")
    links = ", ".join(
        f'<a href="{where}.{form}">{"inputs" if form == "json" else form.upper()}</a>' for form in forms
    )
    text = f'{escaped(caption)} <a href="../items.html#{name.lower()}">How to read it</a>. ({links})'
    if item.kind == "figure":
        picture = f'<img src="{where}.png" alt="{escaped(f"{item.title}: {item.subject}")}" loading="lazy">'
        return [
            f'<figure><a href="{where}.png">{picture}</a>',
            f"<figcaption>{text}</figcaption></figure>",
            "",
        ]
    body = paths.tables_folder(suite).joinpath(f"{name}.html").read_text(encoding="utf-8")
    body = body[body.index("<table>") : body.index("</table>") + len("</table>")]
    return [f'<div class="scroll">\n{body}\n</div>', f"<p>{text}</p>", ""]


def items_page() -> str:
    """Return the page that says of every figure and table what it shows, how it is read, and what it needs."""
    lines = [
        "# Figures and tables",
        "",
        "A suite lists under `items` which of these it shows; `bench figure NAME --suite SUITE` "
        "or `bench table NAME --suite SUITE` draws any of them from stored measurements.",
    ]
    for name, item in ITEMS.items():
        needs = [f"measurements: {', '.join(item.measures)}"] if item.measures else []
        needs += [f"arrays: {', '.join(item.arrays)}"] if item.arrays else []
        own = f" The paper's version shows {markdown(item.counterpart)}." if item.counterpart else ""
        lines += [
            "",
            f"## {markdown(f'{item.title}: {item.subject}')} {{#{name.lower()}}}",
            "",
            f"`{name}` ({category(name)}). {markdown(item.reading)}{own} "
            f"{'Needs ' + '; '.join(needs) + '.' if needs else ''}",
        ]
    return "\n".join(lines) + "\n"


def findings_page() -> str:
    """Return the page of answers to the papers' questions, with the picture that shows each, by suite."""
    introduction = (
        "What the suites' measurements say about the papers' questions. *Supported* is yes and *contradicted* no, both "
        "shown by a test that is corrected over all tested questions of a paper; *cannot tell* is neither, and the smallest "
        "difference that could have been shown is given."
    )
    lines = ["# Findings", "", introduction]
    for suite in suites():
        file = paths.tables_folder(suite) / "tabFindings.csv"
        if "tabFindings" in drawn(suite) and file.exists():
            lines += ["", f"## Suite {suite}", "", escaped(read_json(file.with_suffix(".json"))["caption"])]
            with file.open(encoding="utf-8", newline="") as rows:
                lines += [line for row in csv.DictReader(rows) for line in _finding(suite, row)]
    return "\n".join(lines) + "\n"


def _finding(suite: str, row: dict[str, str]) -> list[str]:
    lines = [
        "",
        f"### {markdown(row['question'])}",
        "",
        f"**{row['answer'].capitalize()}**: {row['difference']}",
    ]
    lines[-1] += f". Could be shown: {row['could_be_shown']}." if row["could_be_shown"] else "."
    lines += ["", f"Unlike the paper: {markdown(row['unlike'])}."] if row["unlike"] else []
    name = row["item"]
    if name in drawn(suite) and ITEMS[name].kind == "figure":
        where = escaped(f"suites/{suite}/{name}.png")
        alt = escaped(f"{ITEMS[name].title}: {ITEMS[name].subject}")
        return [
            *lines,
            "",
            f'<figure><a href="{where}"><img src="{where}" alt="{alt}" loading="lazy"></a></figure>',
        ]
    shown = f"[{ITEMS[name].title}](suites/{suite}-{_page_of(name)}.md)" if name in drawn(suite) else ""
    return [*lines, "", f"See {shown}."] if shown else lines


def assets(suite: str) -> dict[str, Path]:
    """Return address on the site -> file of everything that a suite's pages show or link."""
    found: dict[str, Path] = {}
    for name, sidecar in drawn(suite).items():
        forms = ("png", "pdf", "json") if ITEMS[name].kind == "figure" else ("csv", "tex", "json")
        found |= {f"suites/{suite}/{name}.{form}": sidecar.with_suffix(f".{form}") for form in forms}
    return found


def on_config(config: Any, **_: Any) -> Any:
    """Add the pages of findings, items and suites to the navigation."""
    measured = [{suite: [{TITLES[k]: f"suites/{suite}-{k}.md"} for k in kinds(suite)]} for suite in suites()]
    items = {"Figures and tables": [{"What they show": "items.md"}, *measured]}
    config["nav"] = [{"Findings": "findings.md"}, *config["nav"], items]
    return config


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Add the pages of suites, what they show, and the files outside docs/ that pages link to."""
    from mkdocs.structure.files import File

    texts = {
        "assets/sort.js": SCRIPT.read_text(encoding="utf-8"),
        "assets/site.css": SCRIPT.with_name("site.css").read_text(encoding="utf-8"),
        "items.md": items_page(),
        "findings.md": findings_page(),
    }
    places: dict[str, Path] = {}
    for suite in suites():
        texts |= {f"suites/{suite}-{kind}.md": page(suite, kind) for kind in kinds(suite)}
        places |= assets(suite)
    docs = Path(config["docs_dir"])
    for path in docs.glob("*.md"):
        linked = _OUTSIDE.findall(path.read_text(encoding="utf-8"))
        places |= {_copy(name): docs.parent / name for name in linked}
    for address, text in texts.items():
        files.append(File.generated(config, address, content=text))
    for address, path in places.items():
        files.append(File.generated(config, address, abs_src_path=str(path.resolve())))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Point links that leave docs/ to the copies on the site; the first page ends with the board."""
    if page.file.src_uri == "index.md":
        markdown += "\n" + board({suite: {*drawn(suite)} for suite in suites()})
    return _OUTSIDE.sub(lambda found: f"]({_copy(found[1])})", markdown)


def _copy(name: str) -> str:
    """Return the address of a file outside docs/; a Markdown file there is shown as text, not as a page."""
    return f"project/{name}" + (".txt" if name.endswith(".md") else "")
