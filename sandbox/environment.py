"""Environment variables that lead to the local cloud, and never to an AWS account."""

import os
from collections.abc import Mapping, MutableMapping

REGION = "us-east-1"


def aws_environment(endpoint_url: str) -> dict[str, str]:
    """Return the AWS variables that lead to the cloud at `endpoint_url`, and to no other."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1,localhost",
    }


def without_aws(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without its AWS variables, which could lead to an AWS account."""
    return {name: value for name, value in environment.items() if not name.startswith("AWS_")}


def leave_aws(environment: MutableMapping[str, str]) -> None:
    """Change the AWS variables of `environment` so that AWS clients reach no AWS account and no local cloud.

    A client of the local cloud must then be given the cloud's URL explicitly.
    """
    kept = without_aws(environment) | aws_environment("http://127.0.0.1:1")
    environment.clear()
    environment.update(kept)
