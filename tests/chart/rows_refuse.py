"""Bad values are refused before anything is installed, with a text that names the mistake."""

import yaml

from harness import HERE, helm_arguments, need, run, test, write_values


def register(row):
    name = row["name"].replace(" ", "-")

    @test(f"refuses-{name}")
    def refuses():
        done = run("helm", "template", *helm_arguments(write_values("refusal", row["values"])), check=False)
        need(done.returncode != 0, "helm takes it")
        need(row["says"] in done.stderr, f"no '{row['says']}' in: {done.stderr.strip()}")


for entry in yaml.safe_load((HERE / "refusals.yaml").read_text()):
    register(entry)
