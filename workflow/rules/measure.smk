# Each metric is its own rule and can be made again alone.
rule psnr:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/run.json",
        dataset=dataset_of,
        subset=subset_of,
    output:
        "results/{suite}/runs/{run}/psnr.csv",
        "results/{suite}/runs/{run}/psnr.npz",
    log:
        "logs/{suite}/{run}/psnr.log",
    benchmark:
        "logs/{suite}/{run}/psnr.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("psnr"),
        code=code_of("psnr"),
    shell:
        "bench measure psnr {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


rule jacobian:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/run.json",
        dataset=dataset_of,
        subset=subset_of,
    output:
        "results/{suite}/runs/{run}/jacobian.csv",
        "results/{suite}/runs/{run}/jacobian.npz",
    log:
        "logs/{suite}/{run}/jacobian.log",
    benchmark:
        "logs/{suite}/{run}/jacobian.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("jacobian"),
        code=code_of("jacobian"),
    shell:
        "bench measure jacobian {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


rule attention:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/run.json",
        dataset=dataset_of,
        subset=subset_of,
    output:
        "results/{suite}/runs/{run}/attention.csv",
        "results/{suite}/runs/{run}/attention.npz",
    log:
        "logs/{suite}/{run}/attention.log",
    benchmark:
        "logs/{suite}/{run}/attention.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("attention"),
        code=code_of("attention"),
    shell:
        "bench measure attention {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


rule cost:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/history.csv",
        "results/{suite}/runs/{run}/run.json",
    output:
        "results/{suite}/runs/{run}/cost.csv",
    log:
        "logs/{suite}/{run}/cost.log",
    benchmark:
        "logs/{suite}/{run}/cost.tsv"
    conda:
        "../envs/project.yml"
    params:
        code=code_of("cost"),
    shell:
        "bench measure cost {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


rule samples:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/run.json",
    output:
        "results/{suite}/runs/{run}/samples.npz",
        "results/{suite}/runs/{run}/samples.csv",
    log:
        "logs/{suite}/{run}/samples.log",
    benchmark:
        "logs/{suite}/{run}/samples.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("samples"),
        code=code_of("samples"),
    shell:
        "bench samples {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


# Trained on the labels of a dataset; a feature space of its own, never called FID.
rule classifier:
    input:
        "results/datasets/{dataset}/manifest.json",
        "results/datasets/{dataset}/train.npy",
    output:
        "results/references/{dataset}/classifier.safetensors",
    log:
        "logs/references/{dataset}.classifier.log",
    benchmark:
        "logs/references/{dataset}.classifier.tsv"
    conda:
        "../envs/project.yml"
    params:
        code=PLAN.code("classifier"),
    shell:
        "bench classifier {wildcards.dataset:q} --expect-code {params.code} > {log:q} 2>&1"


rule reference:
    input:
        "results/datasets/{dataset}/manifest.json",
        "results/datasets/{dataset}/{pool}.npy",
        classifier=lambda wildcards: classifier_file(wildcards.features),
    output:
        "results/references/{dataset}/{features}.{pool}.{images}.npz",
    log:
        "logs/references/{dataset}.{features}.{pool}.{images}.log",
    benchmark:
        "logs/references/{dataset}.{features}.{pool}.{images}.tsv"
    conda:
        "../envs/project.yml"
    params:
        code=PLAN.code("reference"),
        images=lambda wildcards: (
            "" if wildcards.images == "all" else f"--count {wildcards.images}"
        ),
    shell:
        """
        bench reference {wildcards.dataset:q} \
            --features {wildcards.features} \
            --pool {wildcards.pool} \
            {params.images} \
            --expect-code {params.code} > {log:q} 2>&1
        """


rule frechet:
    input:
        "results/{suite}/runs/{run}/samples.npz",
        "results/{suite}/runs/{run}/run.json",
        reference=reference_of,
        classifier=classifier_of("frechet"),
    output:
        "results/{suite}/runs/{run}/frechet.csv",
    log:
        "logs/{suite}/{run}/frechet.log",
    benchmark:
        "logs/{suite}/{run}/frechet.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("frechet"),
        code=code_of("frechet"),
    shell:
        "bench measure frechet {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


rule memorization:
    input:
        "results/{suite}/runs/{run}/samples.npz",
        "results/{suite}/runs/{run}/run.json",
        dataset=dataset_of,
        subset=subset_of,
        classifier=classifier_of("memorization"),
    output:
        "results/{suite}/runs/{run}/memorization.csv",
        "results/{suite}/runs/{run}/memorization.npz",
    log:
        "logs/{suite}/{run}/memorization.log",
    benchmark:
        "logs/{suite}/{run}/memorization.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("memorization"),
        code=code_of("memorization"),
    shell:
        "bench measure memorization {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


# At the checkpoints that training keeps beside the weights.
rule along:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/run.json",
        dataset=dataset_of,
        subset=subset_of,
    output:
        "results/{suite}/runs/{run}/along.csv",
        "results/{suite}/runs/{run}/along.npz",
    log:
        "logs/{suite}/{run}/along.log",
    benchmark:
        "logs/{suite}/{run}/along.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("along"),
        code=code_of("along"),
    shell:
        "bench measure along {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"


# Two runs, one measurement: its rows are those of the half b.
rule halves:
    input:
        "results/{suite}/runs/{run}/weights.safetensors",
        "results/{suite}/runs/{run}/run.json",
        partner=partner_of,
        dataset=dataset_of,
        subset=subset_of,
    output:
        "results/{suite}/runs/{run}/halves.csv",
        "results/{suite}/runs/{run}/halves.npz",
    log:
        "logs/{suite}/{run}/halves.log",
    benchmark:
        "logs/{suite}/{run}/halves.tsv"
    conda:
        "../envs/project.yml"
    threads: threads_of
    params:
        options=measure_options("halves"),
        code=code_of("halves"),
    shell:
        "bench measure halves {wildcards.run:q} --suite {wildcards.suite} --expect-code {params.code} > {log:q} 2>&1"
