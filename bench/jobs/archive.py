"""A suite's stored baselines in one self-contained zip, for instance to get a DOI.

It holds plan, tidy table, arrays and provenance, every item drawn from them, the environment that wrote it, half-precision
weights if asked for, checksums (``sha256sum -c SHA256SUMS`` reads them) and an RO-Crate 1.1 description.  Files lie as in a
project: unpacked into any folder, the suite is drawn from it as from its stored baselines.  The same content
gives the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from safetensors.numpy import load_file, save_file

import bench
from bench.models.families import CONTROLS
from bench.report.items import ITEMS
from bench.report.render import render
from bench.results import baselines
from bench.suite.plan import Plan
from bench.support import git, paths
from bench.support.console import Progress, say
from bench.support.errors import BenchError
from bench.support.files import atomic, read_json, sha256, write_json, write_text

SUMS, CRATE = "SHA256SUMS", "ro-crate-metadata.json"
LICENSE = "https://spdx.org/licenses/MIT"
KINDS = {
    ".gz": "application/gzip", ".json": "application/json", ".npz": "application/zip", ".png": "image/png",
    ".pdf": "application/pdf", ".csv": "text/csv", ".md": "text/markdown", ".tex": "application/x-tex",
    ".html": "text/html", ".rst": "text/x-rst",
}  # fmt: skip


def write(suite: Plan, out: Path, weights: bool = False) -> list[str]:
    """Write the archive; return what could not go into it, in sentences.

    Raises BenchError where the suite has no stored baselines, or the library ``rocrate`` is missing.
    """
    record, name = baselines.stored(suite.suite), suite.suite
    _library()
    with tempfile.TemporaryDirectory(prefix="bench-archive-") as temporary:
        content = Path(temporary)
        shutil.copytree(paths.baselines_folder(name), content / paths.baselines_folder(name))
        lacking = _draw(name, content)
        if weights:
            lacking += _add_weights(suite, record, content)
        write_json(content / "environment.json", _environment())
        files = _files(content)
        write_text(content / CRATE, json.dumps(_described(suite, record, content, files), indent=1) + "\n")
        files = _files(content)
        write_text(content / SUMS, "".join(f"{sha256(content / file)}  {file}\n" for file in files))
        _pack(content, [*files, SUMS], out)
    return lacking


def _library():
    try:
        import rocrate.rocrate
    except ModuleNotFoundError:
        raise BenchError("An archive needs the package 'rocrate': pip install -e '.[archive]'.") from None
    return rocrate.rocrate


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _draw(suite: str, content: Path) -> list[str]:
    """Draw every item that the suite lists, from the archive's own content; return what it lacks."""
    lacking = []
    with contextlib.chdir(content):
        listed = read_json(paths.baselines_folder(suite) / "plan.json")["items"]
        with Progress(len(listed), f"archive {suite}", "item") as progress:
            for item in listed:
                try:
                    render(item, suite, ITEMS[item].kind)
                except BenchError as error:
                    lacking.append(f"{item} is left out: {error}")
                progress.advance()
    return lacking


def _add_weights(suite: Plan, record: dict, content: Path) -> list[str]:
    """Add the trained weights behind the baselines in half precision, where they are here and may be passed on."""
    lacking = []
    for run in record["runs"]:
        spec, folder = suite.run(run), paths.run_folder(suite.suite, run)
        if spec.model.family in CONTROLS or not suite.all_datasets[spec.dataset].redistribute:
            continue  # a control holds images, and a network of few images knows them by heart
        made = read_json(folder / "run.json") if (folder / "run.json").exists() else None
        same = made is not None and made["provenance"]["date"] == record["runs"][run]["train"]["date"]
        if not same or not (folder / "weights.safetensors").exists():
            lacking.append(
                f"the weights of {run} are left out: those behind its baseline are not in {folder}"
            )
            continue
        state = load_file(folder / "weights.safetensors")
        half = {key: v.astype(np.float16) if v.dtype.kind == "f" else v for key, v in state.items()}
        (content / "weights").mkdir(exist_ok=True)
        save_file(half, content / "weights" / f"{run}.safetensors", {"run": f"{suite.suite}/{run}"})
    return lacking


