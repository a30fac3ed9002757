"""What a refusal says to type where a part is missing: it resolves from where the program came."""

import json
import shlex

import pytest

from scalpdesk.core.installing import install_line

EXTRAS = ['scalpdesk-alpaca==0.2.0 ; extra == "alpaca"', 'psycopg>=3 ; extra == "postgres"', "numpy>=2"]


class Program:
    """An installed program, by what stands in its metadata."""

    requires = EXTRAS

    def __init__(self, url=None):
        self.url = url

    def read_text(self, name):
        return None if self.url is None or name != "direct_url.json" else json.dumps({"url": self.url})


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "a desk" / "parts" / "alpaca").mkdir(parents=True)
    return tmp_path / "a desk"


def test_in_a_checkout_the_line_installs_the_parts_own_folder(checkout):
    words = shlex.split(install_line("scalpdesk[alpaca]", Program(checkout.as_uri())))
    assert words == ["pip", "install", "-e", str(checkout / "parts" / "alpaca"), "scalpdesk[alpaca]"]
    assert shlex.split(install_line("scalpdesk-alpaca", Program(checkout.as_uri()))) == words[:4]


def test_a_part_comes_from_the_folder_of_the_programs_wheel(tmp_path):
    wheel = tmp_path / "scalpdesk-0.2.0-py3-none-any.whl"
    words = shlex.split(install_line("scalpdesk[alpaca]", Program(wheel.as_uri())))
    assert words == ["pip", "install", "--find-links", str(tmp_path), "scalpdesk[alpaca]"]


@pytest.mark.parametrize("target", ["scalpdesk[postgres]", "scalpdesk[alpaca]"])
def test_all_else_comes_from_an_index(target):
    assert install_line(target, Program()) == f'pip install "{target}"'


def test_an_extra_without_parts_needs_no_folder(checkout):
    assert (
        install_line("scalpdesk[postgres]", Program(checkout.as_uri())) == 'pip install "scalpdesk[postgres]"'
    )
