#!/bin/bash
# check_device.sh [CACHE [MODEL [CHAT OPTIONS...]]]: compiles a model (default: the built-in one) for this machine and
# for arm64, asks both the same question (the ARM bundle on an emulated Cortex-A72, armv8.0, and Cortex-A76, dotprod)
# and compares the answers.
# Exit code 0 when all answers are the same.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=$(realpath -m "${1:-.cache/arm}")
model=${2:-}
shift $(($# < 2 ? $# : 2))
prompt=${PROMPT:-dim the bedroom lamp to 40 percent}
edgebit=${EDGEBIT:-.venv/bin/edgebit}

scripts/userland.sh arm64 default "$cache"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for target in host arm64; do
  "$edgebit" compile ${model:+"$model"} --target "$target" --output "$work/$target"
done

python3 "$work/host/chat.py" --prompt "$prompt" "$@" > "$work/answer-host"
echo "this machine: $(cat "$work/answer-host")"
failed=0
for cpu in cortex-a72 cortex-a76; do
  EB_CPU=$cpu "$cache/py-arm64" "$work/arm64/chat.py" --prompt "$prompt" "$@" > "$work/answer-$cpu" || failed=1
  echo "$cpu:   $(cat "$work/answer-$cpu")"
  if ! cmp -s "$work/answer-host" "$work/answer-$cpu"; then
    echo "check_device: the answer of $cpu differs" >&2
    failed=1
  fi
done
exit $failed
