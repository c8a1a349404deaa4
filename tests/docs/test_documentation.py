"""What the documentation says is so: its commands, its links, its tables."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from mlops_assets.cli.program import program
from mlops_assets.settings import ROOT, Settings

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SHELL_BLOCK = re.compile(r"^```shell\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)")
ANCHOR = re.compile(r"\[[^\]]*\]\(((?!https?:)[^)#\s]*)#([^)\s]+)\)")
TITLE = re.compile(r"^#+ (.+)$", re.MULTILINE)
HEADING = re.compile(r"^\|\s*`([A-Z_]+)`", re.MULTILINE)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def commands(page: Path) -> Iterator[list[str]]:
    for block in SHELL_BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words = words[1:]
            if words:
                yield words


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_into_a_page_leads_to_a_heading(page: Path) -> None:
    for file, anchor in ANCHOR.findall(page.read_text()):
        target = (page.parent / file) if file else page
        assert anchor in set(map(_anchor, TITLE.findall(target.read_text()))), f"{file}#{anchor}"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_of_the_documentation_exists(page: Path) -> None:
    for words in commands(page):
        _require(words)


def _require(words: list[str]) -> None:
    tool, *arguments = words
    tool = tool.removeprefix(".venv/bin/")
    check = {
        "make": _require_target,
        "mlops-assets": _require_command,
        "pytest": _require_paths,
        "dagster": _require_help,
        "kubectl": _require_manifests,
    }
    assert tool in {*check, "git", "cd", "pg_dumpall"}, words
    if tool in check:
        check[tool](arguments)


def _require_target(arguments: list[str]) -> None:
    planned = subprocess.run(
        ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert planned.returncode == 0, planned.stderr


def _require_command(arguments: list[str]) -> None:
    found: click.Command = program
    context = click.Context(program, info_name="mlops-assets")
    while isinstance(found, click.Group):
        word, *arguments = arguments
        inner = found.get_command(context, word)
        assert inner is not None, f"mlops-assets has no command {word}"
        found = inner
    found.make_context(str(found.name), arguments, parent=context)


def _require_paths(arguments: list[str]) -> None:
    for path in arguments:
        if not path.startswith("-") and "/" in path:
            assert (ROOT / path.partition("::")[0]).exists(), path


def _require_help(arguments: list[str]) -> None:
    from dagster._cli import create_dagster_cli

    command: click.Command = create_dagster_cli()
    context = click.Context(command, info_name="dagster")
    for word in arguments:
        if not isinstance(command, click.Group):
            break
        found = command.get_command(context, word)
        assert found is not None, f"dagster has no command {word}"
        command = found
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in arguments if word.startswith("-")} <= known


def _require_manifests(arguments: list[str]) -> None:
    """That what `kubectl` is given exists, and so does what it executes in a pod."""
    for word in arguments:
        path = word.partition("=")[2] if word.startswith(("--filename=", "--kustomize=")) else word
        if "infra/" in path:
            assert (ROOT / path).exists(), path
    if "--" in arguments:
        _require(arguments[arguments.index("--") + 1 :])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    broken = [link for link in links if not (page.parent / link).exists()]
    assert broken == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {(ROOT / link).resolve() for link in LINK.findall((ROOT / "README.md").read_text())}
    assert set(PAGES) - {ROOT / "README.md"} <= reached


def test_the_settings_table_lists_what_the_settings_read_and_nothing_else() -> None:
    read = {str(field.validation_alias) for field in Settings.model_fields.values()}
    listed = HEADING.findall((ROOT / "docs" / "settings.md").read_text())
    assert sorted(listed) == sorted(read)


@pytest.mark.parametrize(
    "package", sorted((ROOT / "mlops_assets").rglob("__init__.py")), ids=lambda p: p.parent.name
)
def test_every_package_opens_with_its_charter(package: Path) -> None:
    charter = re.match(r'"""(.+?)"""', package.read_text(), re.DOTALL)
    assert charter is not None
    assert len(charter[1].split()) >= 15


def test_no_package_is_empty_or_without_a_charter() -> None:
    folders = {module.parent for module in (ROOT / "mlops_assets").rglob("*.py")}
    loose = {folder for folder in folders if not (folder / "__init__.py").exists()}
    assert loose == set()
    packages = {name(folder) for folder in folders if folder.parent.name == "mlops_assets"}
    described = (ROOT / "docs" / "architecture.md").read_text()
    assert {p for p in packages if f"| `{p.rpartition('/')[2]}` |" not in described} == set()
