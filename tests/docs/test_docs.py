"""Links and names of the pages exist: links, command lines, functions; pages are short, plain and current."""

import importlib
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest

from tests.docs.page_commands import complaint
from tests.docs.pages import install_page

ROOT = Path(__file__).resolve().parents[2]
WITH_THE_SITE = {
    ROOT / line[1:]
    for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()
    if line.startswith("/docs/reference/")
}
"""Pages that ``make docs`` writes."""
PAGES = sorted(
    {
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    }
    - WITH_THE_SITE
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


# links ---------------------------------------------------------------------------------------------


def anchors(page):
    """Anchors of a page's headings, as code hosts make them."""
    text = _FENCE.sub("", page.read_text("utf-8"))
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.rows("page", PAGES)
def test_links_lead_somewhere(page):
    broken = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text("utf-8"))):
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        if to in WITH_THE_SITE and page.is_relative_to(ROOT / "docs"):
            continue
        if not to.exists() or (anchor and anchor not in anchors(to)):
            broken.append(target)
    assert broken == []


def test_the_menu_lists_every_page_once():
    docs = ROOT / "docs"
    listed = re.findall(r"^ +- (\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    pages = {*docs.rglob("*.md"), *WITH_THE_SITE}
    assert sorted(listed) == sorted(str(page.relative_to(docs)) for page in pages)


# command lines ---------------------------------------------------------------------------------------


def command_lines(text):
    """Every ``scalpdesk …`` in fenced blocks and in inline code, continuation lines joined."""
    for block in _FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            bare = line.strip().removeprefix("$ ")
            if bare.startswith("scalpdesk "):
                yield bare
    for code in _CODE.findall(_FENCE.sub("", text)):
        if code.startswith("scalpdesk "):
            yield code


@pytest.mark.rows("page", PAGES)
def test_command_lines_parse(page, tmp_path, monkeypatch):
    text = page.read_text("utf-8")
    if "\n`pyproject.toml`\n" in text:  # its commands are there once its package is
        install_page(page, tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
    wrong = {line: complaint(line) for line in command_lines(text)}
    # a synopsis is no command line
    wrong = {line: why for line, why in wrong.items() if why and not re.search(r"[|\[\]{]", line)}
    assert wrong == {}


@pytest.mark.rows(
    ("line", "why"),
    [
        ("scalpdesk backtest gamma-scalper --data lean --set a=1", None),
        ("scalpdesk data import lean PATH", None),
        ("scalpdesk bactest x", "no command bactest"),
        ("scalpdesk backtest x --session 2018-02-05", "No such option"),
        ("scalpdesk runs extra", "too many words"),
    ],
)
def test_the_check_of_command_lines_sees_a_wrong_one(line, why):
    found = complaint(line)
    assert found is None if why is None else found.startswith(why)


# names in the architecture ---------------------------------------------------------------------------


def test_modules_and_functions_of_the_architecture_exist():
    pages = [ROOT / "docs" / "developing" / name for name in ("architecture.md", "path_of_a_quote.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    rows = re.findall(r"^\|(?: \d+ \|)? `([\w/]+\.py)` \| `([\w.]+)` \|", text, re.MULTILINE)
    rows += re.findall(r"\| `([\w/]+\.py)` `(\w+)` \|", text)
    assert len(rows) >= 30
    for path, name in rows:
        module = importlib.import_module("scalpdesk." + path.removesuffix(".py").replace("/", "."))
        found = module
        for part in name.split("."):
            assert hasattr(found, part), f"{path} has no {name}"
            found = getattr(found, part)


@pytest.mark.rows(
    "name",
    [
        "CONTRIBUTING.md",
        "docs/developing/architecture.md",
        "docs/developing/path_of_a_quote.md",
        "docs/concepts/explain.md",
        "docs/concepts/fills.md",
    ],
)
def test_paths_named_in_the_pages_exist(name):
    text = _FENCE.sub("", (ROOT / name).read_text("utf-8"))
    paths = [code for code in _CODE.findall(text) if re.fullmatch(r"[\w/.-]+(\.py|\.md|/)", code)]
    places = (ROOT, ROOT / "src" / "scalpdesk", ROOT / "tests", ROOT / "docs")
    lost = [
        path
        for path in paths
        if not any((place / path).exists() or list(place.glob(f"*/{path}")) for place in places)
    ]
    made_by_running = {"runs/", "docs/evidence/benchmarks.md"}
    assert paths
    assert set(lost) <= made_by_running


def test_python_files_named_in_the_pages_exist():
    folders = ("benchmarks", "docs", "examples", "parts", "release", "src", "tests")
    files = [f"/{path.relative_to(ROOT)}" for name in folders for path in (ROOT / name).rglob("*.py")]
    # the page of migration names files of the earlier programs, the guides those of the reader's package
    pages = [page for page in PAGES if page.name != "migration.md" and page.parent.name != "developing"]
    named = {
        f"{page.name}: {code}": f"/{code}"
        for page in pages
        for code in _CODE.findall(_FENCE.sub("", page.read_text("utf-8")))
        if re.fullmatch(r"[\w/.-]+\.py", code)
    }
    assert named
    assert [where for where, end in named.items() if not any(file.endswith(end) for file in files)] == []


def test_every_package_is_on_the_map():
    source = ROOT / "src" / "scalpdesk"
    names = {f"{path.name}/" for path in source.iterdir() if (path / "__init__.py").exists()}
    names |= {path.name for path in source.glob("*.py") if path.name != "__init__.py"}
    for page in ("CONTRIBUTING.md", "docs/developing/architecture.md"):
        text = (ROOT / page).read_text("utf-8")
        assert sorted(name for name in names if f"`{name}`" not in text) == []


def test_every_core_dependency_has_its_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "docs" / "developing" / "decisions" / "0004-core-dependencies.md").read_text("utf-8")
    table = " ".join(line for line in text.splitlines() if line.startswith("|"))
    for one in project["dependencies"]:
        name = re.split("[>=<[]", one)[0]
        assert name == "scalpdesk-strategies" or re.search(rf"\b{name}\b", table), one
    for extra in project["optional-dependencies"]:
        assert extra == "all" or f"`{extra}`" in text


def test_the_stated_number_of_packages_is_that_of_the_lock():
    lock = (ROOT / "requirements" / "run.lock").read_text("utf-8")
    count = len(re.findall(r"^[\w.-]+==", lock, re.MULTILINE))
    for page in ("docs/evidence/pricing.md", "docs/developing/decisions/0001-an-engine-of-our-own.md"):
        assert f"{count} packages" in (ROOT / page).read_text("utf-8")


# generated pages and shown outputs -------------------------------------------------------------------


def test_generated_pages_are_current_or_made_with_the_site(generate):
    made = {*WITH_THE_SITE} - {ROOT / "docs" / "reference" / "licences.md"}
    for path, text in generate.pages().items():
        if path in made:
            made.remove(path)
        else:
            assert path.read_text("utf-8") == text, f"{path.name} is not current: make docs"
    assert not made


def test_the_examples_of_the_help_parse(generate):
    lines = [line for line in command_lines(generate.cli_page()) if not re.search(r"[|\[\]{]", line)]
    assert len(lines) > 100
    assert {line: why for line in lines if (why := complaint(line))} == {}


def test_every_key_of_the_configuration_is_on_its_page(generate):
    from scalpdesk.config.settings import load_settings

    text = generate.configuration_page()
    loaded = load_settings("gamma-scalper")
    for key in loaded.sources:
        own = key.removeprefix("strategies.gamma-scalper.")
        assert f"`{own}`" in text or f"`{own.partition('.')[2]}`" in text


def test_a_shown_line_that_is_not_printed_is_found(shown_outputs):
    one = shown_outputs.Shown("page", 0, ("demo",), ("P&L = change of NAV  +1.00", "traded: 3 …", "never"))
    assert shown_outputs.missing(one, ["P&L = change of NAV  -22.50", "traded: 1 entry"]) == ["never"]
