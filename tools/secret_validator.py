"""Write the validator of a channel's secret from its schema: `make schema`.

To compile the schema takes 11 ms of CPU, too long for each cold start of a function.
"""

from pathlib import Path

import fastjsonschema

from relay.channels.schema import CHANNEL

PLACE = Path(__file__).resolve().parents[1] / "layers/relay/relay/channels/secret_validator.py"
_HEAD = '"""Validator of a channel\'s secret, made from `channels.schema` by `make schema`. Do not edit it."""\n\n'


def text() -> str:
    """Return the module's text. Its errors do not say which key is at fault: that would double its size."""
    code: str = fastjsonschema.compile_to_code(CHANNEL, detailed_exceptions=False)
    return f"{_HEAD}{code.rstrip()}\n"


if __name__ == "__main__":
    PLACE.write_text(text(), encoding="utf-8")
