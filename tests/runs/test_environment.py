"""A number travels with its command, commit and machine."""

import json
import os
import sys

from partnerface.runs.environment import environment


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
