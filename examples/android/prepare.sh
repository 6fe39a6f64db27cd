#!/bin/sh
# prepare.sh BUNDLE: puts what the app needs of a bundle into its folders. The bundle is made by
#   edgebit compile MODEL --target android-arm64 -o BUNDLE
set -eu
bundle=${1:?"usage: prepare.sh BUNDLE"}
main=$(cd "$(dirname "$0")" && pwd)/app/src/main

for name in manifest.json libmodel.so edgebit.h weights.bin tokenizer.bin; do
  if [ ! -f "$bundle/$name" ]; then
    echo "prepare: $bundle/$name is missing: $bundle is not a bundle" >&2
    exit 1
  fi
done
if ! grep -q '"architecture": "arm64"' "$bundle/manifest.json"; then
  echo "prepare: $bundle is for other processors: compile the model with --target android-arm64" >&2
  exit 1
fi

mkdir -p "$main/jniLibs/arm64-v8a" "$main/assets/model"
cp "$bundle/libmodel.so" "$main/jniLibs/arm64-v8a/"
cp "$bundle/edgebit.h" "$main/c/"
cp "$bundle/manifest.json" "$bundle/weights.bin" "$bundle/tokenizer.bin" "$main/assets/model/"
echo "prepared $main"
