"""Messages to SNS topics: a subject, a text for each protocol, and attributes to filter by."""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from relay.foreign_text import ELLIPSIS

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient

# SNS takes a subject of less than 100 characters, and an SMS has 140 bytes (docs/vendors.md, "What SNS takes").
MAX_SUBJECT = 99
MAX_SMS = 140


def publish(
    client: "Callable[[], SNSClient]",
    topic_arn: str,
    subject: str,
    texts: Mapping[str, str],
    attributes: Mapping[str, str],
) -> bool:
    """Publish one message. Return False if SNS does not accept it. `texts` are by protocol, with a `default`."""
    try:
        client().publish(
            TopicArn=topic_arn,
            Subject=plain(subject, MAX_SUBJECT),
            # Not escaped: SNS accepts 256 KB, and one escaped character can take 12 bytes.
            Message=json.dumps(texts, ensure_ascii=False),
            MessageStructure="json",
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        )
    except (ClientError, BotoCoreError):
        return False
    return True


def texts(whole: str, sms: str) -> dict[str, str]:
    """Return the message by protocol: a short text for SMS, and the full text for all others."""
    return {"default": whole, "email": whole, "sms": plain(sms, MAX_SMS)}


def plain(text: str, most: int) -> str:
    """Return the text in printable ASCII, cut to `most` characters.

    SNS refuses other characters in a subject, and with them an SMS has room for half as many.
    """
    spelled = text.replace(ELLIPSIS, "...")
    plain = "".join(character if " " <= character <= "~" else "?" for character in spelled)
    return plain if len(plain) <= most else plain[: most - 3] + "..."
