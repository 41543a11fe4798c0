"""What must not be in the tree: addresses of package registries and image hosts, paths of one machine, keys, built
binaries, large files. Looks at what git would commit; exit status 1 when something is found."""

import pathlib
import re
import subprocess
import sys

# Written with a class so that this file does not match itself.
FORBIDDEN = {
    "a package registry's address": r"(proxy[.]golang|sum[.]golang|goproxy[.]|deb[.]debian|security[.]debian|snapshot[.]debian|"
                                    r"pypi[.]org|pythonhosted|registry[.]npmjs|crates[.]io|https?://[a-z0-9.-]*artifactory)",
    "a path of one machine": r"(?<![\w.])/(?:work|root|home)/[a-z0-9_.-]+",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "an access key": r"\b(?:AKIA|ASIA)(?!IOSFODNN7EXAMPLE|EXAMPLE|IDEXAMPLE)[A-Z0-9]{16}\b",
}
PATTERNS = {what: re.compile(pattern) for what, pattern in FORBIDDEN.items()}
ALLOWED = re.compile(r"AKIDEXAMPLE|AKIAIOSFODNN7EXAMPLE")
SIZE_MAX = 512 * 1024


def tracked():
    names = subprocess.run(["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                           check=True, capture_output=True).stdout.decode().split("\0")
    return [pathlib.Path(name) for name in names if name and pathlib.Path(name).is_file()]


def complaints(path):
    data = path.read_bytes()
    if len(data) > SIZE_MAX:
        yield f"{path}: {len(data)} bytes"
    if data[:4] == b"\x7fELF" or data[:8] == b"!<arch>\n":
        yield f"{path}: a built binary"
    text = data.decode(errors="replace")
    for what, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            if path.name != "tree.py" and not ALLOWED.search(match.group(0)):
                yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group(0)}"
    for number, line in enumerate(text.splitlines(), 1):
        if line != line.rstrip() and path.suffix in (".c", ".h", ".py", ".sh", ".go", ".md", ".cmake"):
            yield f"{path}:{number}: white space at the end of the line"


def main():
    paths = tracked()
    found = [line for path in paths if not str(path).startswith("tests/fuzz/corpus/") for line in complaints(path)]
    print("\n".join(found))
    if len(paths) < 10:
        print("tree: too few files seen; is this the project's root?")
    return 1 if found or len(paths) < 10 else 0


sys.exit(main())
