#!/bin/sh
# Prints the Ascend NPUs that have a device file (davinci0, davinci1, ... in the given folder, /dev) as JSON.
set -eu
separator=
printf '['
for device in "${1:-/dev}"/davinci[0-9]*; do
    [ -e "$device" ] || continue
    printf '%s{"id": "%s", "model": "Ascend"}' "$separator" "${device##*davinci}"
    separator=', '
done
printf ']\n'
