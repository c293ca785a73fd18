#!/usr/bin/env bash
# Run the Swift client inside the Debian that it was compiled in: run.sh ROOT FOLDER NAME EXPECTED (as root)
set -euo pipefail
root=$1 && mkdir -p "$root/mnt/onnx"
cp "$4" "$root/mnt/expected.json" && cp "$2/onnx/$3" "$root/mnt/onnx/$3"
mount --bind /proc "$root/proc" && trap 'umount "$root/proc"' EXIT # Swift reads its arguments there
chroot "$root" env LD_LIBRARY_PATH=/usr/libexec/swift/lib/swift/linux:/opt/lib /opt/client /mnt "$3" /mnt/expected.json
