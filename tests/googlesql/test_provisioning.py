"""`./setup.sh googlesql` on machines that lack something. npm and uv are stand-ins that do what each test says."""

import shutil
import subprocess

import pytest

from telemetry_warehouse.settings import ROOT

NPM = """#!/bin/bash
[ -z "$OFFLINE" ] || exit 1
echo "not the package" > package.tgz; echo package.tgz
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout that is set up but for GoogleSQL, and a PATH with the usual tools, npm and an installer."""
    for name in ("setup.sh", "requirements-googlesql.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for tool in ("bash", "cat", "dirname", "flock", "rm", "sha256sum", "sha512sum"):
        install(tmp_path / "bin" / tool, f'#!/bin/bash\nexec {shutil.which(tool)} "$@"\n')
    install(tmp_path / "bin" / "uname", '#!/bin/bash\necho "${MACHINE:-Linux x86_64}"\n')
    install(tmp_path / "bin" / "npm", NPM)
    install(tmp_path / ".venv" / "tools" / "bin" / "uv", '#!/bin/bash\n[ -z "$NO_PYPI" ] || exit 2\n')
    (tmp_path / ".venv" / "googlesql").mkdir()
    return tmp_path


def install(tool, script):
    tool.parent.mkdir(parents=True, exist_ok=True)
    tool.write_text(script)
    tool.chmod(0o755)


def provision(checkout, **variables):
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)} | variables
    return subprocess.run([checkout / "setup.sh", "googlesql"], env=environment, capture_output=True, text=True)


def test_another_kind_of_machine_is_told_that_it_cannot_have_it(checkout):
    ran = provision(checkout, MACHINE="Darwin arm64")
    assert ran.returncode == 3 and len(ran.stderr.splitlines()) == 1
    assert "Linux x86_64" in ran.stderr and "Darwin arm64" in ran.stderr


def test_without_npm_one_line_says_what_to_install(checkout):
    (checkout / "bin" / "npm").unlink()
    ran = provision(checkout)
    assert ran.returncode == 3 and len(ran.stderr.splitlines()) == 1 and "apt-get install npm" in ran.stderr


@pytest.mark.parametrize("missing", ["OFFLINE", "NO_PYPI"])
def test_without_a_network_it_is_missing_and_not_taken_for_made(checkout, missing):
    ran = provision(checkout, **{missing: "1"})
    assert ran.returncode == 3 and "GoogleSQL's own analyser is not here" in ran.stderr.splitlines()[-1]
    assert not (checkout / ".venv" / "googlesql" / "stamp").exists()


def test_another_package_of_that_name_is_a_failure_and_not_a_lack(checkout):
    ran = provision(checkout)
    assert ran.returncode == 1 and "do not trust it" in ran.stderr
    assert not (checkout / ".venv" / "googlesql" / "stamp").exists()


def test_what_is_there_already_is_not_fetched_again(checkout, googlesql):
    shutil.copy(ROOT / ".venv" / "googlesql" / "stamp", checkout / ".venv" / "googlesql")
    ran = provision(checkout, OFFLINE="1", NO_PYPI="1")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
