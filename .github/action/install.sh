#!/usr/bin/env bash
# Installs repro-gate for the action, into a new folder below $RUNNER_TEMP:
#
#   install.sh gate      the command, with every package pinned by hash; no inference library
#   install.sh plan      determines how to build the inference library on this machine
#   install.sh library   builds it, or takes it from a cache
#
# $SETUP_FOLDER passes the folder on. Outside of it, only the caches of uv and pip and
# $RUNNER_TOOL_CACHE/repro-gate are written. Nothing needs root, and jobs on one machine do not interfere.
set -euo pipefail
# A failed command substitution fails the command that contains it.
shopt -s inherit_errexit

ROOT="$(cd "${BASH_SOURCE[0]%/*}/../.." && pwd)"
readonly ROOT LOCKS="$ROOT/.github/action"
# The first uv that knows `extra-build-variables` and checks the hashes of build requirements.
readonly OLDEST_UV=0.9.0
# Every package of the locks has a wheel for these.
readonly OLDEST_PYTHON=3.11 NEWEST_PYTHON=3.14 PYTHON_TOO_NEW=3.15
readonly DEFAULT_NAME=repro-gate
readonly USAGE_INVALID=2 NOT_MEASURABLE=4

# Relative folders in PATH refer to the caller's folder, which this script leaves.
absolute_path() {
  local folder absolute=''
  while IFS= read -r -d : folder; do
    [[ $folder == /* ]] || folder="$PWD/$folder"
    absolute+=":$folder"
  done <<<"$PATH:"
  printf '%s' "${absolute#:}"
}

fail() { # EXIT_CODE MESSAGE
  printf '::error title=repro-gate::%s\n' "$2" >&2
  exit "$1"
}

# Refused inputs are logged at once, but end the step only when `publish` is installed and can report them.
refused=()
reasons=''

refuse() { # INPUT MESSAGE
  printf '::error title=repro-gate::%s: %s\n' "$1" "$2" >&2
  refused+=("$1")
  reasons+="${reasons:+$'\n'}$1: $2"
}

expect() { # INPUT VALUE PATTERN WHAT
  # Ranges in patterns are ASCII ranges.
  local LC_ALL=C
  [[ $2 =~ ^($3)$ ]] || refuse "$1" "$(printf 'expected %s, got %q' "$4" "$2")"
}

output() { # NAME VALUE
  printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"
}

check_inputs() {
  if [[ ${GITHUB_EVENT_NAME-} == pull_request_target ]]; then
    refuse event 'pull_request_target runs the base with your rights; use pull_request'
  fi
  expect accelerator "$SETUP_ACCELERATOR" 'cpu|cuda|none' 'cpu, cuda or none'
  expect accept "$SETUP_ACCEPT" '(true|false)?' 'true or false'
  expect cache "$SETUP_CACHE" 'true|false' 'true or false'
  expect python-version "$SETUP_PYTHON_VERSION" '3\.1[1-4]' \
    "a version from $OLDEST_PYTHON to $NEWEST_PYTHON"
  expect comment "$SETUP_COMMENT" '(auto|always|never)?' 'auto, always or never'
  expect fail-on "$SETUP_FAIL_ON" '(inconclusive|findings|never)?' 'inconclusive, findings or never'
  # By default it is the matrix of the job as JSON, or null.
  if [[ -n $SETUP_ARTIFACT_NAME && $SETUP_ARTIFACT_NAME != '{'* ]]; then
    expect artifact-name "$SETUP_ARTIFACT_NAME" '[A-Za-z0-9][A-Za-z0-9._-]{0,99}' \
      '1 to 100 letters, digits, dots, dashes and underscores'
  fi
  if [[ $SETUP_ACCELERATOR == cuda ]]; then
    expect cuda-architecture "$SETUP_CUDA_ARCHITECTURE" '(([5-9][0-9]|1[0-9]{2})[af]?)?' \
      'a capability without its dot, such as 90, or nothing'
  elif [[ -n $SETUP_CUDA_ARCHITECTURE ]]; then
    refuse cuda-architecture 'expected nothing unless accelerator is cuda'
  fi
  if [[ -n ${SETUP_TASKS//[[:space:]]/} && ! $SETUP_TASKS =~ ^[[:space:]]*[a-z]+[[:space:]]*$ ]]; then
    refuse 'shard, merge and report' 'expected one of them at most'
  fi
  if [[ ! -d ${SETUP_WORKING_DIRECTORY:-.} ]]; then
    refuse working-directory "$(printf 'there is no folder %q' "$SETUP_WORKING_DIRECTORY")"
  fi
}

# Only the values distinguish the legs of a matrix: GitHub gives them the same job id.
name_of_the_gate() { # FOLDER
  case "$SETUP_ARTIFACT_NAME" in
  '{'*)
    "$1/environment/bin/python" -I -c '
import json, sys
from repro_gate.core.comments import name_in_matrix
print(name_in_matrix(sys.argv[1], json.loads(sys.argv[2])))
' "${GITHUB_JOB-}" "$SETUP_ARTIFACT_NAME"
    ;;
  '' | null) printf '%s' "$DEFAULT_NAME" ;;
  *) printf '%s' "$SETUP_ARTIFACT_NAME" ;;
  esac
}

# `publish` reads the reasons there, as if `check` had failed.
leave_reasons() { # FOLDER
  "$1/environment/bin/python" -I -c '
import sys
from pathlib import Path
from repro_gate.cli.results import write_failure
from repro_gate.core.outcome import ExitCode
from repro_gate.errors import UsageInvalid
write_failure(Path(sys.argv[1]), UsageInvalid(sys.argv[2]), ExitCode.USAGE_INVALID)
' "$1/report" "$reasons"
}

find_uv() { # FOLDER -> the command
  local found
  if found="$(command -v uv)" && is_new_enough "$("$found" --version)"; then
    printf '%s' "$found"
    return
  fi
  local python kept wheel
  python="$(command -v python3 || command -v python)" ||
    fail "$NOT_MEASURABLE" "the runner has neither uv $OLDEST_UV nor a Python that could fetch it"
  # Each version of the lock has its own folder.
  kept="$(digest_of "$LOCKS/requirements-uv.lock")"
  kept="${RUNNER_TOOL_CACHE:+$RUNNER_TOOL_CACHE/repro-gate/uv-${kept:0:16}-$(uname -m)}"
  if wheel="$(wheel_of_uv "$kept")" && unpack_uv "$python" "$wheel" "$1"; then
    printf '%s' "$1/uv"
    return
  fi
  fetch_uv "$python" "$1"
  wheel="$(wheel_of_uv "$1/wheels")" && unpack_uv "$python" "$wheel" "$1" ||
    fail "$NOT_MEASURABLE" "the uv that was fetched does not run on this machine"
  keep "$wheel" "$kept"
  printf '%s' "$1/uv"
}

fetch_uv() { # PYTHON FOLDER
  "$1" -I -m venv "$2/fetch" >&2 ||
    fail "$NOT_MEASURABLE" "$1 cannot make an environment: install its module venv, or uv $OLDEST_UV"
  "$2/fetch/bin/python" -I -m pip download --quiet --disable-pip-version-check --no-deps \
    --only-binary :all: --require-hashes --requirement "$LOCKS/requirements-uv.lock" \
    --dest "$2/wheels" >&2 ||
    fail "$NOT_MEASURABLE" "uv could not be fetched: see above"
}

# Any job on the machine can write to the tool cache, so the digest is verified each time.
wheel_of_uv() { # FOLDER -> the file, if its hash is one of the lock
  local wheel digest
  for wheel in "$1"/uv-*.whl; do
    digest="$(digest_of "$wheel" 2>/dev/null)" || continue
    if [[ -n $digest ]] && grep -qF -- "--hash=sha256:$digest" "$LOCKS/requirements-uv.lock"; then
      printf '%s' "$wheel"
      return
    fi
  done
  return 1
}

unpack_uv() { # PYTHON WHEEL FOLDER -> the command $3/uv
  "$1" -I -c '
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    (name,) = (name for name in wheel.namelist() if name.endswith(".data/scripts/uv"))
    with wheel.open(name) as packed, open(sys.argv[2], "wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)
' "$2" "$3/uv" >&2 && chmod +x "$3/uv" && is_new_enough "$("$3/uv" --version)"
}

# Atomic: a cancelled job leaves no partial file.
keep() { # FILE FOLDER
  [[ -n $2 ]] || return 0
  local new
  { mkdir -p "$2" && new="$(mktemp "$2/.new.XXXXXXXX")" && cp "$1" "$new" && chmod 644 "$new" && mv -f "$new" "$2/${1##*/}"; } \
    2>/dev/null || printf 'uv could not be kept in %s for the next job.\n' "$2" >&2
}

