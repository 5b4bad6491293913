"""Write the JSON Schema of channels' settings files: `make schema`.

`relayctl channel export` writes the same text beside the files. Editors that know the schema's address use this one.
"""

from pathlib import Path

from relayctl import settings_schema
from relayctl.settings_file import SCHEMA_FILE

PLACE = Path(__file__).resolve().parents[1] / "docs" / SCHEMA_FILE

if __name__ == "__main__":
    PLACE.write_text(settings_schema.text(), encoding="utf-8")
