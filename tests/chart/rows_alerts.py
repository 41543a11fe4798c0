"""The alerts: rules that Prometheus takes, on metrics that exist, each seen to fire, each with a place in the troubleshooting page."""

import re

import yaml

from harness import HERE, ROOT, WORK, find, need, render, run, test, values_files

RULES = WORK / "rules.yaml"


def rules():
    """Of the example with monitoring: written down as Prometheus reads them."""
    rule = find(render(values_files()["values-monitoring"]), "PrometheusRule")
    RULES.write_text(yaml.safe_dump(rule["spec"]))
    return [entry for group in rule["spec"]["groups"] for entry in group["rules"]]


@test("promtool-takes-the-rules")
def check():
    count = len(rules())
    done = run("promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES)
    need(f"{count} rules found" in done.stdout, done.stdout)
    return f"{count} rules"


@test("alerts-fire-when-they-should")
def fire():
    names = {entry["alert"] for entry in rules()}
    tests = (HERE / "alerts.yaml").read_text()
    tried = {row["alertname"] for part in yaml.safe_load(tests)["tests"] for row in part["alert_rule_test"] if row["exp_alerts"]}
    need(names == tried, f"never seen to fire: {sorted(names - tried)}")
    (WORK / "alerts.yaml").write_text(tests)
    done = run("promtool", "test", "rules", WORK / "alerts.yaml", check=False)
    need(done.returncode == 0, done.stdout + done.stderr)


@test("alerts-are-on-metrics-that-exist")
def exist():
    known = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/METRICS.md").read_text(), re.M))
    used = {name for entry in rules() for name in re.findall(r"\b(sharedcache_csi_\w+)", entry["expr"])}
    need(used and used <= known, f"docs/METRICS.md does not have {sorted(used - known)}")
    return f"{len(used)} metrics"


@test("alerts-lead-to-a-way-out")
def runbooks():
    text = (ROOT / "docs/TROUBLESHOOTING.md").read_text()
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).strip().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)}
    for entry in rules():
        page, anchor = entry["annotations"]["runbook"].split("#")
        need(page == "docs/TROUBLESHOOTING.md" and anchor in anchors, f"{entry['alert']}: no '#{anchor}' in {page}")
