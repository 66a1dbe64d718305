rule figure:
    input:
        asked("item"),
        stored_of_item,
    output:
        report(
            "figures/{suite}/{item}.png",
            caption="../report/item.rst",
            category=category_of,
            labels=labels_of,
        ),
        "figures/{suite}/{item}.pdf",
        "figures/{suite}/{item}.json",
        caption="figures/{suite}/{item}.rst",
    log:
        "logs/{suite}/{item}.log",
    wildcard_constraints:
        item="fig[A-Za-z0-9]+",
    conda:
        "../envs/project.yml"
    params:
        options=item_options,
        code=item_code,
    shell:
        "bench figure {wildcards.item} --suite {wildcards.suite} > {log:q} 2>&1"


for item in items_of("figure"):

    rule:
        name:
            item
        input:
            files_of(item),
        localrule: True
