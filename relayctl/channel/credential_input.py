"""Option values that may be credentials: from a file, standard input, a prompt, or the command line."""

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import click

from relayctl import terminal
from relayctl.channel.secret_document import holds_text, is_credential, json_fault, typed_value

# Secrets Manager's limit for a secret, in bytes; no value in it can be longer.
MAX_BYTES = 65_536
# Value of an option that was given without one. No process argument can contain this character.
ASK = "\0"
_STDIN = "-"
_NAMED_FILE, _LINE = "the file that @ names", "the line on standard input"
_VISIBLE = "a credential on the command line is visible in the process list and in the shell's history"
_SAFE = "give @FILE, or - for a line of standard input, or no value to be asked"
_OTHERS_MAY_READ = stat.S_IRGRP | stat.S_IROTH


class CredentialCommand(click.Command):
    """Command with credential options. Its usage errors quote no argument, since that may be a credential."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            # The shell completes a line that is not finished.
            return super().parse_args(ctx, args)
        ctx.allow_extra_args = True
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            near = f"; did you mean {' or '.join(error.possibilities)}?" if error.possibilities else ""
            raise click.UsageError(
                "no such option (not shown, it may be a credential); a value that begins with - must be in a file: "
                f"@FILE{near}",
                ctx,
            ) from None
        if ctx.args:
            raise click.UsageError(
                f"{len(ctx.args)} too many arguments after NAME (not shown, they may be credentials); "
                "a key and its value are one argument: --set KEY=@FILE",
                ctx,
            )
        return rest


def credential_option(name: str, text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a credential option to a verb. Given without a value, the option has the value ASK: prompt for it."""
    return click.option(name, is_flag=False, flag_value=ASK, metavar="@FILE|-", help=text)


def flag_of(option: str) -> str:
    """Return an option as the operator types it, such as `--api-key`, from its name in Python, such as `api_key`."""
    return f"--{option.replace('_', '-')}"


def read_value(option: str, key: str, text: str, *, allows_literals: bool = True) -> str:
    """Return an option's value: from `@FILE` (a file), `-` (a line of stdin) or ASK (a prompt), else the text itself.

    At the beginning, `@@` stands for `@`. `key` is the dotted key of the secret. Raises UsageError, which names
    `option`; without `allows_literals` also for a credential that stands in the command line.
    """
    if text == ASK or (text == _STDIN and sys.stdin.isatty()):
        label = key if option.startswith("--set ") else ""
        return judged(option, key, ask(option, label=label), "the answer")
    if text == _STDIN:
        line = _text(option, sys.stdin.buffer.readline(MAX_BYTES + 1), _LINE).rstrip("\r\n")
        return judged(option, key, line, _LINE)
    if text.startswith("@") and not text.startswith("@@"):
        return judged(option, key, _read_file(option, key, text[1:]), _NAMED_FILE)
    value = text.removeprefix("@")
    if _is_credential(key, value):
        if not allows_literals:
            raise click.UsageError(f"{option}: {_VISIBLE}; {_SAFE}")
        terminal.say(f"warning: {option}: {_VISIBLE}; {_SAFE}")
    return value


def _read_file(option: str, key: str, path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        # The message does not name the file: it may be a password that begins with @.
        cause = f"{error.strerror or 'unreadable'}; a value that begins with @ is written @@…"
        raise click.UsageError(f"{option}: cannot read {_NAMED_FILE}: {cause}") from error
    text = _text(option, content, _NAMED_FILE).rstrip("\r\n")
    # A pipe, such as bash's <(…), is not readable by others, whatever its mode.
    if stat.S_ISREG(mode) and mode & _OTHERS_MAY_READ and _is_credential(key, text):
        terminal.say(f"warning: {option}: other users may read {_NAMED_FILE}; chmod 600 it")
    return text


def judged(option: str, key: str, text: str, what: str) -> str:
    """Return the text if it can be the value of a key. Else raise UsageError; `what` names the text's source in it."""
    if not text:
        raise click.UsageError(f"{option}: {what} is empty")
    if fault := json_fault(key, text):
        raise click.UsageError(f"{option}: {what} {fault}")
    if holds_text(key) and ("\n" in text or "\r" in text) and _is_credential(key, text):
        raise click.UsageError(f"{option}: {what} has more than one line")
    return text


def ask(option: str, why: str = "", *, label: str = "", is_hidden: bool = True) -> str:
    """Prompt for a value until it is not empty. Without a terminal, raise UsageError, with `why` after the option."""
    if not sys.stdin.isatty():
        ways = "give @FILE, or - for a line of standard input" if is_hidden else "give a value"
        raise click.UsageError(f"{option}{why}: not a terminal: {ways}")
    label = label or option.removeprefix("--").replace("-", " ")
    return str(click.prompt(label, hide_input=is_hidden, err=True))


def _text(option: str, content: bytes, what: str) -> str:
    if len(content) > MAX_BYTES:
        raise click.UsageError(f"{option}: {what} has more than {MAX_BYTES:,} bytes, which no secret can hold")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise click.UsageError(f"{option}: {what} is not UTF-8 text") from None


def _is_credential(key: str, text: str) -> bool:
    return is_credential(key, typed_value(key, text))
