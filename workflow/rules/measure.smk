# What measurements need of a dataset, made once: statistics in a feature space, a classifier, a linear filter.
rule reference:
    input:
        "results/datasets/{dataset}/manifest.json",
        classifier=classifier_of,
    output:
        "results/references/{dataset}/{reference}.npz",
    log:
        "logs/references/{dataset}.{reference}.log",
    conda:
        "../envs/project.yml"
    params:
        code=lambda wildcards: plan.reference_code(
            Reference(wildcards.dataset, wildcards.reference)
        ),
    shell:
        "bench reference {wildcards.dataset:q} {wildcards.reference:q} > {log:q} 2>&1"


# All measurements of a run in one process. Each result is kept in .runs/ with what it depends on, and only what is out
# of date is repeated: after a change of one measurement's code, the other results are reused.
rule measure:
    input:
        asked("measure"),
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/history.csv",
        "results/{suite}/runs/{run}/run.json",
        dataset=dataset_of,
        subset=subset_of,
        references=references_of,
        partner=partner_of,
    output:
        "results/{suite}/runs/{run}/measurements.csv",
        "results/{suite}/runs/{run}/measurements.json",
        directory("results/{suite}/runs/{run}/arrays"),
    log:
        "logs/{suite}/{run}/measure.log",
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        code=lambda wildcards: PLAN.measured_by(wildcards.run),
    shell:
        "bench measure all {wildcards.run:q} --suite {wildcards.suite} > {log:q} 2>&1"
