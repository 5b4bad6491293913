"""What AWS refused, in one line."""

from botocore.exceptions import ClientError

DENIED = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"),
    *("ExpiredToken", "ExpiredTokenException"),
}


def refusal(error: ClientError) -> str:
    """The operation, the code and the words of AWS, and where to look if it is a matter of permissions."""
    code, text = error.response["Error"].get("Code", "?"), error.response["Error"].get("Message", "")
    hint = "; relayctl/policies/ has what each verb needs" if code in DENIED else ""
    return f"AWS refused {error.operation_name}: {code}: {text}{hint}"
