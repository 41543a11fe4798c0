#!/usr/bin/env bash
# hack/test, with suites of a few lines in a tree of its own: two lanes, what is printed, what counts as a failure, and that nothing
# of it is left whatever ends it. Then tests/sanitized, which runs suites within a suite.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
work=$(mktemp -d "${SC_SCRATCH:-/tmp}/runner.XXXXXX")
trap 'sleepers "[0-9]*" | cut -d/ -f3 | xargs -r kill -KILL; rm -rf --one-file-system "$work"' EXIT
tree=$work/tree
failed=0
unset CI SC_SERIAL SC_SUITE_SECONDS
export SC_CACHE="$work/cache" SC_SCRATCH="$work/scratch" SC_NO_SETUP=1 SC_GRACE_SECONDS=2
mkdir -p "$tree/hack" "$tree/tests" "$SC_CACHE/bin" "$SC_SCRATCH"
cp hack/test hack/lib.sh "$tree/hack"
cp tests/supervised tests/sanitized "$tree/tests"

processors() {
  printf '#!/bin/sh\necho %d\n' "$1" >"$SC_CACHE/bin/nproc"
  chmod +x "$SC_CACHE/bin/nproc"
}

# suite NAME SCRIPT: the only thing that a tree gets of its own; what it writes to is in $work.
suite() {
  mkdir -p "$tree/tests/$1"
  printf '#!/usr/bin/env bash\nwork=%q\n%s\n' "$work" "$2" >"$tree/tests/$1/run"
  chmod +x "$tree/tests/$1/run"
}

no_suites() {
  rm -rf "$tree"/tests/*/ "$work"/at-*
  mkfifo "$work/at-unit" "$work/at-e2e"
}

run() {
  output=$(timeout 60 "$tree/hack/test" "$@" 2>&1)
  status=$?
}

# expect NAME STATUS PATTERN...: each pattern is one of grep -z, which sees all lines as one.
expect() {
  local name=$1 wanted=$2 pattern
  shift 2
  for pattern in "$@"; do
    grep -qzP "$pattern" <<<"$output" || wanted="$wanted and $pattern"
  done
  [ -z "$(ls "$SC_SCRATCH")" ] || wanted="$wanted and nothing in the scratch directory, not: $(ls "$SC_SCRATCH")"
  if [ "$status" = "$wanted" ]; then
    echo "[       OK ] $name"
  else
    printf '%s\n[  FAILED  ] %s: status %s, wanted %s\n' "$output" "$name" "$status" "$wanted"
    failed=1
  fi
}

# Processes of suites, by how long they sleep: with a mark of this run behind the comma.
mark=$$
sleepers() { grep -lxzE "($1)\.$mark" /proc/[0-9]*/cmdline 2>/dev/null; }

# end_with SIGNAL NUMBER...: starts hack/test, sends the signal once each suite with such a sleep runs, and waits for its end.
end_with() {
  local signal=$1 number i
  shift
  # A shell's background commands would ignore SIGINT for good.
  env --default-signal=INT "$tree/hack/test" >"$work/output" 2>&1 &
  for number in "$@"; do
    for ((i = 0; i < 600; i++)); do
      [ -z "$(sleepers "$number")" ] || break
      sleep 0.05
    done
  done
  kill -"$signal" $!
  timeout 60 tail -s 0.1 --pid=$! -f /dev/null || kill -KILL $!
  wait $! 2>/dev/null
  status=$?
  output=$(cat "$work/output")
  # What a parent's death ends does not end before it.
  for ((i = 0; i < 100; i++)); do
    [ -n "$(sleepers "$(tr ' ' '|' <<<"$*")")" ] || return
    sleep 0.05
  done
  status="$status, and the suites live on"
}

processors 2
no_suites
# The first one goes on until the other is seen to be over, and then long enough for its output to come too early.
suite unit 'echo unit-one; echo >$work/at-e2e; timeout 20 cat $work/at-unit
  timeout 20 bash -c "while [ -e $SC_SCRATCH/../e2e ]; do sleep 0.05; done"; sleep 0.3; echo "ok unit-two"; echo "1 passed, 0 failed"'
suite e2e 'echo e2e-one; timeout 20 cat $work/at-e2e; echo "ok e2e-two"; echo "2 passed, 0 failed"; echo >$work/at-unit'
run
expect one_of_each_lane_at_once_and_each_output_whole 0 '^== unit\nunit-one\n\nok unit-two\n1 passed, 0 failed\n== e2e \(ran beside\)\ne2e-one\n\nok e2e-two\n2 passed' \
  '\n# [0-9]+ s; .* MiB .*\nunit +1 passed +0 failed +[0-9]+ s\ne2e +2 passed +0 failed +[0-9]+ s\n3 passed, 0 failed\n$'

