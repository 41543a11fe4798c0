#!/usr/bin/env bash
# tests/supervised: a suite that hangs, one that leaves a process behind, and one that does neither.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
export SC_GRACE_SECONDS=3
failed=0

# supervise SECONDS SCRIPT: its output and status; what holds the output open longer than it lives would make this wait.
supervise() {
  output=$(unshare --mount --pid --fork --kill-child --mount-proc tests/supervised name "$1" bash -c "$2" 2>&1)
  status=$?
}

# expect NAME STATUS PATTERN...
expect() {
  local name=$1 wanted=$2 pattern
  shift 2
  for pattern in "$@"; do
    grep -qE "$pattern" <<<"$output" || wanted="$wanted and $pattern"
  done
  if [ "$status" = "$wanted" ]; then
    echo "[       OK ] $name"
  else
    printf '%s\n[  FAILED  ] %s: status %s, wanted %s\n' "$output" "$name" "$status" "$wanted"
    failed=1
  fi
}

supervise 60 'echo "ok one"; exit 3'
expect status_is_the_programs 3 '^ok one$'
supervise 60 'sleep 1 & exit 0'
expect what_ends_soon_after_is_waited_for 0
supervise 60 'sleep 3001 & exit 0'
expect what_is_left_running_is_named 125 '^not ok name: left 1 processes running' '^# process [0-9]+ of 1: sleep 3001'
supervise 1 'sleep 3002'
expect what_hangs_is_shown 124 '^not ok name: not over after 1 s' '^# process [0-9]+ of [0-9]+: sleep 3002' 'waits in [a-z_]+'
[ ! -x /usr/bin/python3 ] || supervise 1 '/usr/bin/python3 -c "
import faulthandler, signal, time
faulthandler.register(signal.SIGQUIT)
def function_that_hangs(): time.sleep(3003)
function_that_hangs()"'
[ ! -x /usr/bin/python3 ] || expect python_shows_its_frames 124 'in function_that_hangs'
supervise 60 'sleep 3004 & kill -TERM 1; wait'
expect a_suite_told_to_end_says_where_it_stood 124 'was told to end' ': sleep 3004'
exit "$failed"
