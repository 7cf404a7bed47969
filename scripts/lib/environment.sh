# shellcheck shell=bash
# Prepares the virtual environment that scripts/demo and scripts/test share. Sourced by both, never run by itself.
#
#   prepare_environment EXTRAS     e.g. prepare_environment alfworld,lora
#
# leaves the interpreter in $VENV_PYTHON. What pip cannot bring is installed with apt-get where that is allowed (root,
# or sudo without a password), and otherwise named with the line to type. Nothing is done twice: a stamp in the
# virtual environment holds what it was made from.
#
# AGENTDISTILL_VENV     where the environment lies; default .venv in the checkout
# AGENTDISTILL_PYTHON   interpreter to make it with; default the first of python3, python3.11 … that is new enough
# AGENTDISTILL_NO_APT   set to 1: never call apt-get, only say what is missing

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
venv=${AGENTDISTILL_VENV:-$repository/.venv}
VENV_PYTHON=$venv/bin/python

say() { printf '==> %s\n' "$*" >&2; }

die() {
  printf 'error: %s\n' "$1" >&2
  shift
  [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
  exit 2
}

# An interpreter is good when it is new enough and can make virtual environments.
python_is_good() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${AGENTDISTILL_PYTHON:-python3 python3.11 python3.12 python3.13}; do
    if python_is_good "$candidate"; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

# Python's headers, which the planner's bindings compile against.
python_has_headers() {
  [ -f "$("$1" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h" ]
}

# What pip cannot bring, by its Debian names, for the extras given.
missing_system_packages() {
  local python extra
  for extra in "$@"; do
    case $extra in
      scienceworld) command -v java >/dev/null || echo default-jre-headless ;;
      tools) command -v bwrap >/dev/null || echo bubblewrap ;;
      # The shop's page is tested in a real browser.
      test) command -v chromium >/dev/null || echo chromium ;;
    esac
  done
  command -v cmake >/dev/null || echo cmake
  command -v g++ >/dev/null || echo g++
  command -v make >/dev/null || echo make
  if python=$(find_python); then
    python_has_headers "$python" || echo python3-dev
  else
    printf '%s\n' python3 python3-venv python3-dev
  fi
}

# Installs Debian packages where that needs no password, or says what to type.
install_system_packages() {
  local as_root=() line="apt-get update && apt-get install -y $*"
  [ "$(id -u)" -eq 0 ] || { as_root=(sudo -n) && line="sudo apt-get update && sudo apt-get install -y $*"; }
  if [ "${AGENTDISTILL_NO_APT:-}" = 1 ] || ! command -v apt-get >/dev/null || ! "${as_root[@]}" true >/dev/null 2>&1; then
    die "these programs are needed and cannot be installed from here (by their Debian names): $*" \
      "on Debian and Ubuntu type:  $line" "and start this script again"
  fi
  say "installing with apt-get: $*"
  "${as_root[@]}" apt-get update -qq </dev/null >&2 || true
  if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" </dev/null >&2; then
    die "apt-get could not install: $*" "its own message is above; type:  $line" "and start this script again"
  fi
}

pip_install() {
  "$VENV_PYTHON" -m pip install -qq --disable-pip-version-check --progress-bar off "$@" </dev/null >&2 ||
    die "pip could not install: $*" "its own message is above"
}

# What an environment is made from, its extras aside: pins, packaging, and where the checkout lies.
fingerprint() {
  { cat "$repository/constraints.txt" "$repository/pyproject.toml" && echo "$repository"; } | sha256sum | cut -d' ' -f1
}

prepare_environment() {
  cd "$repository" || die "cannot enter $repository"
  # Two scripts started at once wait for each other instead of installing into one environment together.
  if command -v flock >/dev/null; then
    mkdir -p .cache
    exec {environment_lock}>.cache/environment.lock
    flock "$environment_lock"
    make_environment "$1"
    exec {environment_lock}>&-
  else
    make_environment "$1"
  fi
}

make_environment() {
  local stamp=$venv/agentdistill-stamp made_from='' installed='' wanted=${1//,/ } extra python packages
  [ ! -f "$stamp" ] || { read -r made_from && read -r installed; } <"$stamp" || true
  [ "$made_from" = "$(fingerprint)" ] || installed=''
  local absent=''
  for extra in $wanted; do
    [[ " $installed " == *" $extra "* ]] || absent+=" $extra"
  done
  if [ -z "$absent" ] && python_is_good "$VENV_PYTHON"; then
    return 0
  fi

  # shellcheck disable=SC2086  # the extras are words
  mapfile -t packages < <(missing_system_packages $wanted)
  if [ ${#packages[@]} -gt 0 ]; then
    install_system_packages "${packages[@]}"
    # shellcheck disable=SC2086
    mapfile -t packages < <(missing_system_packages $wanted)
    [ ${#packages[@]} -eq 0 ] || die "still missing after the installation: ${packages[*]}" \
      "Python 3.11 or newer with venv is needed; name one with AGENTDISTILL_PYTHON=/path/to/python3.x"
  fi
  python=$(find_python)

  if ! python_is_good "$VENV_PYTHON"; then
    say "making the virtual environment ${venv#"$repository"/} with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv" || die "could not make a virtual environment in $venv"
  fi
  # torch by its pin first: a range would take the newest build with several gigabytes of GPU libraries.
  say "installing torch"
  pip_install -c constraints.txt "$(grep '^torch==' constraints.txt)"
  say "installing agentdistill[$1]; the first time ALFWorld's planner is compiled, which takes a minute or two"
  pip_install -c constraints.txt -e ".[$1]"
  printf '%s\n' "$(fingerprint)" "$installed$absent" >"$stamp.new"
  mv "$stamp.new" "$stamp"
}
