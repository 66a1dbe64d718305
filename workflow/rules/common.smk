"""The suite's plan, and the small functions that rules ask it. Nothing here imports torch."""

import functools
import json
import os
import shlex
import sys
from pathlib import Path

from snakemake.io import IOFile

from bench.metrics.declare import Reference
from bench.results import records
from bench.suite import candidate, plan, submitted
from bench.support import paths, root
from bench.support.console import say
from bench.support.errors import BenchError
from bench.support.files import digest, refuse_future
from bench.support.options import to_dict
from bench.report.items import ITEMS, category, check_listed, data_of, stem_of
from bench.report.items import code_of as code_of_item
from snakemake_executor_plugin_submitit.records import why_unwritable


def literal(text):
    """Quote a text for the shell, with its braces doubled for Snakemake's formatting."""
    return shlex.quote(str(text)).replace("{", "{{").replace("}", "}}")


def refuse(sentence):
    sys.exit(f"bench: error: {sentence}")


def check_writable(*folders):
    """Refuse to start where a folder that is there cannot be written; Snakemake's own error is a traceback."""
    for folder in filter(os.path.lexists, folders):
        if why := why_unwritable(Path(folder)):
            refuse(f"{why} Free some space, or make it writable, and start again.")


if workflow.is_main_process:
    if {"{", "}"} & set(workflow.basedir):
        refuse(
            f"Snakemake takes the braces in {workflow.basedir} for wildcards: rename the folder."
        )
    if "\n" in workflow.basedir:
        refuse(
            f"The folder {workflow.basedir!r} has a line break in its name: rename it."
        )
    records_of_snakemake = (
        f".snakemake/{name}" for name in ("metadata", "incomplete", "locks")
    )
    check_writable(".", ".snakemake", *records_of_snakemake)

FILES = submitted.files()  # before any of them is parsed

try:
    root.check()
    candidate.to_environment(config)
    if plan.is_adopted(chosen := str(config.get("suite", "demo"))):
        raise BenchError(
            f"the networks of {chosen} were trained elsewhere, which Snakemake would do again; measure them with "
            f"`bench measure all RUN --suite {chosen}`, then `bench tidy` and `bench items`."
        )
    PLAN = plan.load(chosen)
    check_listed(PLAN)
    if PLAN.candidate:
        from bench.results import baselines

        baselines.stored(PLAN.suite)
except BenchError as error:
    refuse(error)


def set_prefix():
    """Give all commands the environment that runs Snakemake, and the plan that they were submitted with."""
    folder, file = literal(Path(sys.executable).parent), submitted.plan_file()
    name = literal(file or "")
    shell.prefix(
        f'set -euo pipefail; export PATH={folder}:"$PATH" {submitted.VARIABLE}={name}; '
    )


for variable in (submitted.VARIABLE, candidate.VARIABLE):
    os.environ.setdefault(variable, "")
set_prefix()


envvars:
    submitted.VARIABLE,
    candidate.VARIABLE,


# Jobs take options and code from the plan written before the first of them, even if files change meanwhile.
onstart:
    if workflow.is_main_process and not submitted.plan_file():
        check_writable("results", "figures", "logs", ".runs")
        drawn = {}
        for job in workflow.dag.needrun_jobs():
            try:
                refuse_future(*map(Path, job.input))
            except BenchError as error:
                refuse(error)
            if item := job.wildcards_dict.get("item"):
                drawn[item] = code_of_item(item)
        others = [("bench.results.tidy",), ("bench.compare.pages",)]
        file = PLAN.submit(*drawn.values(), *others, files=FILES)
        os.environ[submitted.VARIABLE] = str(file)
        set_prefix()
        if PLAN.candidate:
            from bench.compare.duration import duration

            say(f"{PLAN.candidate}: {duration(PLAN)}.")


def has_record(file):
    return workflow.persistence.metadata(IOFile(file)) is not None


