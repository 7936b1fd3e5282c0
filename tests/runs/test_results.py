"""Scores against numpy; tables show text as it is; numbers travel with command, commit, machine."""

import json
import os
import sys

import numpy as np
import pytest

from partnerface.runs.results import SeedScores, TextTable, environment


def test_scores_over_seeds() -> None:
    values = (27.0, 27.5, 26.2)
    assert SeedScores(values).mean == pytest.approx(np.mean(values))
    assert SeedScores(values).spread == pytest.approx(np.std(values, ddof=1))
    assert SeedScores((2.0,)).spread is None


def test_brackets_are_no_markup_and_wide_tables_are_not_cut(capsys) -> None:
    """A list of one word vanished from the table."""
    TextTable(["[b]name", "values"], [["['[red]']", "1" * 100]], "[i]caption").print()
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("[b]name", "['[red]']", "[i]caption", "1" * 100))


def test_command_commit_and_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/partnerface", "benchmark", "speed", "--quick=true"])
    found = json.loads(json.dumps(environment()))
    assert found["command"] == "partnerface benchmark speed --quick=true"
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["machine"]["processor"]
    assert found["commit"] is None or len(found["commit"].rstrip("+")) >= 7


def test_no_git_no_commit(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert environment()["commit"] is None
