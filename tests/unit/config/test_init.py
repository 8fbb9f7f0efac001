"""`wsasec init`: two hosts in three commands each."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from wsasec.cli import main
from wsasec.config.files import check_files
from wsasec.config.load import load


def snapshot(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def commands(text: str) -> list[list[str]]:
    return [shlex.split(line) for line in text.splitlines() if line.startswith("  ")]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*words: str) -> int:
    return main(["init", *words])


def test_two_hosts(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert init("ca", "--folder", "ca") == 0
    said = capsys.readouterr().out
    assert commands(said)[-1] == ["wsasec", "init", "host", "a.example", "--ca-folder", "ca"]

    assert (
        main([*commands(said)[-1][1:], "--folder", "a", "--address", "10.0.0.1", "--address", "fd00::1"]) == 0
    )
    said += capsys.readouterr().out
    assert commands(said)[-1] == [f"WSASEC_CONFIG={folder}/a/wsasec.toml", "wsasec", "up"]

    assert init("host", "b.example", "--bundle", "b.tar", "--ca-folder", "ca") == 0
    said += capsys.readouterr().out
    assert commands(said)[-2:] == [["wsasec", "init", "import", "b.tar"], ["rm", "b.tar"]]
    assert init("import", "b.tar", "--folder", "b") == 0
    said += capsys.readouterr().out

    for name in ("a", "b"):
        config = load(folder / name / "wsasec.toml")
        check_files(config)
        assert config.profiles["default"].identity.id == f"{name}.example"
    for path, data in snapshot(folder).items():
        for line in data.decode(errors="replace").splitlines() if path.suffix == ".key" else ():
            assert line not in said
    assert (folder / "a/ca.crt").read_bytes() == (folder / "b/ca.crt").read_bytes()


def test_the_usual_place(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsasec.cli.init._FOLDER", str(folder / "etc"))
    monkeypatch.setattr("wsasec.cli.init._CA_FOLDER", str(folder / "etc/ca"))
    assert init("ca") == 0
    assert commands(capsys.readouterr().out) == [["wsasec", "init", "host", "a.example"]]
    assert init("host", "a.example") == 0
    assert commands(capsys.readouterr().out) == [["wsasec", "up"]]
    assert (folder / "etc").stat().st_mode & 0o777 == 0o755
    assert (folder / "etc/ca").stat().st_mode & 0o777 == 0o700


def test_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file that is there is named, and nothing changes."""
    init("ca", "--folder", "ca")
    init("host", "a.example", "--ca-folder", "ca", "--folder", "a")
    init("host", "b.example", "--ca-folder", "ca", "--bundle", "b.tar")
    capsys.readouterr()
    before = snapshot(folder)
    for words, name in (
        (["ca", "--folder", "ca"], "ca/ca.key"),
        (["host", "c.example", "--ca-folder", "ca", "--folder", "a"], "a/host.crt"),
        (["host", "a.example", "--ca-folder", "ca", "--folder", "c"], "ca/hosts/a.example.crt"),
        (["host", "c.example", "--ca-folder", "ca", "--bundle", "b.tar"], "b.tar"),
        (["import", "b.tar", "--folder", "a"], "a/host.crt"),
    ):
        assert init(*words) == 1
        assert capsys.readouterr().err.startswith(f"wsasec init: {name}: it is there already")
        assert snapshot(folder) == before


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["host", "a.example", "--ca-folder", "none"],
            "none/ca.crt: there is no CA; `wsasec init ca` makes one",
        ),
        (["import", "none.tar", "--folder", "x"], "none.tar: No such file"),
        (["revoke", "a.example", "--ca-folder", "none"], "none: No such file"),
    ],
)
def test_without_what_it_needs(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert init(*words) == 1
    assert capsys.readouterr().err.startswith(f"wsasec init: {text}")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["host"],
        ["host", "a b"],
        ["host", "10.0.0.1"],
        ["host", "a", "--address", "b"],
        ["host", "a", "--address", "fe80::1%eth0"],
        ["host", "a", "--days", "0"],
        ["host", "a", "--days", "1e3"],
        ["host", "a", "--bundle", "b.tar", "--folder", "x"],
        ["ca", "--name", ""],
        ["ca", "--name", "a\nb"],
        ["revoke", "../ca"],
    ],
)
def test_wrong_words(words: list[str], folder: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        init(*words)
    assert caught.value.code == 2
    assert not list(folder.iterdir())


def test_a_host_whose_files_cannot_be_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has no certificate then, and gets one at the next try."""
    init("ca", "--folder", "ca")
    (folder / "a").mkdir()
    (folder / "a").chmod(0o777)
    assert init("host", "a.example", "--ca-folder", "ca", "--folder", "a") == 1
    assert "others than its owner may write it" in capsys.readouterr().err
    (folder / "a").chmod(0o755)
    assert init("host", "a.example", "--ca-folder", "ca", "--folder", "a") == 0


def test_revoking(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init("ca", "--folder", "ca")
    init("host", "a.example", "--ca-folder", "ca", "--folder", "a")
    old = (folder / "ca/ca.crl").read_bytes()
    capsys.readouterr()
    assert init("revoke", "A.example", "--ca-folder", "ca") == 0
    assert commands(capsys.readouterr().out) == [["wsasec", "reload"]]
    assert (folder / "ca/ca.crl").read_bytes() != old
    assert init("revoke", "a.example", "--ca-folder", "ca") == 1
    assert "this CA made no certificate for a.example" in capsys.readouterr().err
