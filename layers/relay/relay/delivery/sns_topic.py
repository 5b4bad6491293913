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
    """Publish one message. Return False if SNS does not accept it.

    `texts` has the text for each protocol, such as `sms`, and the `default`. Subscribers filter by `attributes`.
    """
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
    return {"default": whole, "email": whole, "sms": short(sms)}


def plain(text: str, most: int) -> str:
    """Return the text in printable ASCII, cut to `most` characters: SNS refuses other characters in a subject."""
    return short("".join(each if " " <= each <= "~" or each == ELLIPSIS else "?" for each in text), most)


def short(text: str, most: int = MAX_SMS) -> str:
    """Return an SMS's text, cut to `most` characters. `…` becomes `...`: AWS splits an SMS with unusual characters."""
    spelled = text.replace(ELLIPSIS, "...")
    return spelled if len(spelled) <= most else spelled[: most - 3] + "..."