no_suites
suite unit 'mkdir $work/at-once && sleep 0.3 && rmdir $work/at-once && echo "1 passed, 0 failed"'
suite chart "$(sed 1,2d "$tree/tests/unit/run")"
suite e2e "$(sed 1,2d "$tree/tests/unit/run")"
SC_SERIAL=1 run
expect serial_when_asked_for 0 '^== unit\n1 passed.*\n== chart\n1 passed.*\n== e2e\n1 passed' '\n3 passed, 0 failed\n$'
processors 1
run
expect serial_on_one_processor 0 '^== unit\n1 passed.*\n== chart\n1 passed.*\n== e2e\n1 passed' '\n3 passed, 0 failed\n$'
processors 2
run chart unit
expect suites_of_one_lane_follow_each_other_as_they_are_named 0 '^== chart\n1 passed.*\n== unit\n1 passed' '\n2 passed, 0 failed\n$'

no_suites
suite e2e 'echo "ok e2e-one"; timeout 20 cat $work/at-e2e; echo "1 passed, 0 failed"'
mkfifo "$work/pipe"
timeout 60 "$tree/hack/test" e2e >"$work/pipe" 2>&1 &
exec 7<"$work/pipe"
read -r -u 7 first && read -r -u 7 second
echo >"$work/at-e2e"
output=$(printf '%s\n' "$first" "$second" && cat <&7)
exec 7<&-
wait $!
status=$?
expect a_suite_alone_is_seen_as_it_goes 0 '^== e2e\nok e2e-one\n' '\n1 passed, 0 failed\n$'

for name in unit e2e; do
  no_suites
  suite $name 'echo "ok one"; echo "not ok two: why"; echo "1 passed, 1 failed"; exit 1'
  suite chart 'echo "4 passed, 0 failed"'
  run
  expect $name-a_test_that_failed 1 "\nnot ok two: why\n" "\n$name +1 passed +1 failed" '\n5 passed, 1 failed\n$'
  suite $name 'echo "ok one"; echo "1 passed, 0 failed"; exit 3'
  run
  expect $name-a_status_of_its_own 1 "\nnot ok $name: exit status 3\n" '\n5 passed, 1 failed\n$'
  suite $name 'echo "ok one"; echo "not ok two"; exit 1'
  run
  expect $name-no_summary 1 "\nnot ok $name: ended without a summary, exit status 1\n" '\n5 passed, 2 failed\n$'
  suite $name 'echo "0 passed, 0 failed"'
  run
  expect $name-nothing_tested 1 "\nnot ok $name: nothing was tested\n" '\n4 passed, 1 failed\n$'
  suite $name 'echo "ok one"; sleep 3101'
  SC_SUITE_SECONDS=2 run
  expect $name-not_over_in_time 1 "\nnot ok $name: not over after 2 s\n" ': sleep 3101' '\n5 passed, 2 failed\n$'
done

no_suites
suite unit "echo 'ok unit-one'; sleep 3201.$mark"
suite e2e "echo 'ok e2e-one'; sleep 3202.$mark"
end_with TERM 3201 3202
expect told_to_end_both_say_where_they_stood 130 '(?s)\nnot ok unit: was told to end.*\n== e2e \(ran beside\)\nok e2e-one\nnot ok e2e: was told to end'
end_with INT 3201 3202
expect interrupted 130 '^== unit\nok unit-one\n$'
end_with KILL 3201 3202
killed="$status, $(ls "$SC_SCRATCH")"
rm -rf "$tree/tests/unit" "$tree/tests/e2e"
suite chart 'echo "1 passed, 0 failed"'
run
output="$killed"$'\n'"$output"
expect killed_leaves_a_directory_for_the_next_one_and_no_process 0 '^137, sc-t' '\n1 passed, 0 failed\n$'

suite e2e true
suite unit true
run --list
expect the_list_is_in_order 0 '^unit\nchart\ne2e\n+$'
run nonsense
expect an_unknown_name 1 "no suite 'nonsense'; there are: unit chart e2e"

no_suites
suite tsan 'exec "$(dirname "$0")/../sanitized" tsan transport sanity integration'
touch "$tree/tests/tsan/suppressions"
suite unit 'echo "ok built"; echo "1 passed, 0 failed"'
suite transport 'echo "ok frames"; echo >$work/at-e2e; timeout 20 cat $work/at-unit; echo "1 passed, 0 failed"'
suite sanity 'echo "ok sane"; echo "1 passed, 0 failed"'
suite integration 'timeout 20 cat $work/at-e2e; echo "ok whole"; echo "1 passed, 0 failed"; echo >$work/at-unit'
run tsan
expect sanitized-the_last_one_beside_the_others_and_shown_after_them 0 '\nok tsan/built\nok tsan/frames\n\nok tsan/sane\n\nok tsan/whole\nok tsan/no-reports\n5 passed, 0 failed'
suite transport 'echo "not ok frames"; echo "0 passed, 1 failed"'
suite integration 'echo "ok whole"'
run tsan
expect sanitized-what_fails_and_what_ends_too_soon 1 '\nnot ok tsan/frames\n' '\nnot ok tsan/integration: ended without a summary\n' '\n4 passed, 2 failed'
suite transport 'echo a-race >"$(sed "s/^log_path=//; s/:.*//" <<<"$TSAN_OPTIONS").1"; echo "ok frames"; echo "1 passed, 0 failed"'
suite integration 'echo "ok whole"; echo "1 passed, 0 failed"'
run tsan
expect sanitized-a_report_is_a_failure 1 '\na-race\nnot ok tsan/no-reports: 1 reports\n' '\n4 passed, 1 failed'
exit "$failed"
