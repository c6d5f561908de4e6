#!/usr/bin/env bash
# Runs all tests on a fresh machine that has a Rust toolchain.
#
# The GPU tests need an adapter, hardware or software. This script asks the crate itself (`doctor --list`) what there is.
# On Debian and Ubuntu it installs Mesa's software drivers when one is missing and it may (root, or sudo without a
# password); elsewhere it says what to install. Without any adapter it fails: skipped tests prove nothing.
#
# Arguments are handed to `cargo test --release`.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'test.sh: %s\n' "$*"; }

if ! command -v cargo >/dev/null; then
  say "cargo not found; a Rust toolchain is needed: https://rustup.rs"
  exit 1
fi

cargo build --release --example doctor
doctor="${CARGO_TARGET_DIR:-target}/release/examples/doctor"

# Whether there is an adapter on backend $1, whatever the caller's environment prefers.
has_adapter() {
  env -u WGPU_BACKEND -u WGPU_ADAPTER_NAME "$doctor" --list --backend "$1" </dev/null >/dev/null 2>&1
}

# Mesa's software drivers: lavapipe for Vulkan, llvmpipe for GL (which needs no display: EGL is enough).
packages_of() {
  case "$1" in
    vulkan) echo mesa-vulkan-drivers ;;
    gl) echo libegl1 libgles2 libgl1-mesa-dri ;;
  esac
}

install() {
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
      say "not root and no sudo without a password; run: sudo apt-get install $*"
      return 1
    fi
    sudo=(sudo -n)
  fi
  say "installing $*"
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null &&
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" </dev/null
}

found=0
if [ "$(uname -s)" = Linux ]; then
  missing=()
  for backend in vulkan gl; do
    has_adapter "$backend" || missing+=("$backend")
  done
  if [ "${#missing[@]}" -gt 0 ]; then
    say "no adapter on: ${missing[*]}"
    packages=()
    for backend in "${missing[@]}"; do
      read -r -a names <<<"$(packages_of "$backend")"
      packages+=("${names[@]}")
    done
    if command -v apt-get >/dev/null; then
      install "${packages[@]}" || say "could not install ${packages[*]}"
    else
      say "install Mesa's software drivers with your package manager: lavapipe (vulkan-swrast, mesa-vulkan-drivers)" \
        "for Vulkan, EGL and GLES with llvmpipe (mesa-dri-drivers, libegl) for GL"
    fi
  fi
  for backend in vulkan gl; do
    if has_adapter "$backend"; then
      say "adapter on $backend: yes"
      found=1
    else
      say "adapter on $backend: NO; its tests cannot run here"
    fi
  done
elif "$doctor" --list </dev/null; then
  found=1
fi

if [ "$found" -eq 0 ]; then
  say "no graphics adapter, hardware or software, can be had on this machine: the GPU tests cannot run."
  say "On Linux install mesa-vulkan-drivers; on macOS and Windows an adapter comes with the system's graphics driver."
  exit 1
fi

# One run for everything: library, binaries, integration tests, the tests of examples and of what they share, doctests.
cargo test --release --workspace "$@"
