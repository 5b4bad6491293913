"""The API, the functions and their permissions after SAM's transform; the local cloud ignores many of them.

`${Name}` in an expected value is a reference that only a deployment can fill in.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from relay.config import Config
from relay.entrypoints.worker import FALLBACK_SECONDS, JOB_SECONDS
from relay.jobs.queue import QUEUE_SECONDS
from relay.ledger.credentials import MARKS_KEY
from tests.artefact import templates
from tests.artefact.templates import TEMPLATE, Stack, of_clone

READ_CHANNELS = {
    "Sid": "ReadChannels",
    "Effect": "Allow",
    "Action": "secretsmanager:GetSecretValue",
    "Resource": "arn:aws:secretsmanager:us-east-1:123456789012:secret:relay/*",
}

# AWS has no narrower permission for this action.
LIST_CHANNELS = {
    "Sid": "ListChannels",
    "Effect": "Allow",
    "Action": "secretsmanager:ListSecrets",
    "Resource": "*",
}
# AWS has no narrower permission for these, either.
WRITE_TRACES = {
    "Sid": "WriteTraces",
    "Effect": "Allow",
    "Action": ["xray:PutTraceSegments", "xray:PutTelemetryRecords"],
    "Resource": "*",
}
USE_THE_LEDGER = {
    "Sid": "UseTheLedger",
    "Effect": "Allow",
    "Action": ["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
    "Resource": "${LedgerTable.Arn}",
}
KEEP_JOBS = {
    "Sid": "KeepJobs",
    "Effect": "Allow",
    "Action": "sqs:SendMessage",
    "Resource": ["${RetryQueue.Arn}", "${ChoreQueue.Arn}", "${DeadLetterQueue.Arn}"],
}
TELL_THE_FALLBACK = {
    "Sid": "TellTheFallback",
    "Effect": "Allow",
    "Action": "sns:Publish",
    "Resource": "${FallbackTopic}",
}


def write_logs(group: str) -> dict[str, Any]:
    return {
        "Sid": "WriteLogs",
        "Effect": "Allow",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": f"${{{group}.Arn}}",
    }


# Every permission of each function. A new permission needs a reason, and an entry here.
PERMISSIONS = {
    "BigPandaWebhookRole": [READ_CHANNELS, USE_THE_LEDGER, KEEP_JOBS, write_logs("BigPandaWebhookLogGroup")],
    # The callback only queues chores: it sends no signal, reads no incident of the ledger and receives no message.
    "XMattersCallbackRole": [
        READ_CHANNELS,
        {
            "Sid": "ReadChangeMarks",
            "Effect": "Allow",
            "Action": "dynamodb:GetItem",
            "Resource": "${LedgerTable.Arn}",
            "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [MARKS_KEY]}},
        },
        {
            "Sid": "NoteUses",
            "Effect": "Allow",
            "Action": "dynamodb:PutItem",
            "Resource": "${LedgerTable.Arn}",
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["used/callback/*"]}},
        },
        {
            "Sid": "KeepChores",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": ["${ChoreQueue.Arn}", "${DeadLetterQueue.Arn}"],
        },
        write_logs("XMattersCallbackLogGroup"),
    ],
    "JobWorkerRole": [
        READ_CHANNELS,
        USE_THE_LEDGER,
        KEEP_JOBS,
        {
            "Sid": "TakeJobs",
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": "${RetryQueue.Arn}",
        },
        {
            "Sid": "ReadDebtsAfterAnOutage",
            "Effect": "Allow",
            "Action": "dynamodb:BatchGetItem",
            "Resource": "${LedgerTable.Arn}",
        },
        {
            "Sid": "ListDebtsAfterAnOutage",
            "Effect": "Allow",
            "Action": "dynamodb:Query",
            "Resource": "${LedgerTable.Arn}/index/due",
        },
        TELL_THE_FALLBACK,
        write_logs("JobWorkerLogGroup"),
    ],
    "ChoreWorkerRole": [
        READ_CHANNELS,
        USE_THE_LEDGER,
        KEEP_JOBS,
        {
            "Sid": "TakeChores",
            "Effect": "Allow",
            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            "Resource": "${ChoreQueue.Arn}",
        },
        TELL_THE_FALLBACK,
        write_logs("ChoreWorkerLogGroup"),
    ],
    # It receives no message.
    "ReconcileRole": [
        READ_CHANNELS,
        LIST_CHANNELS,
        {
            "Sid": "CompareWithTheLedger",
            "Effect": "Allow",
            "Action": ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:UpdateItem"],
            "Resource": "${LedgerTable.Arn}",
        },
        {
            "Sid": "QueueWhatWasMissed",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": ["${RetryQueue.Arn}", "${ChoreQueue.Arn}"],
        },
        TELL_THE_FALLBACK,
        write_logs("ReconcileLogGroup"),
    ],
    "SweeperRole": [
        READ_CHANNELS,
        {
            "Sid": "ReadAndChangeDebts",
            "Effect": "Allow",
            "Action": ["dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"],
            "Resource": "${LedgerTable.Arn}",
        },
        {
            "Sid": "ListDebts",
            "Effect": "Allow",
            "Action": "dynamodb:Query",
            "Resource": "${LedgerTable.Arn}/index/due",
        },
        {
            "Sid": "ReplaceMessages",
            "Effect": "Allow",
            "Action": "sqs:SendMessage",
            "Resource": ["${RetryQueue.Arn}", "${DeadLetterQueue.Arn}"],
        },
        {
            "Sid": "SeeHowMuchWaits",
            "Effect": "Allow",
            "Action": "sqs:GetQueueAttributes",
            "Resource": ["${RetryQueue.Arn}", "${DeadLetterQueue.Arn}"],
        },
        {
            "Sid": "InvokeTheWorker",
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": "${JobWorkerFunction.Arn}",
        },
        {"Sid": "NotifyTheFallback", "Effect": "Allow", "Action": "sns:Publish", "Resource": "${FallbackTopic}"},
        write_logs("SweeperLogGroup"),
    ],
}
PHONES = "+14255550100,+14255550101"
VOICE = "arn:aws:sms-voice:us-east-1:123456789012:phone-number/phone-1234"
TEXT = "arn:aws:sms-voice:us-east-1:123456789012:sender-id/RELAY/DE"
CALL_PHONES = {"Sid": "CallPhones", "Effect": "Allow", "Action": "sms-voice:SendVoiceMessage", "Resource": VOICE}
TEXT_PHONES = {"Sid": "TextPhones", "Effect": "Allow", "Action": "sms-voice:SendTextMessage", "Resource": TEXT}
ALARM_TOPIC, NOTICE_TOPIC = "arn:aws:sns:us-east-1:123456789012:wake", "arn:aws:sns:us-east-1:123456789012:tomorrow"
# The variables that not every function has.
SOMETIMES = {
    "RELAY_FALLBACK_TOPIC_ARN",
    "RELAY_JOB_WORKER",
    "RELAY_ALARM_TOPIC_ARN",
    "RELAY_NOTICE_TOPIC_ARN",
    "RELAY_FALLBACK_PHONES",
    "RELAY_FALLBACK_VOICE_IDENTITY",
    "RELAY_FALLBACK_TEXT_IDENTITY",
    "RELAY_HEARTBEAT_URL",
    "RELAY_WEBHOOK_URL",
}
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/0a1b2c3d-0000-4000-8000-000000000000"
KEY = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d-0000-4000-8000-000000000000"


def _key(sid: str, service: str, *actions: str) -> dict[str, Any]:
    """Return the policy statement that allows the use of a customer KMS key only through one AWS service."""
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": list(actions) if len(actions) > 1 else actions[0],
        "Resource": KEY,
        "Condition": {"StringEquals": {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}},
    }


KEY_FOR_CHANNELS = _key("KeyForChannels", "secretsmanager", "kms:Decrypt")
KEY_FOR_QUEUES = _key("KeyForQueues", "sqs", "kms:GenerateDataKey", "kms:Decrypt")
KEY_FOR_THE_TOPIC = _key("KeyForTheTopic", "sns", "kms:GenerateDataKey", "kms:Decrypt")
KEY_FOR_THE_LEDGER = _key(
    "KeyForTheLedger",
    "dynamodb",
    *("kms:DescribeKey", "kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
    *("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"),
)
ALWAYS = [KEY_FOR_CHANNELS, KEY_FOR_QUEUES]
# A role's additional permissions with a customer KMS key.
BY_KEY = {
    "BigPandaWebhookRole": [*ALWAYS, KEY_FOR_THE_LEDGER],
    "XMattersCallbackRole": [*ALWAYS, KEY_FOR_THE_LEDGER],
    "JobWorkerRole": [*ALWAYS, KEY_FOR_THE_LEDGER, KEY_FOR_THE_TOPIC],
    "ChoreWorkerRole": [*ALWAYS, KEY_FOR_THE_LEDGER, KEY_FOR_THE_TOPIC],
    "SweeperRole": [*ALWAYS, KEY_FOR_THE_LEDGER, KEY_FOR_THE_TOPIC],
    "ReconcileRole": [*ALWAYS, KEY_FOR_THE_LEDGER, KEY_FOR_THE_TOPIC],
}
TIMEOUTS = {"BigPandaWebhookFunction": 15, "XMattersCallbackFunction": 15, "ReconcileFunction": 900}
TIMEOUTS |= {"JobWorkerFunction": 30, "ChoreWorkerFunction": 30, "SweeperFunction": 60}
# The queue of each worker.
WORKERS = {"JobWorkerFunction": "RetryQueue", "ChoreWorkerFunction": "ChoreQueue"}
ROUTES = {
    "/bigpanda/{channel}": "BigPandaWebhookFunction",
    "/xmatters/{channel}": "XMattersCallbackFunction",
}


ANYBODY = {
    "Sid": "Anybody",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "execute-api:Invoke",
    "Resource": "execute-api:/*",
}
TLS_ONLY = ANYBODY | {
    "Sid": "TlsOnly",
    "Effect": "Deny",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


class _Asked(dict[str, str]):
    """Environment variables that record which names were read."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


