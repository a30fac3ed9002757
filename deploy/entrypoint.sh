#!/bin/sh
# Process 1 of the container. A container ends with its first process, and everything in it; a desk's watchdog
# must outlive a desk that died, to cancel its orders. So this waits for the desk, and then for the watchdog.
if [ -n "$DATABASE_PASSWORD_FILE" ]; then
  PGPASSWORD=$(cat "$DATABASE_PASSWORD_FILE") || exit 2
  export PGPASSWORD
fi
scalpdesk "$@" &
desk=$!
trap 'kill -TERM "$desk"' TERM INT
wait "$desk"
code=$?
while kill -0 "$desk" 2>/dev/null; do  # a signal ended the wait, not the desk
  wait "$desk"
  code=$?
done
while grep -qs watchdog_program /proc/[0-9]*/cmdline; do
  sleep 1
done
exit "$code"
