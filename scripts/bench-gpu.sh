#!/usr/bin/env bash
# Measures this machine's GPU in one command: the answers first, then the standard workloads on the adapter and on the
# CPU device, and, where PyTorch with CUDA is at hand, the same workloads on cuDNN.
#
#   scripts/bench-gpu.sh [-o FOLDER] [-c SUITES] [-t BENCH_TORCH_GPU.PY] [-- arguments of the workloads example]
#
#   -o FOLDER   where the results go (default: bench-results)
#   -c SUITES   a folder of conformance suites, run on the GPU before anything is timed
#   -t SCRIPT   a script that prints PyTorch's figures in the same JSON lines
#
# WGPU_BACKEND and WGPU_ADAPTER_NAME choose the adapter. Prints tables; FOLDER keeps them and the JSON lines.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
out=bench-results suites='' torch=''
while getopts "o:c:t:h" option; do
  case $option in
    o) out=$OPTARG ;;
    c) suites=$(cd "$OPTARG" && pwd) ;;
    t) torch=$(realpath "$OPTARG") ;;
    *) sed -n '2,12p' "$0" && exit 2 ;;
  esac
done
shift $((OPTIND - 1))
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$root"

cargo build --release --examples
examples=${CARGO_TARGET_DIR:-target}/release/examples
{
  echo "commit $(git rev-parse --short HEAD 2>/dev/null || echo unknown), $(date -u +%Y-%m-%d), $(rustc --version)"
  "$examples/doctor" --list </dev/null
} | tee "$out/machine.txt"
"$examples/doctor" </dev/null | tee "$out/doctor.txt"
if [ -n "$suites" ]; then
  "$examples/conformance" "$suites"/*/ --device gpu </dev/null | tee "$out/conformance.txt" | tail -1
fi

for device in gpu cpu; do
  "$examples/workloads" --device "$device" --json "$@" </dev/null | tee "$out/$device.jsonl" |
    sed -E 's/.*"metric":"([^"]*)".*"unit":"([^"]*)".*"value":([^,]*),.*"workload":"([^"]*)".*/'"$device"' \4 \1 \3 \2/'
done
# What raggedness costs, beside dense batches of as many steps and rows.
"$examples/workloads" --device gpu --dense-twin --only W3,W5 </dev/null | tee "$out/ragged.txt"
# Where the time of a call goes, and the host's share.
"$examples/profile" --device gpu --out "$out/traces" </dev/null | tee "$out/profile.txt"
if [ -n "$torch" ]; then
  python3 "$torch" </dev/null | tee "$out/torch.jsonl"
fi
echo "results in $out"
