"""What is to be done: options, suites, models and datasets as YAML, the plan, code fingerprints, forecast. Torch-free."""
