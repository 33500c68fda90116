# Sourced by every script in ci/. Changes to the project's root, and defines functions that announce
# and time steps and report checks that cannot run.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
locked=()
if [ "${CI:-}" = true ]; then
  export CARGO_INCREMENTAL=0
  # On a laptop Cargo.lock may be updated; in CI it must be up to date.
  locked=(--locked)
  # Programs of tests are built in less time. Scripts that need another wrapper set theirs.
  export RUSTC_WORKSPACE_WRAPPER=$PWD/ci/rustc-tests
  # Each build fails if there is a warning. Clippy only sees the builds with all features. A script that
  # another one calls must not add the flag again: with other flags cargo builds everything again.
  case ${RUSTFLAGS:-} in
    *'-D warnings'*) ;;
    *) export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-D warnings" ;;
  esac
fi

# Where cargo puts programs of the profile `dev`.
built=${CARGO_TARGET_DIR:-target}/debug

# Select all packages that `cargo test` does, the examples, and gc-fuzz; and libFuzzer's targets too. The
# crates of others depend on the selection and on whether tests are built, because their features do. Thus a
# command with `with_examples` that builds a test, such as the small test `log`, uses the crates that
# `cargo test` has built. With `with_fuzz` there is Wasmtime, and other crates have more features.
with_fuzz=(--workspace --exclude gc-benches --exclude gc-counts --test log)
with_examples=("${with_fuzz[@]}" --exclude reclaim-fuzz)

# sanitized cargo COMMAND OPTION...: runs cargo so that the crates of the workspace have AddressSanitizer.
# Cargo does not see when a wrapper changes, but it builds again for another path. So the path has a sum of
# the contents.
sanitized() {
  local wrapper
  wrapper=$(realpath -m "${CARGO_TARGET_DIR:-target}")/rustc-sanitized-$(sha256sum <ci/rustc-sanitized | cut -c1-16)
  mkdir -p "$(dirname "$wrapper")"
  cp ci/rustc-sanitized "$wrapper"
  RUSTC_WORKSPACE_WRAPPER=$wrapper "$1" "$2" "${locked[@]}" "${@:3}"
}

step_name=
step_began=

# step NAME: announces a step. Its time is printed when the next step begins or the script ends.
step() {
  step_over
  step_name=$1
  step_began=$SECONDS
  printf '\n=== %s\n' "$step_name"
}

step_over() {
  if [ -n "$step_name" ]; then
    printf '=== %s: %d s\n' "$step_name" $((SECONDS - step_began))
  fi
  step_name=
}

# loudly TEXT...: prints a warning that something was not checked. run_all repeats it at the end.
loudly() {
  {
    echo
    echo '!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!'
    printf '!!! NOT CHECKED: %s\n' "$@"
    echo '!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!'
    echo
  } >&2
  if [ -n "${RECLAIM_CI_SKIPPED:-}" ]; then
    printf '%s: %s\n' "$(basename "$0")" "$*" >>"$RECLAIM_CI_SKIPPED"
  fi
}

# fail TEXT...: ends the script.
fail() {
  printf '\nFAILED: %s\n' "$@" >&2
  exit 1
}

# run_all COMMAND...: runs commands, each a script with its arguments. A failing one does not stop the
# others. Prints the time of each, the checks that could not run, and the commands that failed.
run_all() {
  local command began failed=() times=()
  RECLAIM_CI_SKIPPED=$(mktemp)
  export RECLAIM_CI_SKIPPED
  for command in "$@"; do
    began=$SECONDS
    printf '\n######## %s\n' "$command"
    # shellcheck disable=SC2086 # a script and its arguments
    if ! $command; then
      failed+=("$command")
      printf '\n######## %s FAILED\n' "$command"
    fi
    times+=("$(printf '%6d s  %s' $((SECONDS - began)) "$command")")
  done
  printf '\n######## summary\n'
  printf '%s\n' "${times[@]}"
  printf '%6d s  in all\n' $SECONDS
  if [ -s "$RECLAIM_CI_SKIPPED" ]; then
    printf '\n!!! NOT CHECKED:\n'
    sed 's/^/!!! /' "$RECLAIM_CI_SKIPPED"
  fi
  rm -f "$RECLAIM_CI_SKIPPED"
  [ ${#failed[@]} = 0 ] || fail "${failed[@]}"
  echo 'all passed'
}

# component CARGO_SUBCOMMAND RUSTUP_COMPONENT: installs an optional component of Rust if it is missing.
component() {
  cargo "$1" --version >/dev/null 2>&1 && return
  rustup component add "$2" >/dev/null 2>&1 || true
  cargo "$1" --version >/dev/null 2>&1 ||
    fail "cargo $1 is missing; it comes with: rustup component add $2"
}

# tool CRATE VERSION FLAG...: sets `tool` to the path of a program. It is installed with these flags if
# it is missing, into a folder that all clones share.
tool() {
  local crate=$1 version=$2
  shift 2
  tool=$(command -v "$crate" || true)
  [ -z "$tool" ] || return 0
  local folder=${XDG_CACHE_HOME:-$HOME/.cache}/reclaim-ci/$crate-$version
  tool=$folder/bin/$crate
  [ ! -x "$tool" ] || return 0
  local build
  build=$(mktemp -d)
  # With the stable compiler and without the flags of the caller's own build.
  env -u RUSTFLAGS -u RUSTC_WRAPPER -u RUSTC_BOOTSTRAP CARGO_PROFILE_DEV_DEBUG=0 cargo install "$crate" --version "=$version" --locked \
    --root "$folder" --target-dir "$build" "$@" || tool=
  rm -rf "$build"
  [ -n "$tool" ]
}

# Prints every file of the project, one per line.
tracked_files() {
  if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    # Git still lists files whose deletion is not committed. Omit them.
    git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
      if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
  else
    find . -type f -not -path './target/*' -not -path './fuzz/target/*' \
      -not -path './docs/book/*' -not -path './.git/*' | sed 's|^\./||' | LC_ALL=C sort
  fi
}

trap 'status=$?; step_over; exit $status' EXIT
