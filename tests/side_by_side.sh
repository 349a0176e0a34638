#!/bin/sh
# Runs the tests in two halves of about twelve minutes each, side by side: most of them wait for servers.
# Usage: side_by_side.sh PYTHON [pytest's options]; with a path among them, pytest runs that alone.
# The exit status is pytest's, 5 (nothing chosen) only where that is true of both.
python=$1
shift
for option in "$@"; do
    case $option in tests/*) exec "$python" -m pytest "$@" ;; esac
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$python" -m pytest "$@" tests/integration tests/contract tests/property >"$log" 2>&1 &
"$python" -m pytest "$@" tests/e2e tests/architecture tests/unit tests/deploy
first=$?
wait $!
second=$?
cat "$log"
if [ $first -eq 5 ]; then exit $second; fi
if [ $second -ne 0 ] && [ $second -ne 5 ]; then exit $second; fi
exit $first