digest_of() { # FILE
  local line
  line="$(sha256sum "$1")" || return
  printf '%s' "${line%% *}"
}

is_new_enough() { # "uv VERSION ..."
  [[ $1 =~ ^uv\ ([0-9.]+) ]] && printf '%s\n' "$OLDEST_UV" "${BASH_REMATCH[1]}" | sort -V -C
}

# Offline first: without cache headers from the package host, uv online compiles again what is in its cache.
from_cache_or_network() { # UV SUBCOMMAND...
  local printed
  printed="$("$@" --offline --quiet 2>&1)" && return
  # A failed compilation would fail again, after minutes.
  if [[ $printed == *'build backend returned an error'* ]]; then
    printf '%s\n' "$printed" >&2
    return 1
  fi
  "$@"
}

install_gate() {
  check_inputs
  local folder uv name python="$SETUP_PYTHON_VERSION"
  if [[ " ${refused[*]} " == *' python-version '* ]]; then python="$OLDEST_PYTHON"; fi
  folder="$(mktemp -d "$RUNNER_TEMP/repro-gate.XXXXXXXX")"
  # Ignore settings of uv in the checkout: uv searches upwards for the first file of settings, which is this one.
  cd "$folder"
  : >uv.toml
  uv="$(find_uv "$folder")"
  "$uv" venv --quiet --no-project --python ">=$python,<$PYTHON_TOO_NEW" "$folder/environment" ||
    fail "$NOT_MEASURABLE" "there is no Python from $python to $NEWEST_PYTHON and none could be fetched, or uv could not work: see above"
  # Build requirements of a package would not be pinned.
  from_cache_or_network "$uv" pip sync --quiet --python "$folder/environment" --no-build \
    --require-hashes "$ROOT/requirements-report.lock" ||
    fail "$NOT_MEASURABLE" "the packages of the gate could not be installed: see above"
  # Copied, because uv would cache one more wheel with every job.
  cp -R "$ROOT/repro_gate" "$folder"/environment/lib/python3.*/site-packages/
  # Without -I, files in the checkout or PYTHONPATH could shadow a library.
  printf '#!/usr/bin/env bash\nexec %q -I -m repro_gate "$@"\n' "$folder/environment/bin/python" \
    >"$folder/repro-gate"
  chmod +x "$folder/repro-gate"
  mkdir "$folder/report"
  "$folder/repro-gate" --version >/dev/null ||
    fail "$NOT_MEASURABLE" "what was installed does not run: see above"
  if [[ " ${refused[*]} " == *' artifact-name '* ]]; then
    name="$DEFAULT_NAME"
  elif ! name="$(name_of_the_gate "$folder")"; then
    refuse artifact-name 'expected a name, or the matrix of the job as JSON'
    name="$DEFAULT_NAME"
  fi
  printf 'The report of this attempt is in the artifact %s.\n' "$name" >"$folder/claim"
  output name "$name"
  # The random suffix of the folder is unique to this use of the action.
  output unique-name "$name-${folder##*.}"
  output claim "$folder/claim"
  output folder "$folder"
  output uv "$uv"
  output command "$folder/repro-gate"
  output report "$folder/report"
  if ((${#refused[@]} > 0)); then
    output refused "${refused[*]}"
    leave_reasons "$folder"
    exit "$USAGE_INVALID"
  fi
}

flags_of_the_cpu() {
  "$SETUP_FOLDER/environment/bin/python" -I -c '
import sys, tomllib
with open(sys.argv[1], "rb") as file:
    settings = tomllib.load(file)["tool"]["uv"]
print(settings["extra-build-variables"]["llama-cpp-python"]["CMAKE_ARGS"], end="")
' "$ROOT/pyproject.toml"
}

architecture_of_the_gpu() {
  local found
  found="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | sort -u)" || found=''
  # A capability such as 9.0 is the architecture 90.
  [[ $found =~ ^[0-9]+\.[0-9]$ ]] ||
    fail "$NOT_MEASURABLE" "$(printf 'nvidia-smi names no single compute capability, but %q: set cuda-architecture' "$found")"
  printf '%s' "${found/./}"
}

find_nvcc() {
  command -v nvcc || command -v "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ||
    fail "$NOT_MEASURABLE" "accelerator cuda needs the CUDA toolkit: there is no nvcc on the PATH or in CUDA_HOME"
}

plan_library() {
  local settings="$SETUP_FOLDER/uv.toml" flags key variables=''
  flags="$(flags_of_the_cpu)"
  if [[ $SETUP_ACCELERATOR == cuda ]]; then
    local nvcc architecture toolkit
    nvcc="$(find_nvcc)"
    architecture="${SETUP_CUDA_ARCHITECTURE:-$(architecture_of_the_gpu)}"
    toolkit="$("$nvcc" --version | sed -n 's/.*\(V[0-9.]*\)$/\1/p')"
    flags="-DGGML_CUDA=on -DCMAKE_CUDA_ARCHITECTURES=$architecture-real $flags"
    # BUILT_WITH is not read by the build; it separates the wheels of two toolkits in uv's cache.
    variables="$(printf ', CUDACXX = "%s", BUILT_WITH = "%s"' "$nvcc" "$toolkit")"
  fi
  printf '[extra-build-variables]\nllama-cpp-python = { CMAKE_ARGS = "%s"%s }\n' \
    "$flags" "$variables" >"$settings"
  sed -n '/^llama-cpp-python==/,/[^\\]$/p' "$ROOT/requirements.lock" >"$SETUP_FOLDER/library.lock"
  output cache "$RUNNER_TEMP/repro-gate-cache"
  key="$(key_of_the_library)"
  output key "$key"
}

key_of_the_library() {
  local digest
  digest="$({
    cat "$SETUP_FOLDER/library.lock" "$SETUP_FOLDER/uv.toml" "$LOCKS/requirements-build.lock"
    # Another version of uv may not find these cache entries, and a restored cache is not saved again.
    "$SETUP_UV" --version
    # A wheel made with a later C library does not run with an earlier one.
    getconf GNU_LIBC_VERSION 2>/dev/null || true
    cc --version 2>/dev/null || true
  } | sha256sum)"
  printf 'repro-gate-%s-%s-%s-%s' "${RUNNER_OS:-Linux}" "$(uname -m)" "$SETUP_ACCELERATOR" "${digest%% *}"
}

# One cache per build configuration: in a shared one, an online call for one of them, even if cancelled, can
# make uv discard the compiled wheels of the others.
cache_of_the_library() { # -> a folder, or nothing for the cache of uv
  if [[ $SETUP_CACHE == true ]]; then
    printf '%s' "$RUNNER_TEMP/repro-gate-cache"
  elif [[ -n ${RUNNER_TOOL_CACHE-} ]] && mkdir -p "$RUNNER_TOOL_CACHE/repro-gate/$SETUP_KEY" 2>/dev/null; then
    printf '%s' "$RUNNER_TOOL_CACHE/repro-gate/$SETUP_KEY"
  fi
}

install_library() {
  local kept install
  kept="$(cache_of_the_library)"
  printf 'Installing llama-cpp-python for %s; the first time it is compiled, which takes minutes.\n' \
    "$SETUP_ACCELERATOR"
  # Not --config-file: with it uv would ignore the package index of the machine.
  cd "$SETUP_FOLDER"
  install=("$SETUP_UV" pip install --python "$SETUP_FOLDER/environment" --no-deps
    --require-hashes --build-constraints "$LOCKS/requirements-build.lock"
    --requirements "$SETUP_FOLDER/library.lock")
  # An image may have it in uv's own cache.
  if is_compiled "$kept" || { [[ $SETUP_CACHE != true ]] && is_compiled ''; }; then return; fi
  if [[ -n $kept ]]; then export UV_CACHE_DIR="$kept"; fi
  from_cache_or_network "${install[@]}" ||
    fail "$NOT_MEASURABLE" "llama-cpp-python could not be installed: see above"
  if [[ -n $kept ]]; then
    # Keep compiled wheels only.
    "$SETUP_UV" cache prune --ci --quiet
  fi
}

# Installs from the cache without compiling: without isolation a build fails at once, because its tools are not
# in the environment.
is_compiled() { # FOLDER; the command is ${install[@]}
  (
    if [[ -n $1 ]]; then export UV_CACHE_DIR="$1"; fi
    "${install[@]}" --offline --no-build-isolation --quiet 2>/dev/null
  )
}

PATH="$(absolute_path)"
case "${1-}" in
gate) install_gate ;;
plan) plan_library ;;
library) install_library ;;
*) fail "$USAGE_INVALID" "install.sh: expected gate, plan or library" ;;
esac
