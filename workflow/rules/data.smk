# Source images are not inputs: a dry run plans a suite without its data.
rule dataset:
    input:
        asked("dataset"),
        base_of,
    output:
        "results/datasets/{dataset}/manifest.json",
        "results/datasets/{dataset}/train.npy",
        "results/datasets/{dataset}/validation.npy",
        "results/datasets/{dataset}/test.npy",
    log:
        "logs/datasets/{dataset}.log",
    conda:
        "../envs/project.yml"
    threads: dataset_threads
    params:
        options=lambda wildcards: digest(to_dict(PLAN.all_datasets[wildcards.dataset])),
        code=PLAN.code("dataset"),
    shell:
        "bench data build {wildcards.dataset:q} --workers {threads} > {log:q} 2>&1"


rule subset:
    input:
        asked("subset"),
        "results/datasets/{dataset}/manifest.json",
    output:
        "results/subsets/{dataset}/s{shuffle}.npz",
    log:
        "logs/subsets/{dataset}.s{shuffle}.log",
    conda:
        "../envs/project.yml"
    params:
        code=PLAN.code("subset"),
    shell:
        """
        bench data subset results/datasets/{wildcards.dataset:q} \
            --shuffle {wildcards.shuffle} \
            --out {output:q} \
            > {log:q} 2>&1
        """
