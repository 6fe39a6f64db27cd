#!/bin/bash
# userland.sh ARCH [SUITE [CACHE]]: a Debian folder with Python and the loader of musl, and CACHE/py-ARCH to run that
# Python on an emulated CPU:
#   EB_CPU=cortex-a76 CACHE/py-arm64 script.py      (qemu-user raises SIGILL on what a CPU lacks)
# ARCH is arm64, armhf, armel or riscv64 as Debian calls them. The SUITE called "default" is the oldest one that has the
# architecture and a package list here; another one gets a folder CACHE/ARCH-SUITE and a CACHE/py-ARCH-SUITE.
# No docker, no binfmt_misc; mmdebstrap only extracts packages, so nothing foreign runs while it is made.
# The mirror is the one apt of this machine uses; EDGEBIT_DEBIAN_MIRROR overrides it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
architecture=${1:?usage: userland.sh ARCH [SUITE [CACHE]]}
suite=${2:-default}
cache=$(realpath -m "${3:-$here/../.cache/arm}")

case $architecture in
  arm64) emulator=qemu-aarch64 cpu=cortex-a72 oldest=bookworm ;;
  armhf) emulator=qemu-arm cpu=cortex-a15 oldest=bookworm ;;
  armel) emulator=qemu-arm cpu=cortex-a15 oldest=bookworm ;;
  riscv64) emulator=qemu-riscv64 cpu=rv64 oldest=trixie ;;
  *) echo "userland: no architecture $architecture; known are arm64, armhf, armel, riscv64" >&2; exit 1 ;;
esac
name=$architecture
if [ "$suite" = default ]; then suite=$oldest; else name=$architecture-$suite; fi
root=$cache/$name
wrapper=$cache/py-$name
[ -x "$wrapper" ] && [ -e "$root/usr/bin/python3" ] && ls "$root"/lib/ld-musl-* >/dev/null 2>&1 && command -v "$emulator" >/dev/null && exit 0

# The plain qemu-user package: its plugins (instruction counts) are not in qemu-user-static.
"$here/system_packages.sh" qemu-user mmdebstrap

mirror_of_apt() { apt-get indextargets --format '$(REPO_URI)' 'Identifier: Packages' | grep -v security | head -n 1; }
mirror=${EDGEBIT_DEBIAN_MIRROR:-$(mirror_of_apt)}
if [ -z "$mirror" ] && [ "$(id -u)" -eq 0 ]; then # the package lists of a fresh image are empty
  apt-get -qq update
  mirror=$(mirror_of_apt)
fi
if [ -z "$mirror" ]; then
  echo "userland: apt of this machine knows no Debian mirror; set EDGEBIT_DEBIAN_MIRROR" >&2
  exit 1
fi

mkdir -p "$cache"
partial=$(mktemp -d "$cache/$name.XXXXXX")
trap 'rm -rf "$partial"' EXIT
if ! mmdebstrap --quiet --variant=extract --architectures="$architecture" \
  --include=python3-minimal,libpython3-stdlib,musl "$suite" "$partial" "$mirror"; then
  echo "userland: the mirror gave no Debian $suite for $architecture; set EDGEBIT_DEBIAN_MIRROR to another" >&2
  exit 1
fi
# The package that makes these links is configured, not extracted.
for folder in bin lib sbin; do
  [ -e "$partial/$folder" ] || ln -s "usr/$folder" "$partial/$folder"
done
rm -rf "$partial"/usr/share/{doc,man,locale,i18n} "$partial"/var/{cache,lib}/apt
chmod 755 "$partial"
rm -rf "$root"
mv "$partial" "$root"

python=$(readlink -f "$root/usr/bin/python3")
cat > "$wrapper.new" <<WRAPPER
#!/bin/sh
exec $emulator -cpu "\${EB_CPU:-$cpu}" -L "$root" "$python" "\$@"
WRAPPER
chmod +x "$wrapper.new"
mv "$wrapper.new" "$wrapper"
