# A model of a user's file is checked before it is trained; its module is not imported here.
rule conformance:
    output:
        CHECKED,
    log:
        f"logs/{PLAN.suite}/{PLAN.candidate}.check.log",
    conda:
        "../envs/project.yml"
    params:
        suite=PLAN.suite,
        model=config.get("model", ""),
        options=candidate_options,
        trained_code=lambda wildcards: PLAN.code("train", candidate_runs()[0]),
    shell:
        """
        bench models check {params.model:q} --suite {params.suite:q} {params.options:q} > {log:q} 2>&1 \
            || {{ grep '^bench: error' {log:q} >&2 || tail -n 3 {log:q} >&2; exit 1; }}
        cp {log:q} {output:q}
        """


rule compare:
    input:
        compared,
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
    conda:
        "../envs/project.yml"
    params:
        suite=PLAN.suite,
        code=submitted.code("bench.compare.pages"),
    shell:
        "bench compare --suite {params.suite} 2>&1 | tee {log:q}"
