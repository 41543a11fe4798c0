"""Sizes that keep the code readable: functions of at most 70 lines, .c files of at most 450, headers of at most 150
(tests: 600 and 200).
Prints what is over, and how the functions are spread; exit status 1 when anything is over."""

import pathlib
import re
import statistics
import sys

FUNCTION_MAX, SOURCE_MAX, HEADER_MAX = 70, 450, 150
TEST_SOURCE_MAX, TEST_HEADER_MAX = 600, 200
FOLDERS = ("base", "mount", "cachecore", "csi", "tests")
NAME = re.compile(r"(\w+)\(")


def limit_of(folder, path):
    if folder == "tests":
        return TEST_HEADER_MAX if path.suffix == ".h" else TEST_SOURCE_MAX
    return HEADER_MAX if path.suffix == ".h" else SOURCE_MAX


def functions(lines):
    """(name, first line, lines): a body opens with '{' in column 0 and closes with '}' in column 0."""
    start = None
    for number, line in enumerate(lines):
        if line.rstrip() == "{":
            start = number
        elif line.startswith("}") and start is not None:
            head = start - 1
            while head > 0 and not re.match(r"[A-Za-z_]", lines[head]):
                head -= 1
            name = NAME.search(lines[head])
            yield name.group(1) if name else lines[head], head + 1, number - head + 1
            start = None


def main():
    over, lengths, seen = [], [], 0
    for folder in FOLDERS:
        for path in sorted(pathlib.Path(folder).glob("**/*.[ch]")):
            lines = path.read_text().splitlines()
            seen += 1
            limit = limit_of(folder, path)
            if len(lines) > limit:
                over.append(f"{path}: {len(lines)} lines, at most {limit}")
            for name, line, length in functions(lines):
                if folder != "tests":
                    lengths.append(length)
                if length > FUNCTION_MAX:
                    over.append(f"{path}:{line}: {name} has {length} lines, at most {FUNCTION_MAX}")
    print("\n".join(over))
    if lengths:
        under = sum(length <= 15 for length in lengths)
        print(f"{len(lengths)} functions: median {statistics.median(lengths):g} lines, {100 * under // len(lengths)}% of "
              f"at most 15, {sum(length > 40 for length in lengths)} over 40, longest {max(lengths)}")
    if seen < 10 or not lengths:
        print("sizes: too little seen; is this the project's root?")
        return 1
    return 1 if over else 0


sys.exit(main())
