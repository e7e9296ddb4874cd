#!/usr/bin/env bash
# Makes .venv/pipeline and .venv/emulator from the two locks. Called by `make`; with the locks unchanged it does nothing.
set -euo pipefail
cd "$(dirname "$0")"
unset PYTHONDONTWRITEBYTECODE  # without bytecode every process compiles its imports anew: 15 s instead of 6
UV_VERSION=0.13.9
NEEDED_GB=3
ZETASQL=@fivetrandevelopers/zetasql@1.13.0  # Google's analyser and reference engine of GoogleSQL, for tests
ZETASQL_SHA512=c97f40a5af7af27a764dcf87adfe017fa1b3efb91054b2032da370a2f33dd550\
70c834c31750baa20954aa6954e857b9fd3542131b2722e79688f6a1ad81084d

fail() { echo "set-up: $*" >&2; exit 1; }

works() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13) or sys.implementation.name != "cpython")' 2>/dev/null; }

# A pyenv shim of that name can be on PATH and refuse to run, so each candidate is tried.
find_python() {
    local candidate
    for candidate in "$(command -v python3.13 || true)" "$HOME"/.pyenv/versions/3.13*/bin/python3.13; do
        if [ -x "$candidate" ] && works "$candidate"; then echo "$candidate"; return; fi
    done
    fail "CPython 3.13 with venv was not found on PATH or under ~/.pyenv/versions; install it, for example with" \
        "'pyenv install 3.13' or 'apt-get install python3.13 python3.13-venv'"
}

# The stamp names all that the environments depend on; they hold absolute paths, so the folder counts too.
fingerprint() { { pwd; cat setup.sh requirements.txt requirements-emulator.txt; } | sha256sum; }

up_to_date() { [ "$(cat .venv/stamp 2>/dev/null)" = "$(fingerprint)" ]; }

install() {  # NAME LOCK
    echo "set-up: installing $2 into .venv/$1"
    .venv/tools/bin/uv venv --quiet --clear --python "$python" ".venv/$1"
    .venv/tools/bin/uv pip install --quiet --compile-bytecode --python ".venv/$1/bin/python" --requirement "$2"
}

# What a machine can do without ends with 3, so that whoever asked can go on without it.
unavailable() { echo "set-up: GoogleSQL's own analyser is not here: $*" >&2; exit 3; }

googlesql() {
    local folder=.venv/googlesql package
    [ "$(uname -sm)" = "Linux x86_64" ] || unavailable "it is made for Linux x86_64 and this is $(uname -sm)"
    command -v npm > /dev/null || unavailable "npm, which brings it, was not found on PATH; install it, for example" \
        "with 'apt-get install npm'"
    python=.venv/pipeline/bin/python
    install googlesql requirements-googlesql.txt || unavailable "requirements-googlesql.txt could not be installed"
    echo "set-up: fetching $ZETASQL with npm"
    package=$(cd "$folder" && npm pack --silent "$ZETASQL") || unavailable "npm could not fetch $ZETASQL"
    echo "$ZETASQL_SHA512  $folder/$package" | sha512sum --check --quiet \
        || fail "$ZETASQL is not the package that setup.sh knows; do not trust it"
    tar -xzf "$folder/$package" -C "$folder" --strip-components=3 \
        package/lib/zetasql/remote_server.so package/lib/zetasql/protos
    rm "$folder/$package"
    "$folder/bin/python" -m grpc_tools.protoc -I "$folder/protos" --include_imports \
        --descriptor_set_out "$folder/local_service.protoset" local_service.proto
}

case "${1:-}" in
    "") ;;
    bench)
        [ "$(cat .venv/bench/stamp 2>/dev/null)" = "$(sha256sum requirements-bench.txt)" ] && exit
        python=.venv/pipeline/bin/python
        install bench requirements-bench.txt
        sha256sum requirements-bench.txt > .venv/bench/stamp
        exit ;;
    googlesql)
        wanted="$ZETASQL_SHA512 $(sha256sum requirements-googlesql.txt)"
        exec 9>.venv/googlesql.lock
        flock 9  # two test processes may ask at once
        [ "$(cat .venv/googlesql/stamp 2>/dev/null)" = "$wanted" ] && exit
        googlesql
        echo "$wanted" > .venv/googlesql/stamp
        exit ;;
    lock)
        for name in requirements requirements-emulator requirements-bench requirements-googlesql; do
            .venv/tools/bin/uv pip compile --quiet --python-version 3.13 --custom-compile-command "make lock" \
                "$name.in" --output-file "$name.txt"
        done
        exit ;;
    *) fail "unknown argument $1; run it without one, or with: bench, googlesql, lock" ;;
esac

up_to_date && exit
mkdir -p .venv
exec 9>.venv/lock
flock 9  # a second set-up waits for the first, and then finds its work done
up_to_date && exit
rm -f .venv/stamp

python=$(find_python)
free_gb=$(($(df --output=avail --block-size=1M . | tail -n 1) / 1024))
[ "$free_gb" -ge "$NEEDED_GB" ] || fail "$PWD has $free_gb GB free and the environments need $NEEDED_GB GB; free some space there"

"$python" -m venv --clear .venv/tools
.venv/tools/bin/pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
install pipeline requirements.txt
install emulator requirements-emulator.txt
# The emulator would download DuckDB's extensions; from its wheels they go under a HOME of its own.
mkdir -p .venv/emulator/home
HOME=$PWD/.venv/emulator/home .venv/emulator/bin/python -c '
from duckdb_extensions import import_extension
for name in ("ducklake", "icu", "spatial"):
    import_extension(name)
'
fingerprint > .venv/stamp.new
mv .venv/stamp.new .venv/stamp
echo "set-up: done"
