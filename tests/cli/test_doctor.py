import json
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from scalpdesk.cli import compiling
from scalpdesk.cli.compiling import KERNELS, compile_kernels_once
from scalpdesk.cli.doctor import examine, installed_version, report_findings
from scalpdesk.cli.main import main
from scalpdesk.records.store import open_store


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


def examined(**versions):
    """Examine an installation in which some packages are absent or of another version."""
    found = examine(
        Path(), warm_up=False, version_of=lambda package: versions.get(package, installed_version(package))
    )
    return {finding.name: finding for finding in found}


def test_a_missing_extra_is_a_note_with_its_command():
    assert examined(psycopg=None)["extra postgres"].fix == 'pip install "scalpdesk[postgres]"'


@pytest.mark.parametrize("version", ["0.1", None])
def test_a_missing_or_old_package_fails(version):
    found = examined(numpy=version)["packages"]
    assert (found.verdict, "numpy" in found.detail) == ("fail", True)


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


def test_warm_up_compiles(told_by):
    assert "warm after" in told_by("doctor", "--warm-up").out


@pytest.mark.parametrize("warm_up", [True, False])
def test_at_set_up_no_extra_is_asked_for(warm_up, capsys):
    absent = [finding for finding in examined(psycopg=None, apprise=None).values() if "extra" in finding.name]
    assert report_findings(absent, as_json=False, warm_up=warm_up) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "not installed" in line]
    assert len(lines) == (not warm_up)
    assert warm_up or {"alerts", "postgres"} <= set(lines[0].replace(",", "").split())


@pytest.mark.parametrize("is_real", [False, pytest.param(True, marks=pytest.mark.second)])
def test_a_first_run_compiles_and_says_so_and_a_later_one_does_not(monkeypatch, tmp_path, capsys, is_real):
    compiled = []
    if not is_real:
        monkeypatch.setattr(compiling, "_carry_out", lambda which, _: compiled.append(which))
        monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    compile_kernels_once()
    assert capsys.readouterr().err != ""
    (tmp_path / "cache").mkdir(exist_ok=True)
    for kernel in KERNELS["all"]:
        (tmp_path / "cache" / f"{kernel}-kernel.nbi").touch()
    compile_kernels_once()
    assert capsys.readouterr().err == ""
    assert is_real or compiled == ["every-day"]


def test_a_named_store_whose_package_is_missing_is_told(findings, monkeypatch):
    monkeypatch.delenv("GEX_VALUE", raising=False)
    monkeypatch.setenv("FIREBASE_PROJECT_ID", "a-project")
    for name in ("google.cloud", "google.cloud.firestore"):
        monkeypatch.setitem(sys.modules, name, None)
    found = findings()["dealer gamma"]
    assert found["verdict"] == "note"
    assert 'pip install "scalpdesk[firestore]"' in found["detail"]


def test_the_database_of_the_runs_is_asked_and_left_as_it_is(findings, monkeypatch, postgres_url):
    monkeypatch.setenv("SCALPDESK_CREDENTIALS__RECORDS_URL", postgres_url)
    for _ in range(2):
        assert findings()["records"]["verdict"] == "note"
    open_store(postgres_url).close()
    assert findings()["records"]["verdict"] == "ok"
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    engine.dispose()
    found = findings()["records"]
    assert (found["verdict"], "r9999" in found["detail"]) == ("note", True)


def test_a_database_that_does_not_answer_fails_without_its_password(
    findings, monkeypatch, socket_enabled, free_tcp_port
):
    url = f"postgresql://desk:hidden-word@127.0.0.1:{free_tcp_port}/runs"
    monkeypatch.setenv("SCALPDESK_CREDENTIALS__RECORDS_URL", url)
    found = findings(code=1)["records"]
    assert found["verdict"] == "fail"
    assert str(free_tcp_port) in found["detail"]
    assert "hidden-word" not in str(found)


def test_a_file_of_records_is_not_made(findings, monkeypatch, tmp_path):
    monkeypatch.setenv("SCALPDESK_CREDENTIALS__RECORDS_URL", f"sqlite:///{tmp_path}/records.sqlite")
    assert findings()["records"]["verdict"] == "note"
    assert not (tmp_path / "records.sqlite").exists()
    (tmp_path / "records.sqlite").write_text("no database, but long enough to be one" * 99)
    assert findings(code=1)["records"]["verdict"] == "fail"
