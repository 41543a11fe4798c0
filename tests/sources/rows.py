"""The rows of faults that the issue of sources names, by number: the tests of the integration suite, run here too; what each answered is
printed once when all are over."""

import re

import harness

ROWS = {33, *range(37, 48), *range(48, 64)}
NAME = re.compile(r"row-(\d+) ")


def wanted(entry):
    match = NAME.match(entry[0])
    return not match or int(match.group(1)) in ROWS


BEFORE = len(harness.TESTS)
for module in ("rows_attributes", "rows_urls", "rows_names", "rows_http"):
    __import__(module)
harness.TESTS[BEFORE:] = [entry for entry in harness.TESTS[BEFORE:] if wanted(entry)]


def chosen_answer(answers):
    """A final one if there is any, then one that tells of a cause: progress is no answer."""
    passing = {code.name for code in harness.NON_FINAL}
    return min(answers, key=lambda answer: (answer[0] in passing, answer[0] == "ABORTED"))


def print_answers(chosen):
    """One line for each row whose tests ran; rows in which nothing was refused say OK."""
    numbers = {int(match.group(1)) for match in (NAME.match(entry[0]) for entry in chosen) if match}
    for number in sorted(numbers):
        answers = [(code, message) for name, code, message in list(harness.ERRORS) if name.startswith(f"row-{number} ")]
        code, message = chosen_answer(answers) if answers else ("OK", "")
        harness.log(f"row {number}: {code} \"{message}\"")


@harness.test("row-45 ports-of-administration")
def ports(world):
    """Refused by the rule alone, before anybody is asked; the suite has no network beside."""
    for port in (22, 6443, 10250):
        pod = world.node.pod("port")
        pod.final(harness.Code.PERMISSION_DENIED, lambda p=pod, n=port: p.publish(f"http://93.184.216.34:{n}/x", storageClass="strict"), "input 1", "not allowed",
                  "at a port that serves no files")
