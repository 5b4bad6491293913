"""A group of commands that imports the module of a command at the command's first use.

So `relayctl --help` does not import the AWS SDK, which would take most of its time.
"""

from collections.abc import Mapping, MutableMapping
from importlib import import_module
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem


class LazyCommand(NamedTuple):
    """A command that is not imported yet.

    Attributes:
        place: The module and the name of the command in it, such as `relayctl.stack.doctor:doctor`.
        about: The description of the command in the help of its group, one line.
    """

    place: str
    about: str

    def load(self) -> click.Command:
        """Import the module, and return the command."""
        module, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


class LazyGroup(click.Group):
    """A group whose commands are imported at their first use; its help imports none."""

    def __init__(self, *arguments: Any, lazy: Mapping[str, LazyCommand], **members: Any) -> None:
        self.lazy = dict(lazy)
        self._loaded: dict[str, click.Command] = {}
        super().__init__(*arguments, **members)

    @property
    def commands(self) -> MutableMapping[str, click.Command]:
        """All commands by name; imports those that were not used yet."""
        for name in self.lazy:
            self._load(name)
        return self._loaded

    @commands.setter
    def commands(self, commands: Mapping[str, click.Command]) -> None:
        self._loaded = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted({*self._loaded, *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        return self._load(cmd_name) if cmd_name in self.lazy else self._loaded.get(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that begin with the incomplete word; imports no command."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=self._about(name)) for name in names]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._about(name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def _load(self, name: str) -> click.Command:
        if name not in self._loaded:
            self._loaded[name] = self.lazy[name].load()
        return self._loaded[name]

    def _about(self, name: str) -> str:
        return self.lazy[name].about if name in self.lazy else self._loaded[name].get_short_help_str()
