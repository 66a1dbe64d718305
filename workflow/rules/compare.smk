def checks():
    """Return the commands that check the candidate on every image shape that the suite trains it on."""
    words = ["bench", "models", "check", config.get("model", "")]
    for key, value in PLAN.run(candidate_runs()[0]).model.options.items():
        words += ["--set", f"{key}={json.dumps(value)}"]
    rows = [PLAN.datasets[PLAN.runs[run].dataset] for run in candidate_runs()]
    shapes = sorted({(row.resolution, row.channels) for row in rows})
    return " && ".join(
        f"{shlex.join(words)} --image-size {side} --channels {channels}"
        for side, channels in shapes
    )


# A model of a user's file is checked before it is trained; its module is not imported here.
rule conformance:
    output:
        CHECKED,
    log:
        f"logs/{PLAN.suite}/{PLAN.candidate}.check.log",
    benchmark:
        f"logs/{PLAN.suite}/{PLAN.candidate}.check.tsv"
    conda:
        "../envs/project.yml"
    params:
        commands=lambda wildcards: checks(),
        trained_code=lambda wildcards: PLAN.code("train", candidate_runs()[0]),
    shell:
        """
        ( {params.commands} ) > {log:q} 2>&1 || {{ grep '^bench: error' {log:q} >&2 || tail -n 3 {log:q} >&2; exit 1; }}
        cp {log:q} {output:q}
        """


rule compare:
    input:
        measurements(candidate_runs()),
        f"results/baselines/{PLAN.suite}/tidy.csv" if PLAN.candidate else [],
        f"results/baselines/{PLAN.suite}/provenance.json" if PLAN.candidate else [],
    output:
        report(
            f"figures/{PLAN.suite}/compare-{PLAN.candidate}.png",
            caption="../report/compare.rst",
            category="Comparison",
        ),
        f"figures/{PLAN.suite}/compare-{PLAN.candidate}.pdf",
        report(
            f"results/{PLAN.suite}/compare/{PLAN.candidate}.md",
            caption="../report/compare.rst",
            category="Comparison",
        ),
        f"results/{PLAN.suite}/compare/{PLAN.candidate}.csv",
        f"results/{PLAN.suite}/compare/{PLAN.candidate}.tex",
    log:
        f"logs/{PLAN.suite}/compare-{PLAN.candidate}.log",
    benchmark:
        f"logs/{PLAN.suite}/compare-{PLAN.candidate}.tsv"
    conda:
        "../envs/project.yml"
    params:
        suite=PLAN.suite,
        code=fingerprint("bench.compare.pages"),
    shell:
        "bench compare --suite {params.suite} --expect-code {params.code} 2>&1 | tee {log:q}"
