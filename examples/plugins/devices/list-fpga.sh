#!/bin/sh
# Prints the FPGAs that the kernel's FPGA manager knows (class/fpga_manager below the given folder, /sys) as JSON.
set -eu
separator=
printf '['
for device in "${1:-/sys}"/class/fpga_manager/*; do
    [ -e "$device/name" ] || continue
    model=$(tr -d '"\\[:cntrl:]' <"$device/name")
    healthy=true
    case $(cat "$device/state" 2>/dev/null) in *error*) healthy=false ;; esac
    printf '%s{"id": "%s", "model": "%s", "healthy": %s}' "$separator" "${device##*/}" "$model" "$healthy"
    separator=', '
done
printf ']\n'
