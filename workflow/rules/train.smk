# Builds every model of the suite without memory: a wrong option is found before anything is trained.
# It is first by priority, not as an input: below a job that is due, Snakemake no longer looks for changed params.
rule check:
    input:
        asked("check"),
    output:
        "results/{suite}/plan.json",
    log:
        "logs/{suite}/check.log",
    priority: 100
    conda:
        "../envs/project.yml"
    params:
        plan=digest(PLAN.summary()),
    shell:
        "bench check --suite {wildcards.suite} > {log:q} 2>&1"


# Checkpoints live in the undeclared folder .runs/: a failed or pre-empted job loses nothing,
# and the same command resumes from the last one.
rule train:
    input:
        asked("train"),
        checked,
        dataset=dataset_of,
        subset=subset_of,
    output:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/history.csv",
        "results/{suite}/runs/{run}/run.json",
    log:
        "logs/{suite}/{run}/train.log",
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        recipe=lambda wildcards: PLAN.recipe(wildcards.run),
        code=lambda wildcards: PLAN.code("train", wildcards.run),
    shell:
        "bench train {wildcards.run:q} --suite {wildcards.suite} > {log:q} 2>&1"
