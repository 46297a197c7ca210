"""What the guides name is there: links, files, commands and their options, modules, extras."""

from __future__ import annotations

import argparse
import functools
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from core_server.cli import make_parser

ROOT = Path(__file__).parents[1]


@functools.cache
def tracked(pattern: str) -> tuple[str, ...]:
    listing = subprocess.run(
        ["git", "ls-files", pattern], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return tuple(listing.stdout.split())


GUIDES = tracked("*.md")
FOREIGN_OPTIONS = {"--no-install-recommends", "--background", "--ignore-existing"}
"""Of apt-get, Blender and rsync."""

scumble_parser = functools.cache(make_parser)


def slug(heading: str) -> str:
    """A heading as the anchor that it gets where the guides are read."""
    plain = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return plain.replace(" ", "-")


def option_strings(parser: argparse.ArgumentParser) -> set[str]:
    return {text for action in parser._actions for text in action.option_strings}


def all_options(parser: argparse.ArgumentParser) -> frozenset[str]:
    return frozenset(option_strings(parser)).union(*map(all_options, subcommands(parser).values()))


@functools.cache
def known_options() -> frozenset[str]:
    """Of every program of ours: those of the parsers, and those that stand in the sources."""
    sources = ((ROOT / name).read_text(encoding="utf-8") for name in tracked("*.py"))
    written = (it for text in sources for it in re.findall(r"[\"'](--[a-z][a-z0-9-]*)[\"']", text))
    return all_options(scumble_parser()) | FOREIGN_OPTIONS | set(written)


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def code_of(guide: str) -> list[str]:
    """What stands in code: inline pieces, and lines of blocks with those that a backslash continues."""
    text = (ROOT / guide).read_text(encoding="utf-8")
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    text = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^(?: {4}|\t)(.*)$", text, re.MULTILINE)
    lines = [line for block in fenced for line in block.replace("\\\n", " ").splitlines()]
    drawn = ("─", "│", "┘", "┐")
    lines = [line for line in lines if not any(stroke in line for stroke in drawn)]
    return [*lines, *indented, *(" ".join(it.split()) for it in re.findall(r"`([^`]+)`", text))]


@pytest.mark.parametrize("guide", GUIDES)
def test_links_lead_somewhere(guide: str) -> None:
    folder = (ROOT / guide).parent
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", (ROOT / guide).read_text(encoding="utf-8")):
        if re.match(r"https?:", link):
            continue
        name, _, anchor = link.partition("#")
        target = folder / name if name else ROOT / guide
        headings = (
            re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            if anchor and target.is_file()
            else []
        )
        if not target.exists() or (anchor and anchor not in map(slug, headings)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("guide", GUIDES)
def test_files_of_ours_exist(guide: str) -> None:
    """Program files are named from the root, or from the folder that the guide is about."""
    named = {
        name
        for code in code_of(guide)
        for name in re.findall(r"^[\w./-]+\.(?:py|jsx|mjs|proto|sh|sql)$", code)
    }
    absent = {it for it in named if not any(f"/{path}".endswith(f"/{it}") for path in tracked("*"))}
    assert {it for it in absent if not (ROOT / guide).parent.joinpath(it).exists()} == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_commands_take_what_the_guides_give_them(guide: str) -> None:
    """Every `scumble COMMAND ... --option`."""
    wrong = []
    for code in code_of(guide):
        for call in re.findall(r"^(?:.*[/(])?scumble ([a-z].*)", code):
            parser, words = scumble_parser(), call.split(" # ")[0].split()
            while words and words[0] in subcommands(parser):
                parser = subcommands(parser)[words.pop(0)]
            if (known := subcommands(parser)) and words and words[0].islower():
                wrong += [call] if set(words[0].split("|")) - set(known) else []
            given = {word.split("=")[0].rstrip(",;)") for word in words if word.startswith("--")}
            wrong += [f"{call}: {option}" for option in given - option_strings(parser)]
    assert wrong == []


@pytest.mark.parametrize("guide", GUIDES)
def test_options_exist(guide: str) -> None:
    """Every `--option`, of whatever program of ours."""
    named = {
        it for code in code_of(guide) for it in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", code)
    }
    assert named - known_options() == set()


@pytest.mark.parametrize("guide", GUIDES)
def test_modules_that_are_run_exist(guide: str) -> None:
    modules = {it for code in code_of(guide) for it in re.findall(r"-m ((?:\w+\.)*\w+)", code)}
    ours = {it for it in modules if it.split(".")[0] in {path.name for path in ROOT.iterdir()}}
    files = {it: ROOT.joinpath(*it.split(".")) for it in ours}
    assert {
        it
        for it, file in files.items()
        if not file.with_suffix(".py").exists() and not (file / "__main__.py").exists()
    } == set()


def test_extras_that_the_guides_install_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    text = "".join((ROOT / guide).read_text(encoding="utf-8") for guide in GUIDES)
    named = {
        it for group in re.findall(r"(?:scumble|\.)\[([\w,]+)\]\"", text) for it in group.split(",")
    }
    assert named
    assert named - set(extras) == set()
