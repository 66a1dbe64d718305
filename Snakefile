"""Dataset subsets -> trainings -> measurements -> tidy table -> tables and figures, for one suite.

snakemake --cores 2 all                        the default suite, `demo`
snakemake --cores 2 all --config suite=an2024-small    another suite of config/suites
snakemake --cores 1 fig2                       one item, from stored measurements
snakemake --cores 2 items                      all items of the suite, from stored measurements
snakemake --cores 2 compare --config model=my_model.py:name    a new architecture against the stored baselines
snakemake --profile slurm all                  the suite `paper` on a cluster
"""


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/measure.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/compare.smk"


localrules:
    all,
    items,


rule all:
    default_target: True
    input:
        item_files(),


rule items:
    input:
        item_files(),
