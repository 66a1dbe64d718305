"""Where everything lies, relative to the current folder. No other module builds these paths."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the code that runs
RESULTS = Path("results")
FIGURES = Path("figures")
STATE = Path(".runs")


def dataset_folder(dataset: str, results: Path = RESULTS) -> Path:
    """Return the folder of a converted dataset."""
    return results / "datasets" / dataset


def reference_file(dataset: str, name: str, results: Path = RESULTS) -> Path:
    """Return the file of what measurements need of a dataset: statistics, a classifier, a linear filter."""
    return results / "references" / dataset / f"{name}.npz"


def subset_file(dataset: str, shuffle: int, results: Path = RESULTS) -> Path:
    """Return the file of a shuffle: the order in which train and test images are taken."""
    return results / "subsets" / dataset / f"s{shuffle}.npz"


def suite_folder(suite: str) -> Path:
    """Return the folder of a suite's results."""
    return RESULTS / suite


def plan_file(suite: str) -> Path:
    """Return the resolved plan of a suite."""
    return suite_folder(suite) / "plan.json"


def submitted_plan(suite: str, digest: str) -> Path:
    """Return the plan with which jobs of a suite were submitted."""
    return STATE / suite / f"plan-{digest}.json"


def tidy_file(suite: str) -> Path:
    """Return the tidy table of a suite."""
    return suite_folder(suite) / "tidy.csv"


def measured(suite: str) -> bool:
    """Return whether the suite was measured, or is being measured, in this folder."""
    return tidy_file(suite).exists() or (suite_folder(suite) / "runs").exists()


def measured_suites() -> list[str]:
    """Return the suites that have a tidy table here or among the stored baselines."""
    tables = [file for pattern in ("*", "baselines/*") for file in RESULTS.glob(f"{pattern}/tidy.csv*")]
    return sorted({file.parent.name for file in tables})


def stored_folder(suite: str) -> Path:
    """Return where items read: the suite's own results, else its stored baseline, if there is one."""
    stored = not measured(suite) and baseline_table(suite).exists()
    return baselines_folder(suite) if stored else suite_folder(suite)


def stored_table(suite: str) -> Path:
    """Return the tidy table that items read, in :func:`stored_folder`."""
    own = stored_folder(suite) == suite_folder(suite)
    return tidy_file(suite) if own else baseline_table(suite)


def stored_run(suite: str, run: str) -> Path:
    """Return the folder of a run's arrays that items read, in :func:`stored_folder`."""
    own = stored_folder(suite) == suite_folder(suite)
    return arrays_folder(suite, run) if own else baseline_arrays(suite, run)


def run_folder(suite: str, run: str) -> Path:
    """Return the folder of a run's declared outputs."""
    return suite_folder(suite) / "runs" / run


def measured_files(suite: str, run: str) -> tuple[Path, Path]:
    """Return the table of a run's measurements, and the record of what made each."""
    folder = run_folder(suite, run)
    return folder / "measurements.csv", folder / "measurements.json"


def arrays_folder(suite: str, run: str) -> Path:
    """Return the folder of a run's arrays, METRIC.npz."""
    return run_folder(suite, run) / "arrays"


def state_root(suite: str, run: str) -> Path:
    """Return the undeclared folder that holds a run's checkpoints."""
    return STATE / suite / run


def tables_folder(suite: str) -> Path:
    """Return the folder of a suite's tables."""
    return suite_folder(suite) / "tables"


def figures_folder(suite: str) -> Path:
    """Return the folder of a suite's figures."""
    return FIGURES / suite


def baselines_folder(suite: str) -> Path:
    """Return the folder of a suite's stored baselines."""
    return RESULTS / "baselines" / suite


def baseline_table(suite: str) -> Path:
    """Return the tidy table of a suite's stored baselines: compressed, since it is in git."""
    return baselines_folder(suite) / "tidy.csv.gz"


def baseline_arrays(suite: str, run: str) -> Path:
    """Return the folder of a run's arrays among a suite's stored baselines."""
    return baselines_folder(suite) / "arrays" / run


def compare_stem(suite: str, model: str) -> Path:
    """Return the tables of a comparison, without their endings."""
    return suite_folder(suite) / "compare" / model


def compare_figure(suite: str, model: str) -> Path:
    """Return the figure of a comparison, without its endings."""
    return figures_folder(suite) / f"compare-{model}"


def results_of(run_folder: Path) -> Path:
    """Return the results folder that holds ``results/SUITE/runs/RUN``."""
    return run_folder.resolve().parents[2]