def _environment() -> dict:
    """Return the code and the packages that wrote the archive; no name of a machine, nor the time."""
    found = {one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}
    packages = dict(sorted(found.items(), key=lambda pair: str(pair[0]).lower()))
    return {"bench": bench.__version__, "git": git.state(), "packages": packages}


def _described(suite: Plan, record: dict, content: Path, files: list[str]) -> dict:
    """Return the RO-Crate description: the suite, the software, and every file with type, size and hash."""
    crate = _library().ROCrate(version="1.1")
    dates = [made["train"]["date"] for made in record["runs"].values()]
    crate.name = f"denoiser-generalization-bench {bench.__version__}, suite {suite.suite}"
    crate.description = (
        f"{suite.title}: measurements of {len(dates)} runs with provenance, figures and tables."
    )
    crate.datePublished, crate.license = max(dates), LICENSE
    commits = sorted({place["git"]["commit"] for place in record["environments"]})
    software = _library().ContextEntity(
        crate, "#software",
        {
            "@type": "SoftwareApplication", "name": "denoiser-generalization-bench", "softwareVersion": bench.__version__,
            "description": f"Measured by the commits {', '.join(commits)}.",
        },
    )  # fmt: skip
    crate.add(software)
    crate.root_dataset["mentions"] = software
    for file in files:
        about = {
            "contentSize": str((content / file).stat().st_size),
            "sha256": sha256(content / file),
            "encodingFormat": KINDS.get(PurePosixPath(file).suffix, "application/octet-stream"),
        }
        crate.add_file(content / file, dest_path=file, properties=about)
    return crate.metadata.generate()


def _pack(content: Path, files: list[str], out: Path) -> None:
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(files):  # without times and rights: the same content is the same bytes
            info = zipfile.ZipInfo(file)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(info, (content / file).read_bytes())


def check(file: Path) -> tuple[str, dict[str, bytes]]:
    """Return the suite of an archive and its files by name, every byte checked.

    Raises BenchError that names the first file that is missing, superfluous, changed or not described.
    """
    found = _unzipped(file)
    if lacks := [name for name in (SUMS, CRATE) if name not in found]:
        raise BenchError(f"{file} lacks {lacks[0]}; it was not written by `bench archive`.")
    lines = [line.split("  ", 1) for line in found[SUMS].decode().splitlines()]
    sums = {name: value for value, name in lines}
    for name in sorted({*sums, *found} - {SUMS}):
        if name not in found or name not in sums:
            raise BenchError(
                f"{file} {'lacks' if name in sums else 'holds a file too many,'} {name}; fetch it again."
            )
        if hashlib.sha256(found[name]).hexdigest() != sums[name]:
            raise BenchError(
                f"{file}: {name} was changed: its sha256 is not the recorded one; fetch it again."
            )
    described = {entity["@id"] for entity in json.loads(found[CRATE])["@graph"]}
    if unknown := sorted({*sums} - described - {CRATE}):
        raise BenchError(f"{file}: {CRATE} does not describe {unknown[0]}; archive the suite again.")
    plans = [
        PurePosixPath(name) for name in sums if PurePosixPath(name).match("results/baselines/*/plan.json")
    ]
    if len(plans) != 1:
        raise BenchError(
            f"{file} holds the plans of {len(plans)} suites, not of one; archive the suite again."
        )
    return plans[0].parent.name, found


def _unzipped(file: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except FileNotFoundError:
        raise BenchError(f"{file} does not exist; `bench archive --suite SUITE` writes one.") from None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, zlib.error) as error:
        raise BenchError(f"{file} is damaged ({error}); fetch it again.") from error


def unpack(file: Path) -> str:
    """Check an archive and put its measurements where stored baselines lie; return the suite.

    Raises BenchError where other baselines of that suite are there.
    """
    suite, found = check(file)
    target = paths.baselines_folder(suite)
    start = target.as_posix() + "/"
    wanted = {name.removeprefix(start): data for name, data in found.items() if name.startswith(start)}
    if target.exists():
        raise BenchError(f"{target} already exists; delete it, or unpack {file} in another folder.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{suite}.") as temporary:
        new = Path(temporary) / suite
        for name, data in wanted.items():
            if ".." in PurePosixPath(name).parts:
                raise BenchError(f"{file}: {name} would lie outside of {target}; do not use this file.")
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data)
        new.rename(target)
    say(f"{target}: {len(wanted)} files; `bench items --suite {suite}` draws from them")
    return suite
