import json
import sys

import pytest

from scalpdesk.cli import doctor as doctor_module
from scalpdesk.cli.main import main


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def findings(capsys):
    def run(code=0):
        assert main(["doctor", "--json"]) == code
        document = json.loads(capsys.readouterr().out)
        assert document["ok"] is (code == 0)
        return {finding["name"]: finding for finding in document["findings"]}

    return run


def test_a_sound_installation_passes(findings):
    found = findings()
    assert found["python"]["verdict"] == "ok"
    assert "numpy" in found["packages"]["detail"]
    assert found["data catalogue"]["verdict"] == "note"


def test_a_missing_extra_is_a_note_with_its_command(findings, monkeypatch):
    have = doctor_module._installed
    monkeypatch.setattr(doctor_module, "_installed", lambda p: None if p == "psycopg" else have(p))
    assert findings()["extra postgres"]["fix"] == 'pip install "scalpdesk[postgres]"'


def test_a_missing_or_old_package_fails(findings, monkeypatch):
    have = doctor_module._installed
    monkeypatch.setattr(doctor_module, "_installed", lambda p: "0.1" if p == "numpy" else have(p))
    found = findings(code=1)
    assert found["packages"]["verdict"] == "fail"
    assert "numpy" in found["packages"]["detail"]


def test_a_wrong_configuration_fails_and_is_named(findings, tmp_path):
    (tmp_path / "scalpdesk.toml").write_text("[desk]\nruns = 'x'\n")
    found = findings(code=1)
    assert "scalpdesk.toml:2" in found["configuration"]["detail"]


def test_keys_that_others_can_read_fail(findings, tmp_path):
    path = tmp_path / ".env"
    path.write_text("TRADING_API_KEY=x\n")
    path.chmod(0o644)
    found = findings(code=1)
    assert found["keys"]["fix"] == "chmod 600 .env"
    path.chmod(0o600)
    assert findings()["keys"]["verdict"] == "ok"


def test_a_runs_folder_that_is_a_file_fails(findings, tmp_path):
    (tmp_path / "runs").write_text("")
    assert findings(code=1)["runs folder"]["verdict"] == "fail"


def test_a_catalogue_is_counted(findings, tmp_path):
    (tmp_path / "catalog" / "goog").mkdir(parents=True)
    (tmp_path / "catalog" / "goog" / "a.parquet").write_text("")
    assert findings()["data catalogue"] == {
        "name": "data catalogue",
        "verdict": "ok",
        "detail": "catalog: 1 Parquet files",
        "fix": None,
    }


def test_warm_up_compiles(monkeypatch, capsys):
    called = []
    monkeypatch.setattr("scalpdesk.pricing.scalar.warm_up_steps", lambda: called.append(True) or iter((1, 8)))
    assert main(["doctor", "--warm-up"]) == 0
    assert called == [True]
    assert "warm after" in capsys.readouterr().out


def test_at_set_up_no_extra_is_asked_for(monkeypatch, capsys):
    monkeypatch.setattr("scalpdesk.pricing.scalar.warm_up_steps", lambda: iter(()))
    have = doctor_module._installed
    monkeypatch.setattr(
        doctor_module, "_installed", lambda p: None if p in {"psycopg", "apprise"} else have(p)
    )
    assert main(["doctor", "--warm-up"]) == 0
    assert "not installed" not in capsys.readouterr().out
    assert main(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "not installed" in line]
    assert {"alerts", "postgres"} <= set(line.replace(",", "").split())


def test_a_first_run_compiles_and_says_so_and_a_later_one_does_not(monkeypatch, tmp_path, capsys):
    steps = []
    monkeypatch.setattr("scalpdesk.pricing.scalar.warm_up_steps", lambda: steps.append(1) or iter((1, 8)))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    doctor_module.compile_kernels_once()
    assert steps == [1]
    assert capsys.readouterr().err != ""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernel.nbi").touch()
    doctor_module.compile_kernels_once()
    assert steps == [1]
    assert capsys.readouterr().err == ""


def test_a_named_store_whose_package_is_missing_is_told(findings, monkeypatch):
    monkeypatch.delenv("GEX_VALUE", raising=False)
    monkeypatch.setenv("FIREBASE_PROJECT_ID", "a-project")
    for name in ("google.cloud", "google.cloud.firestore"):
        monkeypatch.setitem(sys.modules, name, None)
    found = findings()["dealer gamma"]
    assert found["verdict"] == "note"
    assert 'pip install "scalpdesk[firestore]"' in found["detail"]
