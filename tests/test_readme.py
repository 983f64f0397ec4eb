"""What the README says can be typed: its verbs, make targets, files and links exist; commands that need no data run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    c.split("#")[0].strip()
    for b in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    for c in b.splitlines()
    if c.strip()
]


def freehold(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "pipelines.cli", *arguments]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_readme_has_commands() -> None:
    assert len(COMMANDS) >= 7


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(command: str) -> None:
    words = command.split()
    if words[0] == "make":
        assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text()
    elif words[0] == "accelerate":
        assert (ROOT / words[words.index("--config_file") + 1]).exists()
    elif "RECIPE" in words:
        known = freehold(words[1], "--help").stdout
        assert "RECIPE" in known
        assert all(option in known for option in words if option.startswith("--"))
    else:
        assert freehold(*words[1:]).returncode == 0


def test_every_verb_of_the_table_exists() -> None:
    verbs = re.findall(
        r"`(\w+)(?: RECIPE)?`", "\n".join(line.split("|")[1] for line in README.splitlines() if line.startswith("| `"))
    )
    assert {"check", "run", "promote", "status"} <= set(verbs)
    assert [v for v in verbs if freehold(v, "--help").returncode != 0] == []


def test_links_and_make_targets_lead_somewhere() -> None:
    assert [link for link in re.findall(r"\]\((?!http)([^)#]+)\)", README) if not (ROOT / link).exists()] == []
    makefile = (ROOT / "Makefile").read_text()
    assert [t for t in re.findall(r"`make ([\w-]+)`", README) if f"\n{t}:" not in makefile] == []
