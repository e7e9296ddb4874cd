"""The set-up on machines that lack something. The interpreter is a stand-in that fails where each test says."""

import re
import shutil
import subprocess

import pytest

from telemetry_warehouse.settings import ROOT

PYTHON = """#!/bin/bash
case "$*" in
    -c*) exit 0 ;;                              # it is CPython 3.13
    "-m venv"*) echo "venv made"; exit "${VENV_FAILS:-0}" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with the set-up and its locks, and a PATH of its own with the usual tools but no Python."""
    for name in ("setup.sh", "requirements.txt", "requirements-emulator.txt"):
        shutil.copy(ROOT / name, tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "df", "dirname", "flock", "mkdir", "mv", "rm", "sha256sum", "tail"):
        (tools / name).symlink_to(shutil.which(name))
    return tmp_path


def install(checkout, name, script):
    tool = checkout / "bin" / name
    tool.unlink(missing_ok=True)
    tool.write_text(script)
    tool.chmod(0o755)


def set_up(checkout, **variables):
    environment = {"PATH": str(checkout / "bin"), "HOME": str(checkout)} | variables
    return subprocess.run([checkout / "setup.sh"], env=environment, capture_output=True, text=True)


def stamp(checkout):
    return checkout / ".venv" / "stamp"


def test_without_the_interpreter_one_line_says_what_to_install(checkout):
    ran = set_up(checkout)
    assert ran.returncode == 1 and ran.stdout == "" and len(ran.stderr.splitlines()) == 1
    assert "CPython 3.13" in ran.stderr and "install it" in ran.stderr


def test_a_python_on_path_that_refuses_to_run_is_passed_over(checkout):
    install(checkout, "python3.13", "#!/bin/bash\necho 'pyenv: python3.13: command not found' >&2; exit 127\n")
    assert "CPython 3.13" in set_up(checkout).stderr
    under_pyenv = checkout / ".pyenv" / "versions" / "3.13.0" / "bin"
    under_pyenv.mkdir(parents=True)
    shutil.move(checkout / "bin" / "python3.13", checkout / "refuses")
    install(checkout, "python3.13", PYTHON)
    shutil.move(checkout / "bin" / "python3.13", under_pyenv)
    shutil.move(checkout / "refuses", checkout / "bin" / "python3.13")
    assert "venv made" in set_up(checkout, VENV_FAILS="1").stdout


def test_a_full_disk_is_one_line_before_anything_is_installed(checkout):
    install(checkout, "python3.13", PYTHON)
    install(checkout, "df", "#!/bin/bash\necho Avail; echo 2000\n")
    ran = set_up(checkout)
    assert ran.returncode == 1 and len(ran.stderr.splitlines()) == 1 and "venv made" not in ran.stdout
    assert "1 GB free" in ran.stderr and "need 3 GB" in ran.stderr


def test_a_set_up_that_fails_is_not_taken_for_done(checkout):
    install(checkout, "python3.13", PYTHON)
    assert set_up(checkout, VENV_FAILS="1").returncode == 1
    assert not stamp(checkout).exists()
    assert "venv made" in set_up(checkout, VENV_FAILS="1").stdout, "the next one begins anew"


def test_with_the_locks_unchanged_nothing_is_done_and_with_a_new_lock_all(checkout):
    install(checkout, "python3.13", PYTHON)
    uv = checkout / ".venv" / "tools" / "bin"
    uv.mkdir(parents=True)
    for tool in (uv / "uv", uv / "pip"):
        tool.write_text("#!/bin/bash\nexit 0\n")
        tool.chmod(0o755)
    emulator = checkout / ".venv" / "emulator" / "bin"
    emulator.mkdir(parents=True)
    (emulator / "python").symlink_to(checkout / "bin" / "python3.13")
    assert set_up(checkout).returncode == 0 and stamp(checkout).exists()
    assert (set_up(checkout).stdout, set_up(checkout).stderr) == ("", "")
    with (checkout / "requirements.txt").open("a") as lock:
        lock.write("# changed\n")
    assert "venv made" in set_up(checkout, VENV_FAILS="1").stdout
    assert not stamp(checkout).exists(), "half of a new set-up is not the old one"


def test_the_command_line_works_from_anywhere_and_says_when_set_up_has_not_run(tmp_path):
    usage = subprocess.run([ROOT / "warehouse", "--help"], cwd=tmp_path, capture_output=True, text=True)
    assert usage.returncode == 0 and "usage: ./warehouse" in usage.stdout
    shutil.copy(ROOT / "warehouse", tmp_path)
    link = tmp_path / "elsewhere"
    link.symlink_to(tmp_path / "warehouse")
    ran = subprocess.run([link, "status"], cwd="/", capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stderr == (
        f"warehouse: the environments are missing or incomplete; run 'make setup' in {tmp_path}\n"
    )


@pytest.mark.parametrize("name", ["requirements", "requirements-emulator", "requirements-googlesql"])
def test_a_lock_names_exact_versions_of_all_that_is_asked_for_and_no_place(name):
    lines = [
        line for line in (ROOT / f"{name}.txt").read_text().splitlines() if line and not line.lstrip().startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?==[\w.+]+( ; .*)?", line) for line in lines)
    locked = {line.split("==")[0]: line.split("==")[1] for line in lines}
    for wanted in (ROOT / f"{name}.in").read_text().splitlines():
        if wanted and not wanted.startswith("#"):
            package, _, exact = re.sub(r"\[.*\]", "", wanted).partition("==")
            assert locked[package] == (exact or locked[package])


def test_make_lists_every_target_with_one_line():
    listed = subprocess.run(["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True).stdout
    for target in ("run", "test", "lint", "bench", "stop"):
        assert len(re.findall(rf"^make {target} +\S.*$", listed, re.MULTILINE)) == 1
