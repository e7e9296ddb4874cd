"""The sample, that only UUIDs are ids, and the families of operating systems."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry_warehouse.landing.message import as_uuid
from telemetry_warehouse.landing.normalise import normalized_os, sample_id
from telemetry_warehouse.schemas import STANDARD_COLUMNS


def test_the_sample_is_the_documented_one():
    assert sample_id("859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d") == 55


@pytest.mark.parametrize("text", ["859C8A32-0B73-B547-A5E7-8EF4ED9C4C2D", "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"])
def test_a_uuid_is_lower_case(text):
    assert as_uuid(text) == "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d"


@pytest.mark.parametrize(
    "value",
    [None, 7, "", "859c8a320b73b547a5e78ef4ed9c4c2d", "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2g",
     "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2",
     "859c8a320-b73-b547-a5e7-8ef4ed9c4c2d", "٨59c8a32-0b73-b547-a5e7-8ef4ed9c4c2d",
     "859c8a32-0b73-b547-a5e7-8ef4ed9c4c2d\n"],
)  # fmt: skip
def test_nothing_else_is_a_uuid(value):
    assert as_uuid(value) is None


SYSTEMS = {
    "Windows": ["Windows", "Windows_NT", "WindowsNT", "WINNT", "windows", "WINDOWS 10", "Windows NT 10.0; Win64; x64",
                "Windows 11 Pro", "Windows Server 2022", "Microsoft Windows 10 Home", "win32", "Win64", "Win 7", "win",
                "WinCE", "Windows Phone 8.1", "CYGWIN_NT-10.0", "MINGW64_NT-10.0-19045", "MSYS_NT-10.0"],
    "Mac": ["Darwin", "darwin", "Darwin 24.6.0", "Mac", "mac", "macOS", "macos", "MacOS 15.1", "Mac OS X", "Mac OS",
            "MACOSX", "mac_os", "Mac OS X 10.15.7", "OS X", "OSX", "os x 10.11", "Macintosh", "MacIntel", "MacPPC",
            "Mac_PowerPC", "Macintosh; Intel Mac OS X 10_15_7", "Apple macOS"],
    "Linux": ["Linux", "linux", "linux2", "GNU/Linux", "gnu-linux", "Linux x86_64", "X11; Linux x86_64", "Arch Linux",
              "Ubuntu", "ubuntu 24.04", "Debian GNU/Linux 12", "Fedora", "CentOS", "Red Hat Enterprise Linux", "RHEL 9",
              "openSUSE Leap", "SUSE", "Gentoo", "Manjaro", "Linux Mint", "kali-linux"],
    "Android": ["Android", "android", "ANDROID 14", "Linux; Android 10", "Linux; U; Android 4.0", "Android (Go)"],
    "iOS": ["iOS", "ios", "IOS", "iOS 17.1", "ios17", "iPhone", "iPhone OS", "iPhoneOS", "iPhone OS 3.0", "iPhone10,6",
            "iPad", "iPadOS", "ipados 18", "iPod", "iPod touch", "iPhone Simulator", "Apple iPhone",
            "iPhone; CPU iPhone OS 13_2 like Mac OS X"],
    "BSD": ["FreeBSD", "freebsd", "freebsd14", "OpenBSD", "NetBSD", "DragonFly", "DragonFly BSD", "GNU/kFreeBSD", "BSD",
            "GhostBSD", "X11; FreeBSD amd64"],
    "ChromeOS": ["ChromeOS", "Chrome OS", "chromeos", "CHROME_OS", "CrOS", "X11; CrOS x86_64 14541.0.0", "Chromium OS"],
    "Other": ["Other", "", " ", "SunOS", "Solaris", "AIX", "BeOS", "Haiku", "OS/2", "os400", "QNX", "Fuchsia", "tvOS",
              "watchOS", "visionOS", "KaiOS", "webOS", "HarmonyOS", "PlayStation 4", "Nintendo Switch", "Plan 9",
              "Minix", "winter", "machine", "machintosh", "iostream", "axios", "BIOS", "crossover", "chrome",
              "microsoft", "osxyz", "unknown", "??", "null", "☃", "x" * 300 + "linux"],
}  # fmt: skip


@pytest.mark.parametrize("family, name", [(family, name) for family, names in SYSTEMS.items() for name in names])
def test_each_system_has_the_one_name_of_its_family(family, name):
    assert normalized_os(name) == normalized_os(f" {name}\n") == family


@given(st.text(max_size=30) | st.sampled_from([name for names in SYSTEMS.values() for name in names]).map(str.upper))
def test_any_name_becomes_one_of_the_families_and_a_family_stays_itself(name):
    assert normalized_os(name) in SYSTEMS
    assert normalized_os(normalized_os(name)) == normalized_os(name)


def test_the_column_names_the_families_that_there_are():
    [description] = [said for column, _, said in STANDARD_COLUMNS if column == "normalized_os"]
    assert all(family in description for family in SYSTEMS)
