# shellcheck shell=bash
# What the commands in hack/ and the suites in tests/ share. Sourced; needs no network and installs nothing.
#
#   SC_CACHE    tools built or unpacked by hack/setup, outside the tree (default ~/.cache/sharedcache)
#   SC_SCRATCH  where tests and the demo may write (default /tmp)

SC_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
SC_CACHE=${SC_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/sharedcache}
SC_SCRATCH=${SC_SCRATCH:-/tmp}
export SC_ROOT SC_CACHE SC_SCRATCH
export PATH="$SC_CACHE/bin:$PATH:/usr/sbin:/sbin"
# Debian's own interpreter: the modules that the tests use are its packages.
SC_PYTHON=/usr/bin/python3
export SC_PYTHON
export PYTHONDONTWRITEBYTECODE=1

die() {
  printf '%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

need_root() {
  [ "$(id -u)" -eq 0 ] || die "must run as root: it mounts file systems (in namespaces of its own)"
}

# For suites written in bash: one line a test, and the summary that hack/test reads.
SC_PASSED=0
SC_FAILED=0
ok() {
  SC_PASSED=$((SC_PASSED + 1))
  printf 'ok %s\n' "$*"
}
not_ok() {
  SC_FAILED=$((SC_FAILED + 1))
  printf 'not ok %s\n' "$*"
}
summary() {
  printf '%d passed, %d failed\n' "$SC_PASSED" "$SC_FAILED"
  [ "$SC_FAILED" -eq 0 ] && [ "$SC_PASSED" -gt 0 ]
}

# check NAME COMMAND...: runs it; its output is shown only when it fails.
check() {
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    ok "$name"
  else
    printf '%s\n' "$output"
    not_ok "$name"
  fi
}

# ended PID SECONDS: waits for a child and has its status; one that takes longer is killed.
ended() {
  local pid=$1 seconds=$2
  if ! timeout "$seconds" tail -s 0.1 --pid="$pid" -f /dev/null; then
    echo "process $pid is not over after $seconds s"
    kill -KILL "$pid" 2>/dev/null
  fi
  wait "$pid"
}

# Configures and builds a preset; quiet unless it fails. Suites that run beside each other take turns. build_preset NAME [cmake arguments...]
build_preset() {
  local preset=$1 log
  shift
  log=$(mktemp "$SC_SCRATCH/build-$preset.XXXXXX")
  mkdir -p "$SC_ROOT/build"
  if ! (flock 8 && cmake --preset "$preset" "$@" && cmake --build --preset "$preset" --parallel "$(nproc)") \
    8>"$SC_ROOT/build/.$preset.lock" >"$log" 2>&1; then
    grep -nE 'error|warning|undefined|FAILED|CMake Error' -A 6 "$log" | head -60
    tail -20 "$log"
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
}

# The newest Go of at least 1.21 (newer toolchains then come through the module proxy); prints its path.
find_go() {
  local go version
  for go in "$SC_CACHE/go/bin/go" "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go-1.*/bin/go; do
    [ -x "$go" ] || continue
    version=$("$go" env GOVERSION 2>/dev/null) || continue
    version=${version#go1.}
    version=${version%%[!0-9]*}
    [ "${version:-0}" -ge 21 ] || continue
    printf '%s\n' "$go"
    return 0
  done
  return 1
}