class TestApi:
    @pytest.mark.parametrize("kind", ["THROTTLED", "INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "DEFAULT_5XX"])
    def test_api_gateways_own_transient_failures_are_answered_503(self, on_aws: Stack, kind: str) -> None:
        answer = on_aws.only("AWS::ApiGateway::RestApi")["Body"]["x-amazon-apigateway-gateway-responses"][kind]
        assert answer["statusCode"] == "503"
        assert json.loads(answer["responseTemplates"]["application/json"]).keys() == {"error", "detail"}

    def test_api_hands_every_body_on_as_bytes(self, on_aws: Stack) -> None:
        body = on_aws.only("AWS::ApiGateway::RestApi")["Body"]
        assert body["x-amazon-apigateway-binary-media-types"] == ["*/*"]
        assert on_aws.only("AWS::ApiGateway::RestApi")["BinaryMediaTypes"] == ["*~1*"]

    def test_api_has_only_the_two_routes_each_with_its_function(self, on_aws: Stack) -> None:
        paths = on_aws.only("AWS::ApiGateway::RestApi")["Body"]["paths"]
        assert {path: set(methods) for path, methods in paths.items()} == {path: {"post"} for path in ROUTES}
        for path, function in ROUTES.items():
            integration = paths[path]["post"]["x-amazon-apigateway-integration"]
            assert integration["type"] == "aws_proxy"
            assert f"${{{function}.Arn}}" in integration["uri"]

    def test_api_has_one_throttled_stage(self, on_aws: Stack) -> None:
        assert "StageName" not in on_aws.only("AWS::ApiGateway::Deployment"), "SAM makes a second stage of it"
        stage = on_aws.only("AWS::ApiGateway::Stage")
        assert stage["StageName"] == "v1"
        [settings] = stage["MethodSettings"]
        assert (settings["ResourcePath"], settings["HttpMethod"]) == ("/*", "*")
        assert (settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]) == (1000, 2000)
        # API Gateway's execution log would contain headers and bodies.
        assert not settings.keys() & {"LoggingLevel", "DataTraceEnabled"}

    def test_api_requires_tls_1_2(self, on_aws: Stack) -> None:
        api = on_aws.only("AWS::ApiGateway::RestApi")
        # Without a security policy a regional API accepts TLS 1.0.
        assert (api["SecurityPolicy"], api["EndpointAccessMode"]) == ("SecurityPolicy_TLS13_1_2_2021_06", "BASIC")

    @pytest.mark.parametrize("parameters", [{"Profile": "local"}, {"ApiSecurityPolicy": ""}])
    def test_api_has_no_access_mode_without_a_security_policy(self, parameters: dict[str, str]) -> None:
        api = of_clone(**parameters).only("AWS::ApiGateway::RestApi")
        assert not api.keys() & {"SecurityPolicy", "EndpointAccessMode"}

    def test_own_host_name_serves_the_same_paths_with_the_apis_versions_of_tls(self) -> None:
        chosen = of_clone(DomainName="relay.example.com", CertificateArn=CERTIFICATE)
        assert chosen.only("AWS::ApiGateway::DomainName") == {
            "DomainName": "relay.example.com",
            "RegionalCertificateArn": CERTIFICATE,
            "EndpointConfiguration": {"Types": ["REGIONAL"]},
            "SecurityPolicy": "SecurityPolicy_TLS13_1_2_2021_06",
            "EndpointAccessMode": "BASIC",
        }
        # The access log's paths then begin with the stage's name, as without a host name: a metric filter reads them.
        [stage] = chosen.of_type("AWS::ApiGateway::Stage")
        assert chosen.only("AWS::ApiGateway::BasePathMapping") == {
            "DomainName": "${Domain}",
            "BasePath": chosen.only("AWS::ApiGateway::Stage")["StageName"],
            "RestApiId": "${Api}",
            "Stage": f"${{{stage}}}",
        }
        assert {name: chosen.outputs[name]["Value"] for name in ("BigPandaWebhookUrl", "XMattersCallbackUrl")} == {
            "BigPandaWebhookUrl": "https://relay.example.com/v1/bigpanda/{channel}",
            "XMattersCallbackUrl": "https://relay.example.com/v1/xmatters/{channel}",
        }
        assert chosen.outputs["DomainTarget"]["Value"] == "${Domain.RegionalDomainName}"
        variables = chosen.of_type("AWS::Lambda::Function")["SweeperFunction"]["Environment"]["Variables"]
        assert variables["RELAY_WEBHOOK_URL"] == "https://relay.example.com/v1/bigpanda/{channel}"

    def test_own_host_name_takes_no_tls_1_0_where_the_api_does(self) -> None:
        chosen = of_clone(DomainName="relay.example.com", CertificateArn=CERTIFICATE, ApiSecurityPolicy="")
        domain = chosen.only("AWS::ApiGateway::DomainName")
        assert (domain["SecurityPolicy"], "EndpointAccessMode" in domain) == ("TLS_1_2", False)

    def test_local_cloud_makes_no_host_name(self) -> None:
        chosen = of_clone(DomainName="relay.example.com", CertificateArn=CERTIFICATE, Profile="local")
        assert "Domain" not in chosen.resources
        assert "execute-api" in chosen.outputs["BigPandaWebhookUrl"]["Value"]

    def test_api_is_open_to_all_addresses_over_tls_by_default(self, on_aws: Stack) -> None:
        assert _policy(on_aws) == [ANYBODY, TLS_ONLY]
        # Without TLSOnly, since the local cloud has no TLS.
        assert _policy(of_clone(Profile="local", AllowedSourceCidrs="192.0.2.0/24")) == [ANYBODY]

    def test_api_denies_all_but_the_allowed_source_addresses(self) -> None:
        assert _policy(of_clone(AllowedSourceCidrs="192.0.2.0/24,2001:db8::/32")) == [
            ANYBODY,
            TLS_ONLY,
            {
                "Sid": "AllowedSourcesOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "execute-api:Invoke",
                "Resource": "execute-api:/*",
                "Condition": {"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}},
            },
        ]

    def test_change_of_allowed_sources_makes_a_new_api_deployment(self) -> None:
        chosen = [of_clone(AllowedSourceCidrs=each) for each in ("", "192.0.2.0/24", "198.51.100.0/24")]
        deployments = {name for each in chosen for name in each.of_type("AWS::ApiGateway::Deployment")}
        assert len(deployments) == 3

    def test_web_acl_is_associated_with_the_api_stage(self, on_aws: Stack) -> None:
        assert on_aws.of_type("AWS::WAFv2::WebACLAssociation") == {}
        arn = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/relay/a1b2"
        assert of_clone(WebAclArn=arn).only("AWS::WAFv2::WebACLAssociation") == {
            "WebACLArn": arn,
            "ResourceArn": "arn:aws:apigateway:us-east-1::/restapis/${Api}/stages/${Apiv1Stage}",
        }
        assert of_clone(WebAclArn=arn, Profile="local").of_type("AWS::WAFv2::WebACLAssociation") == {}

    def test_access_logs_are_json_without_credentials_bodies_or_queries(self, on_aws: Stack) -> None:
        setting = on_aws.only("AWS::ApiGateway::Stage")["AccessLogSetting"]
        assert setting["DestinationArn"].endswith(":log-group:${AccessLogGroup}")
        assert "\n" not in setting["Format"]
        assert json.loads(setting["Format"]) == {
            "request_id": "$context.requestId",
            "time": "$context.requestTimeEpoch",
            "path": "$context.path",
            "status": "$context.status",
            "integration_status": "$context.integrationStatus",
            "latency_ms": "$context.responseLatency",
            "error_type": "$context.error.responseType",
            "source_ip": "$context.identity.sourceIp",
            "user_agent": "$context.identity.userAgent",
        }

    @pytest.mark.parametrize(("mode", "logs", "role"), [("create-role", 1, 1), ("role-exists", 1, 0), ("off", 0, 0)])
    def test_access_logs_and_their_role_are_as_chosen(self, mode: str, logs: int, role: int) -> None:
        chosen = of_clone(ApiGatewayLogging=mode)
        assert ("AccessLogSetting" in chosen.only("AWS::ApiGateway::Stage")) == bool(logs)
        assert ("AccessLogGroup" in chosen.resources) == bool(logs)
        assert len(chosen.of_type("AWS::ApiGateway::Account")) == role
        assert ("ApiGatewayRole" in chosen.resources) == bool(role)

    def test_api_stage_depends_on_the_role_of_its_access_logs(self, on_aws: Stack) -> None:
        # By a property: a reference in `Metadata` is not documented to be a dependency.
        [tag] = on_aws.resources["AccessLogGroup"]["Properties"]["Tags"]
        assert tag["Value"] == "${ApiGatewayAccount}"
        assert "${AccessLogGroup}" in on_aws.only("AWS::ApiGateway::Stage")["AccessLogSetting"]["DestinationArn"]
        [tag] = of_clone(ApiGatewayLogging="role-exists").resources["AccessLogGroup"]["Properties"]["Tags"]
        assert re.fullmatch(r"[\w .:/=+\-@]+", tag["Value"])

    def test_accounts_logging_role_is_retained_when_the_stack_is_removed(self, on_aws: Stack) -> None:
        for name in ("ApiGatewayRole", "ApiGatewayAccount"):
            assert on_aws.resources[name]["DeletionPolicy"] == "Retain"
            assert on_aws.resources[name]["UpdateReplacePolicy"] == "Retain"

    def test_only_this_api_may_invoke_each_function_and_only_by_its_route(self, on_aws: Stack) -> None:
        permissions = [each for each in on_aws.of_type("AWS::Lambda::Permission").values() if not _is_scheduled(each)]
        assert {each["Principal"] for each in permissions} == {"apigateway.amazonaws.com"}
        allowed = {each["FunctionName"]: each["SourceArn"].partition(":${Api}")[2] for each in permissions}
        assert allowed == {
            "${BigPandaWebhookFunction}": "/*/POST/bigpanda/*",
            "${XMattersCallbackFunction}": "/*/POST/xmatters/*",
        }
        assert len(permissions) == len(allowed)

    def test_schedule_rules_invoke_only_the_reconcile_function_and_the_sweeper(self, on_aws: Stack) -> None:
        rules = on_aws.of_type("AWS::Events::Rule")
        woken = {rule["Targets"][0]["Arn"]: rule["ScheduleExpression"] for rule in rules.values()}
        assert woken == {"${ReconcileFunction.Arn}": "rate(5 minutes)", "${SweeperFunction.Arn}": "rate(1 minute)"}
        allowed = [each for each in on_aws.of_type("AWS::Lambda::Permission").values() if _is_scheduled(each)]
        assert {each["FunctionName"] for each in allowed} == {"${ReconcileFunction}", "${SweeperFunction}"}
        assert {each["SourceArn"] for each in allowed} == {f"${{{name}.Arn}}" for name in rules}

    def test_runs_that_lambda_had_no_room_for_are_dropped_soon(self, on_aws: Stack) -> None:
        # Otherwise Lambda keeps them for six hours, and runs them all at once when it has room again.
        invoked = on_aws.of_type("AWS::Lambda::EventInvokeConfig").values()
        ages = {each["FunctionName"]: each["MaximumEventAgeInSeconds"] for each in invoked}
        assert ages == {"${SweeperFunction}": 60, "${ReconcileFunction}": 120, "${JobWorkerFunction}": 60}
        assert {each["MaximumRetryAttempts"] for each in invoked} == {0}

    def test_stack_with_reconcile_off_has_no_reconcile_resources(self) -> None:
        chosen = of_clone(ReconcileMinutes="0")
        assert [name for name in (*chosen.resources, *chosen.outputs) if "Reconcile" in name or "Missed" in name] == []
        assert list(chosen.of_type("AWS::Events::Rule")) == ["SweeperFunctionEveryMinute"]

    @pytest.mark.parametrize("minutes", ["2", "60"])
    def test_reconcile_schedule_follows_its_parameter(self, minutes: str) -> None:
        rules = of_clone(ReconcileMinutes=minutes).of_type("AWS::Events::Rule")
        rule = rules["ReconcileFunctionEvery"]
        assert rule["ScheduleExpression"] == f"rate({minutes} minutes)"


def _policy(stack: Stack) -> list[dict[str, Any]]:
    """Return the statements of the API's resource policy."""
    policy = stack.only("AWS::ApiGateway::RestApi")["Body"]["x-amazon-apigateway-policy"]
    assert policy["Version"] == "2012-10-17"
    return list(policy["Statement"])


def _is_scheduled(permission: dict[str, Any]) -> bool:
    return bool(permission["Principal"] == "events.amazonaws.com")


class TestFunctions:
    def test_functions_have_the_expected_timeouts(self, on_aws: Stack) -> None:
        functions = on_aws.of_type("AWS::Lambda::Function")
        assert {name: function["Timeout"] for name, function in functions.items()} == TIMEOUTS

    def test_each_function_logs_to_its_own_log_group(self, on_aws: Stack) -> None:
        functions, groups = on_aws.of_type("AWS::Lambda::Function"), on_aws.of_type("AWS::Logs::LogGroup")
        names = [function["LoggingConfig"]["LogGroup"].strip("${}") for function in functions.values()]
        assert len(set(names)) == len(functions)
        assert len({groups[name]["LogGroupName"] for name in names}) == len(functions)

    def test_log_retention_follows_its_parameter(self) -> None:
        groups = of_clone(LogRetentionDays="7").of_type("AWS::Logs::LogGroup")
        assert {name: group.get("RetentionInDays") for name, group in groups.items()} == {
            "AccessLogGroup": "7",
            "BigPandaWebhookLogGroup": "7",
            "XMattersCallbackLogGroup": "7",
            "JobWorkerLogGroup": "7",
            "ChoreWorkerLogGroup": "7",
            "ReconcileLogGroup": "7",
            "SweeperLogGroup": "7",
        }

    def test_only_workers_have_recursive_loops_allowed(self, on_aws: Stack) -> None:
        functions = on_aws.of_type("AWS::Lambda::Function")
        loops = {name: function.get("RecursiveLoop") for name, function in functions.items()}
        assert [loops.pop(name) for name in WORKERS] == ["Allow", "Allow"]
        assert set(loops.values()) == {None}

    def test_api_functions_time_out_before_api_gateway_does(self, on_aws: Stack) -> None:
        functions = on_aws.of_type("AWS::Lambda::Function")
        assert all(functions[name]["Timeout"] < 29 for name in ROUTES.values())

    def test_longest_settings_fit_into_lambdas_4_kb_of_variables(self) -> None:
        most = {
            "XMattersHosts": 800,
            "BigPandaHosts": 300,
            "AlarmTopicArn": 256,
            "NoticeTopicArn": 256,
            "HeartbeatUrl": 200,
            "DomainName": 128,
            "FallbackPhones": 84,
            "FallbackVoiceIdentity": 128,
            "FallbackTextIdentity": 128,
        }
        values = {name: "h" * length for name, length in most.items()}
        longest = of_clone(SecretPrefix="p" * 200, FallbackTopicArn="t" * 320, **values)
        # Values that a deployment fills in: queue URLs, the table's name.
        filled = dict.fromkeys(("RetryQueue", "ChoreQueue", "DeadLetterQueue"), "q" * 150) | {"LedgerTable": "l" * 255}
        for name, function in longest.of_type("AWS::Lambda::Function").items():
            variables = function["Environment"]["Variables"]
            whole = sum(len(key) + len(filled.get(value.strip("${}"), value)) for key, value in variables.items())
            assert whole < 4096, name
        assert {name: templates.read(TEMPLATE)["Parameters"][name]["MaxLength"] for name in most} == most

    def test_no_function_has_reserved_concurrency_by_default(self, on_aws: Stack) -> None:
        for function in on_aws.of_type("AWS::Lambda::Function").values():
            assert "ReservedConcurrentExecutions" not in function

    @pytest.mark.parametrize("name", TIMEOUTS)
    def test_reserved_concurrency_applies_only_to_its_function(self, name: str) -> None:
        chosen = of_clone(**{name.removesuffix("Function") + "Reserved": "20"}).of_type("AWS::Lambda::Function")
        reserved = {function: each.get("ReservedConcurrentExecutions") for function, each in chosen.items()}
        assert reserved == dict.fromkeys(TIMEOUTS) | {name: "20"}

    @pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
    def test_functions_and_layers_have_the_same_runtime_and_architecture(self, architecture: str) -> None:
        chosen = of_clone(Architecture=architecture)
        layers = chosen.of_type("AWS::Lambda::LayerVersion")
        for function in chosen.of_type("AWS::Lambda::Function").values():
            assert function["Architectures"] == [architecture]
            assert {ref.strip("${}") for ref in function["Layers"]} == layers.keys()
            for layer in layers.values():
                assert function["Runtime"] in layer["CompatibleRuntimes"]
                assert architecture in layer["CompatibleArchitectures"]

    def test_old_layer_versions_are_deleted(self, on_aws: Stack) -> None:
        layers = [each for each in on_aws.resources.values() if each["Type"] == "AWS::Lambda::LayerVersion"]
        assert [layer["DeletionPolicy"] for layer in layers] == ["Delete", "Delete"]

    def test_functions_variables_follow_the_parameters(self) -> None:
        chosen = of_clone(
            SecretPrefix="ops/relay", XMattersHosts="a.xmatters.com", BigPandaHosts="b.c", SecretCacheSeconds="60"
        )
        for name, function in chosen.of_type("AWS::Lambda::Function").items():
            variables = function["Environment"]["Variables"]
            assert variables["RELAY_SECRET_PREFIX"] == "ops/relay"
            assert variables["RELAY_XMATTERS_HOSTS"] == "a.xmatters.com"
            assert variables["RELAY_BIGPANDA_HOSTS"] == "b.c"
            assert variables["RELAY_SECRET_CACHE_SECONDS"] == ("1800" if name == "ReconcileFunction" else "60")
            assert variables["RELAY_PROFILE"] == "aws"

    def test_functions_have_exactly_the_variables_that_the_library_reads(self, on_aws: Stack) -> None:
        for name, function in on_aws.of_type("AWS::Lambda::Function").items():
            ours = {key: each for key, each in function["Environment"]["Variables"].items() if key.startswith("RELAY_")}
            asked = _Asked(ours)
            config = Config.from_environment(asked)
            assert asked.names == ours.keys() | SOMETIMES
            assert (config.retry_queue_url, config.chore_queue_url) == ("${RetryQueue}", "${ChoreQueue}")
            assert config.dead_letter_queue_url == "${DeadLetterQueue}"
            assert config.ledger_table == "${LedgerTable}"
            notifies = name in {*WORKERS, "SweeperFunction", "ReconcileFunction"}
            assert config.fallback_topic_arn == ("${FallbackTopic}" if notifies else "")
            assert config.job_worker == ("${JobWorkerFunction}" if name == "SweeperFunction" else "")


class TestQueuesThatWakeWorkers:
    def test_each_worker_gets_single_jobs_from_its_own_queue(self, on_aws: Stack) -> None:
        mappings = on_aws.of_type("AWS::Lambda::EventSourceMapping").values()
        assert {each["FunctionName"].strip("${}"): each for each in mappings} == {
            function: {
                "FunctionName": f"${{{function}}}",
                "EventSourceArn": f"${{{queue}.Arn}}",
                "BatchSize": 1,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": "5"},
            }
            for function, queue in WORKERS.items()
        }

    def test_worker_concurrency_follows_its_parameter(self) -> None:
        mappings = of_clone(WorkerConcurrency="40").of_type("AWS::Lambda::EventSourceMapping").values()
        assert [each["ScalingConfig"] for each in mappings] == [{"MaximumConcurrency": "40"}] * 2

    def test_worker_concurrency_parameter_has_sqs_event_source_bounds(self) -> None:
        parameter = templates.read(TEMPLATE)["Parameters"]["WorkerConcurrency"]
        assert (parameter["MinValue"], parameter["MaxValue"]) == (2, 1000)

    @pytest.mark.parametrize(("function", "queue"), WORKERS.items())
    def test_queue_hides_a_message_for_six_timeouts_of_its_worker(
        self, on_aws: Stack, function: str, queue: str
    ) -> None:
        time_out = on_aws.of_type("AWS::Lambda::Function")[function]["Timeout"]
        # AWS's recommendation for a queue that is a function's event source.
        assert on_aws.resources[queue]["Properties"]["VisibilityTimeout"] == 6 * time_out

    @pytest.mark.parametrize("function", WORKERS)
    def test_worker_timeout_leaves_time_to_notify_and_requeue_after_a_slow_job(
        self, on_aws: Stack, function: str
    ) -> None:
        time_out = on_aws.of_type("AWS::Lambda::Function")[function]["Timeout"]
        # Two notifications (a page that never appeared, an owed critical), the dead-letter queue, then a copy.
        assert time_out > JOB_SECONDS + 2 * FALLBACK_SECONDS + 2 * QUEUE_SECONDS


class TestPermissions:
    def test_each_role_has_exactly_the_listed_permissions(self, on_aws: Stack) -> None:
        roles = {
            function["Role"].strip("${}").removesuffix(".Arn")
            for function in on_aws.of_type("AWS::Lambda::Function").values()
        }
        assert roles == PERMISSIONS.keys()
        for name in roles:
            role = on_aws.resources[name]["Properties"]
            assert role.keys() == {"Path", "AssumeRolePolicyDocument", "Policies"}
            [policy] = role["Policies"]
            assert policy["PolicyDocument"]["Statement"] == PERMISSIONS[name]

    def test_roles_may_use_a_customer_kms_key_only_through_their_services(self) -> None:
        chosen = of_clone(KmsKeyArn=KEY)
        for name, ours in PERMISSIONS.items():
            [policy] = chosen.resources[name]["Properties"]["Policies"]
            statements = policy["PolicyDocument"]["Statement"]
            keys = [each for each in statements if each["Sid"].startswith("Key")]
            assert keys == BY_KEY[name], name
            assert [each for each in statements if each not in keys] == ours, name

    def test_roles_may_write_traces_only_with_tracing(self) -> None:
        chosen = of_clone(Tracing="Active")
        for name, ours in PERMISSIONS.items():
            [policy] = chosen.resources[name]["Properties"]["Policies"]
            more = [each for each in policy["PolicyDocument"]["Statement"] if each not in ours]
            assert more == [WRITE_TRACES], name

    def test_each_role_has_the_chosen_path_and_permissions_boundary(self, on_aws: Stack) -> None:
        boundary = "arn:aws:iam::123456789012:policy/boundary"
        roles = of_clone(RolePath="/teams/", PermissionsBoundaryArn=boundary).of_type("AWS::IAM::Role")
        assert roles.keys() == {*PERMISSIONS, "ApiGatewayRole"}
        assert {(role["Path"], role["PermissionsBoundary"]) for role in roles.values()} == {("/teams/", boundary)}
        assert {role["Path"] for role in on_aws.of_type("AWS::IAM::Role").values()} == {"/"}

    def test_only_lambda_may_assume_the_functions_roles(self, on_aws: Stack) -> None:
        for name in PERMISSIONS:
            [statement] = on_aws.resources[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
            assert statement == {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }

    def test_no_policy_has_wildcard_actions_or_resources(self, on_aws: Stack) -> None:
        policies = [policy for role in on_aws.of_type("AWS::IAM::Role").values() for policy in role.get("Policies", [])]
        statements = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
        assert statements
        for statement in statements:
            if statement == LIST_CHANNELS:
                continue
            assert "*" not in str(statement["Action"])
            assert "*" not in (
                statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            )

    def test_each_policy_fits_into_iams_size_limit(self) -> None:
        topics = {"AlarmTopicArn": "a" * 256, "NoticeTopicArn": "n" * 256}
        chosen = of_clone(SecretPrefix="p" * 200, FallbackTopicArn="t" * 320, KmsKeyArn=KEY, Tracing="Active", **topics)
        for name in PERMISSIONS:
            [policy] = chosen.resources[name]["Properties"]["Policies"]
            assert len(json.dumps(policy["PolicyDocument"])) < 5000, name

    def test_roles_may_read_only_secrets_under_the_prefix(self) -> None:
        chosen = of_clone(SecretPrefix="ops/relay")
        for name in PERMISSIONS:
            first = chosen.resources[name]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"][0]
            assert first["Resource"] == "arn:aws:secretsmanager:us-east-1:123456789012:secret:ops/relay/*"

    @pytest.mark.parametrize(
        ("parameters", "topics"),
        [
            ({"AlarmTopicArn": ALARM_TOPIC}, [ALARM_TOPIC]),
            ({"NoticeTopicArn": NOTICE_TOPIC}, [NOTICE_TOPIC]),
            ({"AlarmTopicArn": ALARM_TOPIC, "NoticeTopicArn": NOTICE_TOPIC}, [ALARM_TOPIC, NOTICE_TOPIC]),
        ],
    )
    def test_sweeper_alone_may_publish_to_the_topics_about_health_and_list_channels_for_it(
        self, parameters: dict[str, str], topics: list[str]
    ) -> None:
        chosen = of_clone(**parameters)
        tells = {"Sid": "TellOfHealth", "Effect": "Allow", "Action": "sns:Publish", "Resource": topics}
        for name, ours in PERMISSIONS.items():
            [policy] = chosen.resources[name]["Properties"]["Policies"]
            more = [each for each in policy["PolicyDocument"]["Statement"] if each not in ours]
            assert more == ([LIST_CHANNELS, tells] if name == "SweeperRole" else []), name

    @pytest.mark.parametrize(
        ("phones", "voice", "text", "allowed"),
        [
            (PHONES, VOICE, "", [CALL_PHONES]),
            (PHONES, "", TEXT, [TEXT_PHONES]),
            (PHONES, VOICE, TEXT, [CALL_PHONES, TEXT_PHONES]),
            (PHONES, "", "", []),
            ("", VOICE, TEXT, []),
        ],
    )
    def test_sweeper_alone_may_call_and_text_phones_and_only_from_the_chosen_identities(
        self, phones: str, voice: str, text: str, allowed: list[dict[str, str]]
    ) -> None:
        chosen = of_clone(FallbackPhones=phones, FallbackVoiceIdentity=voice, FallbackTextIdentity=text)
        for name, ours in PERMISSIONS.items():
            [policy] = chosen.resources[name]["Properties"]["Policies"]
            more = [each for each in policy["PolicyDocument"]["Statement"] if each not in ours]
            assert more == (allowed if name == "SweeperRole" else []), name
        for name, function in chosen.of_type("AWS::Lambda::Function").items():
            config = Config.from_environment(function["Environment"]["Variables"])
            known = (",".join(config.fallback_phones), config.fallback_voice_identity, config.fallback_text_identity)
            assert known == ((phones, voice, text) if name == "SweeperFunction" else ("", "", "")), name

    def test_sweeper_alone_knows_the_topics_about_health_and_the_heartbeats_url(self) -> None:
        url = "https://switch.example.com/ping/1"
        chosen = of_clone(AlarmTopicArn=ALARM_TOPIC, NoticeTopicArn=NOTICE_TOPIC, HeartbeatUrl=url)
        for name, function in chosen.of_type("AWS::Lambda::Function").items():
            config = Config.from_environment(function["Environment"]["Variables"])
            known = (config.alarm_topic_arn, config.notice_topic_arn, config.heartbeat_url)
            assert known == ((ALARM_TOPIC, NOTICE_TOPIC, url) if name == "SweeperFunction" else ("", "", "")), name

    def test_guided_deployment_can_leave_every_parameter_with_a_default_as_it_is(self) -> None:
        # The SAM CLI asks for a NoEcho parameter again and again until the answer is not empty.
        parameters = templates.read(TEMPLATE)["Parameters"]
        assert [name for name, each in parameters.items() if each.get("NoEcho")] == []
        assert [name for name, each in parameters.items() if "Default" not in each] == ["XMattersHosts"]

    def test_heartbeats_url_is_in_no_output(self) -> None:
        for output in of_clone(HeartbeatUrl="https://switch.example.com/canary").outputs.values():
            assert "canary" not in str(output)

    def test_workers_may_publish_only_to_the_chosen_fallback_topic(self) -> None:
        topic = "arn:aws:sns:us-east-1:123456789012:on-call"
        chosen = of_clone(FallbackTopicArn=topic)
        for role in ("JobWorkerRole", "ChoreWorkerRole"):
            statements = chosen.resources[role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
            [tells] = [each for each in statements if each["Sid"] == "TellTheFallback"]
            assert tells["Resource"] == topic


class TestTracing:
    @pytest.mark.parametrize(
        ("parameters", "mode"),
        [
            ({}, "PassThrough"),
            ({"Tracing": "Active"}, "Active"),
            ({"Tracing": "Active", "Profile": "local"}, "PassThrough"),
        ],
    )
    def test_api_and_functions_are_traced_only_with_tracing_on_real_aws(
        self, parameters: dict[str, str], mode: str
    ) -> None:
        chosen = of_clone(**parameters)
        assert chosen.only("AWS::ApiGateway::Stage")["TracingEnabled"] is (mode == "Active")
        for function in chosen.of_type("AWS::Lambda::Function").values():
            assert function["TracingConfig"] == {"Mode": mode}
            assert function["Environment"]["Variables"]["RELAY_TRACING"] == mode

    def test_functions_know_if_they_are_traced(self) -> None:
        for tracing in ("Active", "PassThrough"):
            for function in of_clone(Tracing=tracing).of_type("AWS::Lambda::Function").values():
                config = Config.from_environment(function["Environment"]["Variables"])
                assert config.is_traced is (tracing == "Active")


class TestChannelMetrics:
    @pytest.mark.parametrize(("parameters", "is_on"), [({}, False), ({"ChannelMetrics": "on"}, True)])
    def test_all_functions_write_metrics_of_channels_only_if_the_parameter_is_on(
        self, parameters: dict[str, str], is_on: bool
    ) -> None:
        functions = of_clone(**parameters).of_type("AWS::Lambda::Function").values()
        configs = [Config.from_environment(each["Environment"]["Variables"]) for each in functions]
        assert [each.has_channel_metrics for each in configs] == [is_on] * len(configs)