def asked(kind):
    """Return an input function without files: it reruns a job if its output says that it was made differently.

    Snakemake itself trusts files that it has no record of, made outside it or copied.
    """

    def ask(wildcards):
        if workflow.is_main_process:
            # outputs are moved into place whole: what a killed job left incomplete is remade without asking
            workflow.dag_settings.force_incomplete = True
            files, agrees = RECORDED[kind](wildcards)
            here = [file for file in files if Path(file).exists()]
            if here and not (agrees() if agrees else all(map(has_record, here))):
                workflow.dag.forcefiles.update(map(str, here))
        return []

    return ask


# The first output of a rule, and whether its record agrees with the plan (None: it has no record but Snakemake's)
RECORDED = {
    "dataset": lambda w: (
        [paths.dataset_folder(w.dataset) / "manifest.json"],
        lambda: records.dataset(PLAN, w.dataset),
    ),
    "subset": lambda w: (
        [paths.subset_file(w.dataset, int(w.shuffle))],
        lambda: records.subset(PLAN, w.dataset, int(w.shuffle)),
    ),
    "check": lambda w: (
        [paths.plan_file(PLAN.suite)],
        lambda: records.planned(PLAN),
    ),
    "train": lambda w: (
        [paths.run_folder(PLAN.suite, w.run) / "run.json"],
        lambda: records.trained(PLAN, w.run),
    ),
    "measure": lambda w: (
        paths.measured_files(PLAN.suite, w.run)[:1],
        lambda: records.measured(PLAN, w.run),
    ),
    "tidy": lambda w: ([paths.tidy_file(PLAN.suite)], None),
    "item": lambda w: (files_of(w.item), None),
}


wildcard_constraints:
    suite=PLAN.suite,
    dataset="[^/]+",
    run="[^/]+",
    shuffle=r"\d+",
    reference="[^/]+",


def threads_of(wildcards):
    return PLAN.run(wildcards.run).training.threads


def subset_of(wildcards):
    run = PLAN.run(wildcards.run)
    return paths.subset_file(run.dataset, run.shuffle)


def dataset_of(wildcards):
    return paths.dataset_folder(PLAN.run(wildcards.run).dataset) / "manifest.json"


def references_of(wildcards):
    """Return the files of datasets that a run's measurements read."""
    run = wildcards.run
    found = [
        ref for metric in PLAN.metrics(run) for ref in PLAN.references(metric, run)
    ]
    return [paths.reference_file(*ref) for ref in dict.fromkeys(found)]


def classifier_of(wildcards):
    """Return the classifier in whose features statistics are."""
    classifier = Reference(wildcards.dataset, wildcards.reference).classifier
    return [] if classifier is None else [paths.reference_file(*classifier)]


def partner_of(wildcards):
    """Return the outputs of half a, for a run that is compared with it."""
    run = PLAN.run(wildcards.run)
    if run.measure.halves is None:
        return []
    folder = paths.run_folder(PLAN.suite, run.partner)
    return [folder / "weights.safetensors", folder / "run.json"]


def base_of(wildcards):
    """Return the manifest of the dataset that this one is a view of, if it is one."""
    base = PLAN.all_datasets[wildcards.dataset].base
    return [] if base is None else [paths.dataset_folder(base) / "manifest.json"]


def dataset_threads(wildcards):
    """Return how many processes a dataset can use: decoding takes as many as there are (`set-threads`)."""
    row = PLAN.all_datasets[wildcards.dataset]
    return 16 if row.family is None and row.base is None else 1


def measured(runs):
    return [paths.measured_files(PLAN.suite, run)[0] for run in runs]


def arrays_of(item):
    """Return the arrays that an item reads beside the tidy table."""
    return [
        paths.arrays_folder(PLAN.suite, run)
        for run in PLAN.runs
        if set(ITEMS[item].arrays) & set(PLAN.metrics(run))
    ]


