from core_server.commands.later import not_yet
from core_server.commands.options import Subparsers, add_command


def register(subparsers: Subparsers) -> None:
    add_command(subparsers, "jobs", not_yet("jobs"), "jobs")
