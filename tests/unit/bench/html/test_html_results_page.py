"""The page of the documentation that is made from a run."""

import copy
import json
import re
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsasec.bench.reading import FormatError
from wsasec.bench.results_page import main, make

FILE = Path(__file__).parent.with_name("sample.json")
SAMPLE = json.loads(FILE.read_text())


def test_the_page_and_its_plots() -> None:
    files = make(SAMPLE)
    page = files.pop("results.md")
    assert {
        "setup-cost.svg",
        "setup-cost-4.svg",
        "throughput.svg",
        "latency.svg",
        "ratios.svg",
    } <= files.keys()
    assert set(re.findall(r"\]\(([^)]+)\)", page)) == files.keys()
    for text in files.values():
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "| secure_many / C loop | 1.01 | ≤ 1.05 | ✓ met | 1.04: 1,000 UDP, IPv4 |" in page
    assert "| ✗ met in 1 of 3 cases | 2.31: 64 connections, 64 bytes |" in page
    assert "### 15,000 sockets, TCP, IPv4" in page
    assert page.count("has no accelerated AES; TLS, in user space,") == 4
    assert "wsasec bench --full" in page
    assert page.count("<details>") == page.count("</details>") == 1


def test_tables_have_a_cell_for_each_column() -> None:
    lines = make(SAMPLE)["results.md"].splitlines()
    for before, line in pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert before.count("|") == line.count("|")
    assert sum(line.startswith("|") for line in lines) > 100


def test_loopback_is_no_traffic_of_the_guest() -> None:
    sections = re.split(r"^## ", make(SAMPLE)["results.md"], flags=re.MULTILINE)
    [loopback] = [section for section in sections if "this kernel's loopback device" in section]
    assert loopback.startswith("Loopback of this kernel\n")
    assert "accelerated" not in loopback
    assert "Measured on this kernel itself" in loopback


def test_which_clock_it_is() -> None:
    assert "- Microseconds a socket are by the clock. Ratios of set-up" in make(SAMPLE)["results.md"]


def test_set_up_alone() -> None:
    files = make({name: SAMPLE[name] for name in ("format", "setup", "machine")})
    assert "## Traffic" not in files["results.md"]
    assert "throughput.svg" not in files


@settings(deadline=None, max_examples=60)
@given(st.text(st.sampled_from("ab<>&|*_`[]()!\\\n#~ \x00")))
def test_text_stays_text(text: str) -> None:
    few = {"format": SAMPLE["format"], "targets": copy.deepcopy(SAMPLE["targets"][:2])}
    few["targets"][0]["name"] = f"x{text}"
    page = make(few)["results.md"]
    assert "<" not in page
    assert ">" not in page.replace("&gt;", "")
    line = next(line for line in page.splitlines() if line.startswith("| x"))
    unescaped = re.sub(r"\\.", "", line)
    assert unescaped.count("|") == 6
    assert not set("*`[]~#") & set(unescaped)


def test_from_file_to_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(FILE), str(tmp_path)]) == 0
    assert (tmp_path / "setup-cost.svg").stat().st_size > 5000
    assert (tmp_path / "results.md").read_text() == make(SAMPLE)["results.md"]
    assert main([str(FILE), str(tmp_path / "none")]) == 2
    assert main([str(tmp_path / "results.md"), str(tmp_path)]) == 2
    assert "is not a results file" in capsys.readouterr().err


def test_another_format() -> None:
    with pytest.raises(FormatError):
        make({**SAMPLE, "format": "wsasec-bench/1"})
