#!/bin/bash
# arm_userland.sh [CACHE]: an arm64 Debian folder with Python, and CACHE/py-arm64 to run it on an emulated CPU:
#   EB_CPU=cortex-a76 CACHE/py-arm64 script.py      (default cortex-a72; qemu-user raises SIGILL on what a CPU lacks)
# No docker, no binfmt_misc; mmdebstrap only extracts packages, so nothing ARM runs while it is made.
# The mirror is the one apt of this machine uses; EDGEBIT_DEBIAN_MIRROR and EDGEBIT_DEBIAN_SUITE override it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$(realpath -m "${1:-$here/../.cache/arm}")
root=$cache/arm64
wrapper=$cache/py-arm64
[ -x "$wrapper" ] && [ -e "$root/usr/bin/python3" ] && command -v qemu-aarch64 >/dev/null && exit 0

# The plain qemu-user package: its plugins (instruction counts) are not in qemu-user-static.
"$here/system_packages.sh" qemu-user mmdebstrap

suite=${EDGEBIT_DEBIAN_SUITE:-bookworm}
mirror_of() { apt-get indextargets --format '$(REPO_URI)' "Codename: $1" 2>/dev/null | head -n 1; }
mirror=${EDGEBIT_DEBIAN_MIRROR:-$(mirror_of "$suite")}
if [ -z "$mirror" ] && [ "$(id -u)" -eq 0 ]; then # the package lists of a fresh image are empty
  apt-get -qq update
  mirror=$(mirror_of "$suite")
fi
if [ -z "$mirror" ]; then
  echo "arm_userland: apt of this machine knows no mirror of Debian $suite; set EDGEBIT_DEBIAN_MIRROR" >&2
  exit 1
fi

mkdir -p "$cache"
partial=$(mktemp -d "$cache/arm64.XXXXXX")
trap 'rm -rf "$partial"' EXIT
mmdebstrap --quiet --variant=extract --architectures=arm64 --include=python3-minimal,libpython3-stdlib \
  "$suite" "$partial" "$mirror"
[ -e "$partial/lib" ] || ln -s usr/lib "$partial/lib" # the package that makes this link is configured, not extracted
rm -rf "$partial"/usr/share/{doc,man,locale,i18n} "$partial"/var/{cache,lib}/apt
chmod 755 "$partial"
rm -rf "$root"
mv "$partial" "$root"

python=$(readlink -f "$root/usr/bin/python3")
cat > "$wrapper.new" <<WRAPPER
#!/bin/sh
exec qemu-aarch64 -cpu "\${EB_CPU:-cortex-a72}" -L "$root" "$python" "\$@"
WRAPPER
chmod +x "$wrapper.new"
mv "$wrapper.new" "$wrapper"
