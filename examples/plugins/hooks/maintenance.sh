#!/bin/sh
# One JSON on standard input (not needed here), one JSON on standard output. HOOK_* say what is asked about.
set -eu
cat >/dev/null

case $HOOK_STAGE in
expand)
    printf '{"env": {"SITE": "%s"}}\n' "$SITE"
    ;;
prepare)
    if [ -s "$NOTICE" ]; then
        message=$(head -n 1 "$NOTICE" | tr -d '"\\[:cntrl:]')
        printf '{"allow": false, "message": "maintenance: %s"}\n' "$message"
    fi
    ;;
finish)
    [ -z "$ENDED" ] || printf '%s/%s\n' "$HOOK_NAMESPACE" "$HOOK_TASKSET" >>"$ENDED"
    ;;
esac
