"""Write the JSON Schema of channels' settings files: `make schema`.

The schema lies in docs/, so that editors can load it from its address. `relayctl channel export` writes the same text
beside the files that it exports.
"""

from pathlib import Path

from relayctl.settings.export import schema_text
from relayctl.settings.settings_file import SCHEMA_FILE

PLACE = Path(__file__).resolve().parents[1] / "docs" / SCHEMA_FILE

if __name__ == "__main__":
    PLACE.write_text(schema_text(), encoding="utf-8")
