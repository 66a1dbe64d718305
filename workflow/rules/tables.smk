rule tidy:
    input:
        asked("tidy"),
        measured(PLAN.runs),
    output:
        "results/{suite}/tidy.csv",
    log:
        "logs/{suite}/tidy.log",
    conda:
        "../envs/project.yml"
    params:
        code=submitted.code("bench.results.tidy"),
    shell:
        "bench tidy --suite {wildcards.suite} > {log:q} 2>&1"


rule table:
    input:
        asked("item"),
        stored_of_item,
    output:
        report(
            "results/{suite}/tables/{item}.html",
            caption="../report/item.rst",
            category=category_of,
            labels=labels_of,
        ),
        "results/{suite}/tables/{item}.csv",
        "results/{suite}/tables/{item}.md",
        "results/{suite}/tables/{item}.tex",
        "results/{suite}/tables/{item}.json",
        caption="results/{suite}/tables/{item}.rst",
    log:
        "logs/{suite}/{item}.log",
    wildcard_constraints:
        item="tab[A-Za-z0-9]+",
    conda:
        "../envs/project.yml"
    params:
        options=item_options,
        code=item_code,
    shell:
        "bench table {wildcards.item} --suite {wildcards.suite} > {log:q} 2>&1"


for item in items_of("table"):

    rule:
        name:
            item
        input:
            files_of(item),
        localrule: True
