#!/bin/sh
# Runs the unit tests beside all others: they want a processor, the others mostly wait for servers.
# Usage: side_by_side.sh PYTHON [pytest's options]; with a path among them, pytest runs that alone.
# The exit status is pytest's, 5 (nothing chosen) only where that is true of both.
python=$1
shift
for option in "$@"; do
    case $option in tests/*) exec "$python" -m pytest "$@" ;; esac
done
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$python" -m pytest "$@" tests/architecture tests/unit >"$log" 2>&1 &
"$python" -m pytest "$@" tests/contract tests/e2e tests/integration tests/property
others=$?
wait $!
units=$?
cat "$log"
if [ $others -eq 5 ]; then exit $units; fi
if [ $units -ne 0 ] && [ $units -ne 5 ]; then exit $units; fi
exit $others
