"""The worker function, invoked and waited for."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from relay.replay import WorkerError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


class Worker:
    """Invokes the worker function with one job at a time, so that what became of each is known."""

    def __init__(self, client: "LambdaClient", function: str) -> None:
        self._client = client
        self._function = function

    def __call__(self, envelope: str) -> Mapping[str, Any]:
        """The worker's result for a job. Raises WorkerError when it gives none: the job may have been done or not."""
        try:
            answer = self._client.invoke(FunctionName=self._function, Payload=json.dumps({"jobs": [envelope]}))
            payload: Any = json.loads(answer["Payload"].read())
        except ClientError as error:
            raise WorkerError(f"the worker was not invoked: {error.response['Error'].get('Code')}") from error
        except (BotoCoreError, ValueError) as error:
            raise WorkerError(f"the worker's answer did not arrive: {type(error).__name__}") from error
        results = payload.get("results") if isinstance(payload, dict) else None
        match results:
            case [dict() as result] if not answer.get("FunctionError"):
                return result
        kind = payload.get("errorType", "no result") if isinstance(payload, dict) else "no result"
        raise WorkerError(f"the worker failed: {kind}; its log says more")
