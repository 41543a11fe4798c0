"""The layer rule: base <- {mount, cachecore} <- csi. Siblings never include each other, and each outside library is seen
by the files in MAY_USE only. Prints what breaks it; exit status 1."""

import pathlib
import re
import sys

LAYERS = {"base": {"base"}, "mount": {"base", "mount"}, "cachecore": {"base", "cachecore"},
          "csi": {"base", "mount", "cachecore", "csi"}}

# Header prefix -> files that may include it (a name that ends in / is a folder). docs/ARCHITECTURE.md says why.
MAY_USE = {
    "libmount/": ["mount/"],
    "curl/": ["cachecore/http.c", "cachecore/http_failure.c", "cachecore/http_hop.h"],
    "openssl/": ["cachecore/digest.c", "cachecore/rsa.c"],
    "nghttp2/": ["csi/"],
    "microhttpd.h": ["csi/health.c"],
    "protobuf-c/": ["csi/", "cachecore/"],
    "jansson.h": ["cachecore/", "csi/"],
    "expat.h": ["cachecore/xml.c"],
    "base/log.h": ["csi/", "base/log.c"],
    "csi/proto/": ["csi/"],
    "cachecore/proto/": ["cachecore/", "csi/"],
}
# Where a test of the layer needs what the layer itself has.
TESTS = re.compile(r"^tests/(?:unit|fuzz)/(base|mount|cachecore|csi)/")
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def includes(path):
    for match in INCLUDE.finditer(path.read_text(errors="replace")):
        yield match.group(1) == '"', match.group(2)


def layer_of(name):
    test = TESTS.match(name)
    return test.group(1) if test else name.split("/", 1)[0]


def allowed(name, users):
    return any(name.startswith(user) if user.endswith("/") else name == user for user in users)


def check_layer(name, quoted, header, broken):
    folder = header.split("/", 1)[0]
    layer = layer_of(name)
    if folder in LAYERS and folder not in LAYERS.get(layer, set(LAYERS)):
        broken.append(f"{name}: layer '{layer}' must not include {header}")
    if quoted and "/" not in header and not TESTS.match(name):
        broken.append(f'{name}: write "folder/{header}": every include line carries its folder')


def check_library(name, header, broken):
    test = TESTS.match(name)
    place = f"{test.group(1)}/" if test else name
    for prefix, users in MAY_USE.items():
        if header.startswith(prefix) and not allowed(place, users) and not (test and allowed(place, [u.split("/")[0] + "/" for u in users])):
            broken.append(f"{name}: {header} may be included by {', '.join(users)} only")


def main():
    broken, seen = [], 0
    for path in sorted(pathlib.Path(".").glob("**/*.[ch]")):
        name = str(path)
        if not name.startswith(("base/", "mount/", "cachecore/", "csi/", "tests/unit/", "tests/fuzz/")):
            continue
        seen += 1
        for quoted, header in includes(path):
            check_layer(name, quoted, header, broken)
            check_library(name, header, broken)
    print("\n".join(broken))
    if seen < 10:
        print("layers: too few sources seen; is this the project's root?")
    return 1 if broken or seen < 10 else 0


sys.exit(main())