def asked_alone():
    """Return whether nothing but items is asked for, by name or by file; a job's own process has no targets."""
    settings = workflow.dag_settings
    names = {
        str(name)
        for item in ITEMS
        for name in (item, *files_of(item), *made_with(item))
    }
    targets = set(settings.targets) - {"items"}
    if not settings.targets:
        return bool(settings.target_jobs)
    return targets <= names


def stored_of_item(wildcards):
    """Return what an item is drawn from: the suite's own results, or the stored baseline of a suite never run here."""
    folder = paths.stored_folder(PLAN.suite)
    if folder != paths.suite_folder(PLAN.suite) and asked_alone():
        arrays = [
            path
            for metric in ITEMS[wildcards.item].arrays
            for path in sorted(folder.glob(f"arrays/*/{metric}.npz"))
        ]
        return [folder / "plan.json", paths.stored_table(PLAN.suite), *arrays]
    return [
        paths.plan_file(PLAN.suite),
        paths.tidy_file(PLAN.suite),
        *arrays_of(wildcards.item),
    ]


def item_options(wildcards):
    """Return the digest of what an item shows and of the papers' files that it reads; of a stored baseline, also of what is stale in it."""
    shown = digest([PLAN.item_digest(wildcards.item), data_of(wildcards.item)])
    if paths.stored_folder(PLAN.suite) == paths.suite_folder(PLAN.suite):
        return shown
    return digest([shown, stale_rows()])


@functools.cache
def stale_rows():
    from bench.results import staleness

    try:
        status = staleness.status(PLAN)
    except BenchError:  # a baseline without provenance; the caption says so
        return []
    return [(*key, why) for key, why in status.items() if why]


def item_code(wildcards):
    return submitted.code(*code_of_item(wildcards.item))


def items_of(kind):
    """Return all figures or tables; what a suite does not list can still be asked for by name."""
    return [item for item in ITEMS if ITEMS[item].kind == kind]


def files_of(item):
    forms = ("pdf", "png") if ITEMS[item].kind == "figure" else ("csv", "md", "tex")
    return [stem_of(item, PLAN.suite).with_suffix(f".{form}") for form in forms]


def made_with(item):
    """Return the other files that are written with an item: sidecar, caption, the table as a page."""
    forms = ("json", "rst") + ("html",) * (ITEMS[item].kind == "table")
    return [stem_of(item, PLAN.suite).with_suffix(f".{form}") for form in forms]


def category_of(wildcards):
    return category(wildcards.item)


def labels_of(wildcards):
    item = ITEMS[wildcards.item]
    return {"item": item.title, "shows": item.subject, "suite": wildcards.suite}


def item_files():
    return [file for item in PLAN.items for file in files_of(item)]


def candidate_runs():
    return [run for run in PLAN.runs if PLAN.runs[run].model.name == PLAN.candidate]


def compared(wildcards):
    """Return what a comparison reads: the candidate's measurements and the stored baselines."""
    if PLAN.candidate is None:
        refuse(
            "No model to compare: add `--config model=FILE.py:NAME suite=families`, or a preset as model."
        )
    folder = paths.baselines_folder(PLAN.suite)
    stored = [folder / name for name in ("provenance.json", "priors.json")]
    return [
        *measured(candidate_runs()),
        paths.baseline_table(PLAN.suite),
        *stored,
    ]


def checked(wildcards):
    """Return the conformance report of the candidate for its runs: it is checked before it is trained."""
    return CHECKED if wildcards.run in candidate_runs() else []


CHECKED = f"results/{PLAN.suite}/compare/{PLAN.candidate}.check.txt"


def candidate_options(wildcards):
    """Return the words that give the candidate its options on the command line."""
    options = PLAN.run(candidate_runs()[0]).model.options
    return [
        word
        for key, value in options.items()
        for word in ("--set", f"{key}={json.dumps(value)}")
    ]
