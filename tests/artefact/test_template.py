"""The API, the functions and their permissions after SAM's transform; the local cloud ignores many of them.

`${Name}` in an expected value is a reference that only a deployment can fill in.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pytest

from relay.entrypoints import bootstrap
from relay.entrypoints.worker import FALLBACK_SECONDS, JOB_SECONDS
from relay.jobs.queue import QUEUE_SECONDS
from relay.ledger.credentials import MARKS_KEY
from tests import iam
from tests.artefact import templates
from tests.artefact.builds import FUNCTIONS
from tests.artefact.templates import ALL_OPTIONS, TEMPLATE, Stack, of_clone

LEDGER, DUE = "${LedgerTable.Arn}", "${LedgerTable.Arn}/index/due"
RETRIES, CHORES, DEAD_LETTERS = "${RetryQueue.Arn}", "${ChoreQueue.Arn}", "${DeadLetterQueue.Arn}"
READ_AND_WRITE = "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"
SECRETS = "arn:aws:secretsmanager:us-east-1:123456789012:secret:relay/*"
READ_SECRETS, LIST_SECRETS = "secretsmanager:GetSecretValue", "secretsmanager:ListSecrets"
TAKE = "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes"


def _only_keys(operator: str, key: str) -> str:
    return f' if {{"ForAllValues:{operator}": {{"dynamodb:LeadingKeys": ["{key}"]}}}}'


# Every permission of each function beside those to read channels and to write its log: the actions on each resource. A
# new permission needs a reason, and an entry here.
PERMISSIONS = {
    "BigPandaWebhookRole": {
        LEDGER: READ_AND_WRITE,
        RETRIES: "sqs:SendMessage",
        CHORES: "sqs:SendMessage",
        DEAD_LETTERS: "sqs:SendMessage",
    },
    # The callback only queues chores: it sends no signal, reads no incident of the ledger and receives no message.
    "XMattersCallbackRole": {
        LEDGER + _only_keys("StringEquals", MARKS_KEY): "dynamodb:GetItem",
        LEDGER + _only_keys("StringLike", "used/callback/*"): "dynamodb:PutItem",
        CHORES: "sqs:SendMessage",
        DEAD_LETTERS: "sqs:SendMessage",
    },
    "JobWorkerRole": {
        LEDGER: f"{READ_AND_WRITE} dynamodb:BatchGetItem",
        DUE: "dynamodb:Query",
        RETRIES: f"sqs:SendMessage {TAKE}",
        CHORES: "sqs:SendMessage",
        DEAD_LETTERS: "sqs:SendMessage",
        "${FallbackTopic}": "sns:Publish",
    },
    "ChoreWorkerRole": {
        LEDGER: READ_AND_WRITE,
        RETRIES: "sqs:SendMessage",
        CHORES: f"sqs:SendMessage {TAKE}",
        DEAD_LETTERS: "sqs:SendMessage",
        "${FallbackTopic}": "sns:Publish",
    },
    # It receives no message.
    "ReconcileRole": {
        # AWS has no narrower permission for this action.
        "*": LIST_SECRETS,
        LEDGER: "dynamodb:GetItem dynamodb:BatchGetItem dynamodb:UpdateItem",
        RETRIES: "sqs:SendMessage",
        CHORES: "sqs:SendMessage",
        "${FallbackTopic}": "sns:Publish",
    },
    "SweeperRole": {
        LEDGER: f"{READ_AND_WRITE} dynamodb:BatchGetItem",
        DUE: "dynamodb:Query",
        RETRIES: "sqs:SendMessage sqs:GetQueueAttributes",
        DEAD_LETTERS: "sqs:SendMessage sqs:GetQueueAttributes",
        "${JobWorkerFunction.Arn}": "lambda:InvokeFunction",
        "${FallbackTopic}": "sns:Publish",
    },
}
KEY, TOPIC = ALL_OPTIONS["KmsKeyArn"], ALL_OPTIONS["FallbackTopicArn"]
ALARM_TOPIC, NOTICE_TOPIC = ALL_OPTIONS["AlarmTopicArn"], ALL_OPTIONS["NoticeTopicArn"]
VOICE, TEXT = ALL_OPTIONS["FallbackVoiceIdentity"], ALL_OPTIONS["FallbackTextIdentity"]


def _key_through(service: str) -> str:
    """Return the customer KMS key, for use through one AWS service alone."""
    return f'{KEY} if {{"StringEquals": {{"kms:ViaService": "{service}.us-east-1.amazonaws.com"}}}}'


# A role's additional permissions with a customer KMS key.
KEY_OF_ALL = {
    _key_through("secretsmanager"): "kms:Decrypt",
    _key_through("sqs"): "kms:GenerateDataKey kms:Decrypt",
    _key_through("dynamodb"): "kms:DescribeKey kms:Encrypt kms:Decrypt kms:ReEncryptFrom kms:ReEncryptTo "
    "kms:GenerateDataKey kms:GenerateDataKeyWithoutPlaintext",
}
KEY_OF_THE_TOPIC = {_key_through("sns"): "kms:GenerateDataKey kms:Decrypt"}
NOTIFIED = {"JobWorker", "ChoreWorker", "Reconcile", "Sweeper"}
NOTIFIERS = {f"{name}Role" for name in NOTIFIED}
SWEEPER = {"SweeperRole"}
# The variables that not every function has.
SOMETIMES = {
    *("RELAY_FALLBACK_TOPIC_ARN", "RELAY_JOB_WORKER", "RELAY_ALARM_TOPIC_ARN", "RELAY_NOTICE_TOPIC_ARN"),
    *("RELAY_FALLBACK_PHONES", "RELAY_FALLBACK_VOICE_IDENTITY", "RELAY_FALLBACK_TEXT_IDENTITY"),
    *("RELAY_HEARTBEAT_URL", "RELAY_WEBHOOK_URL"),
}
# The queue of each worker.
WORKERS = {"JobWorkerFunction": "RetryQueue", "ChoreWorkerFunction": "ChoreQueue"}
ROUTES = {"bigpanda": "BigPandaWebhookFunction", "xmatters": "XMattersCallbackFunction"}
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

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return super().__getitem__(name)


def options(*names: str) -> dict[str, str]:
    """Return a value of each of these parameters."""
    return {name: ALL_OPTIONS[name] for name in names}


def _functions(stack: Stack) -> dict[str, dict[str, Any]]:
    return stack.of_type("AWS::Lambda::Function")


def _variables(stack: Stack) -> dict[str, dict[str, str]]:
    return {name: function["Environment"]["Variables"] for name, function in _functions(stack).items()}


class TestApi:
    @pytest.mark.parametrize("kind", ["THROTTLED", "INTEGRATION_FAILURE", "INTEGRATION_TIMEOUT", "DEFAULT_5XX"])
    def test_api_gateways_own_transient_failures_are_answered_503(self, on_aws: Stack, kind: str) -> None:
        answer = on_aws.only("AWS::ApiGateway::RestApi")["Body"]["x-amazon-apigateway-gateway-responses"][kind]
        assert answer["statusCode"] == "503"
        assert json.loads(answer["responseTemplates"]["application/json"]).keys() == {"error", "detail"}

    def test_api_hands_every_body_on_as_bytes(self, on_aws: Stack) -> None:
        body = on_aws.only("AWS::ApiGateway::RestApi")["Body"]
        assert body["x-amazon-apigateway-binary-media-types"] == ["*/*"]

    def test_api_has_one_throttled_stage(self, on_aws: Stack) -> None:
        assert "StageName" not in on_aws.only("AWS::ApiGateway::Deployment"), "SAM makes a second stage of it"
        [settings] = on_aws.only("AWS::ApiGateway::Stage")["MethodSettings"]
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

    @pytest.mark.parametrize(
        ("policy", "mode"), [("SecurityPolicy_TLS13_1_2_2021_06", "BASIC"), ("", None)], ids=["as the API", "at least"]
    )
    def test_own_host_name_serves_the_same_paths_without_tls_1_0(self, policy: str, mode: str | None) -> None:
        chosen = of_clone(ApiSecurityPolicy=policy, **options("DomainName", "CertificateArn"))
        domain = chosen.only("AWS::ApiGateway::DomainName")
        assert (domain["SecurityPolicy"], domain.get("EndpointAccessMode")) == (policy or "TLS_1_2", mode)
        # The access log's paths then begin with the stage's name, as without a host name: a metric filter reads them.
        base = chosen.only("AWS::ApiGateway::BasePathMapping")["BasePath"]
        assert base == chosen.only("AWS::ApiGateway::Stage")["StageName"]
        url = f"https://relay.example.com/{base}/bigpanda/{{channel}}"
        assert chosen.outputs["BigPandaWebhookUrl"]["Value"] == url
        assert _variables(chosen)["SweeperFunction"]["RELAY_WEBHOOK_URL"] == url

    def test_api_is_open_to_all_addresses_over_tls_by_default(self, on_aws: Stack) -> None:
        assert _policy(on_aws) == [ANYBODY, TLS_ONLY]
        # Without TLSOnly, since the local cloud has no TLS.
        assert _policy(of_clone(Profile="local", AllowedSourceCidrs="192.0.2.0/24")) == [ANYBODY]

    def test_api_denies_all_but_the_allowed_source_addresses(self) -> None:
        others = {"NotIpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}}
        denied = ANYBODY | {"Sid": "AllowedSourcesOnly", "Effect": "Deny", "Condition": others}
        assert _policy(of_clone(AllowedSourceCidrs="192.0.2.0/24,2001:db8::/32")) == [ANYBODY, TLS_ONLY, denied]

    def test_change_of_allowed_sources_makes_a_new_api_deployment(self) -> None:
        chosen = [of_clone(AllowedSourceCidrs=each) for each in ("", "192.0.2.0/24", "198.51.100.0/24")]
        deployments = {name for each in chosen for name in each.of_type("AWS::ApiGateway::Deployment")}
        assert len(deployments) == 3

    def test_web_acl_is_associated_with_the_api_stage(self, on_aws: Stack) -> None:
        chosen = options("WebAclArn")
        stage = "arn:aws:apigateway:us-east-1::/restapis/${Api}/stages/${Apiv1Stage}"
        for stack in (on_aws, of_clone(Profile="local", **chosen)):
            assert stack.of_type("AWS::WAFv2::WebACLAssociation") == {}
        made = of_clone(**chosen).only("AWS::WAFv2::WebACLAssociation")
        assert made == {"WebACLArn": chosen["WebAclArn"], "ResourceArn": stage}

    def test_access_logs_are_json_without_credentials_bodies_or_queries(self, on_aws: Stack) -> None:
        setting = on_aws.only("AWS::ApiGateway::Stage")["AccessLogSetting"]
        assert "\n" not in setting["Format"]
        assert set(json.loads(setting["Format"]).values()) == {
            *("$context.requestId", "$context.requestTimeEpoch", "$context.path", "$context.responseLatency"),
            *("$context.status", "$context.integrationStatus", "$context.error.responseType"),
            *("$context.identity.sourceIp", "$context.identity.userAgent"),
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


def _policy(stack: Stack) -> list[dict[str, Any]]:
    return list(stack.only("AWS::ApiGateway::RestApi")["Body"]["x-amazon-apigateway-policy"]["Statement"])


class TestCallers:
    def test_only_this_api_by_its_routes_and_the_schedules_may_invoke_functions(self, on_aws: Stack) -> None:
        rules = {f"${{{name}.Arn}}": rule for name, rule in on_aws.of_type("AWS::Events::Rule").items()}
        permissions = on_aws.of_type("AWS::Lambda::Permission").values()
        assert sorted(
            (each["Principal"].partition(".")[0], each["FunctionName"], each["SourceArn"].partition(":${Api}")[2])
            for each in permissions
        ) == [
            *(("apigateway", f"${{{function}}}", f"/*/POST/{route}/*") for route, function in ROUTES.items()),
            *(("events", f"${{{name}}}", "") for name in ("ReconcileFunction", "SweeperFunction")),
        ]
        assert {each["SourceArn"] for each in permissions if each["Principal"].startswith("events")} == rules.keys()
        woken = {rule["Targets"][0]["Arn"]: rule["ScheduleExpression"] for rule in rules.values()}
        assert woken == {"${ReconcileFunction.Arn}": "rate(5 minutes)", "${SweeperFunction.Arn}": "rate(1 minute)"}

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


class TestFunctions:
    def test_no_function_has_reserved_concurrency_by_default(self, on_aws: Stack) -> None:
        for function in _functions(on_aws).values():
            assert "ReservedConcurrentExecutions" not in function

    @pytest.mark.parametrize(("partition", "setting"), [("aws", "Allow"), ("aws-us-gov", None), ("aws-cn", None)])
    def test_only_workers_have_recursive_loops_allowed_where_lambda_detects_them(
        self, partition: str, setting: str | None
    ) -> None:
        found = templates.stack(TEMPLATE, {}, {"AWS::Partition": partition})
        loops = {name: function.get("RecursiveLoop") for name, function in _functions(found).items()}
        assert loops == dict.fromkeys(FUNCTIONS) | dict.fromkeys(WORKERS, setting)
        assert ("DashboardUrl" in found.outputs) == (partition == "aws")

    def test_lambda_itself_logs_only_invocations_that_failed(self, on_aws: Stack) -> None:
        # `bench` counts no line of Lambda's. Without JSON as the format, AWS knows no level of its own lines.
        logging = [function["LoggingConfig"] for function in _functions(on_aws).values()]
        assert {(each["LogFormat"], each["SystemLogLevel"]) for each in logging} == {("JSON", "WARN")}
        # Its default is INFO: the relay's lines are of that level.
        assert not any("ApplicationLogLevel" in each for each in logging)

    def test_api_functions_time_out_before_api_gateway_does(self, on_aws: Stack) -> None:
        assert all(_functions(on_aws)[name]["Timeout"] < 29 for name in ROUTES.values())

    def test_longest_settings_fit_into_lambdas_4_kb_of_variables(self) -> None:
        lengths = {name: each.get("MaxLength") for name, each in templates.read(TEMPLATE)["Parameters"].items()}
        values = {name: "h" * length for name, length in lengths.items() if length}
        assert values.keys() >= {"XMattersHosts", "BigPandaHosts", "HeartbeatUrl", "DomainName", "FallbackPhones"}
        values |= {"SecretPrefix": "p" * 200, "FallbackTopicArn": "t" * 320}
        longest = templates.stack(TEMPLATE, values, {"AWS::StackName": "s" * 128, "AWS::Region": "ap-southeast-1"})
        # Values that a deployment fills in: queue URLs, the table's name.
        filled = dict.fromkeys(("RetryQueue", "ChoreQueue", "DeadLetterQueue"), "q" * 150) | {"LedgerTable": "l" * 255}
        for name, function in _functions(longest).items():
            variables = function["Environment"]["Variables"]
            whole = {key: filled.get(value.strip("${}"), value) for key, value in variables.items()}
            # Lambda's error shows what it measures: the variables as JSON.
            assert len(json.dumps(whole, separators=(",", ":"))) < 4096, name

    @pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
    def test_functions_and_layers_have_the_same_runtime_and_architecture(self, architecture: str) -> None:
        chosen = of_clone(Architecture=architecture)
        layers = chosen.of_type("AWS::Lambda::LayerVersion")
        for function in _functions(chosen).values():
            assert function["Architectures"] == [architecture]
            assert {ref.strip("${}") for ref in function["Layers"]} == layers.keys()
            for layer in layers.values():
                assert function["Runtime"] in layer["CompatibleRuntimes"]
                assert architecture in layer["CompatibleArchitectures"]

    def test_functions_have_exactly_the_variables_that_the_library_reads(
        self, on_aws: Stack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        for name, variables in _variables(on_aws).items():
            ours = {key: each for key, each in variables.items() if key.startswith("RELAY_")}
            asked = _Asked(ours | {"RELAY_FALLBACK_PHONES": "+14255550100"})
            bootstrap._wiring(asked)
            assert asked.names == ours.keys() | SOMETIMES
            queues = [variables[f"RELAY_{kind}_QUEUE_URL"] for kind in ("RETRY", "CHORE", "DEAD_LETTER")]
            assert queues == ["${RetryQueue}", "${ChoreQueue}", "${DeadLetterQueue}"]
            assert variables["RELAY_LEDGER_TABLE"] == "${LedgerTable}"
            notifies = name in {*WORKERS, "SweeperFunction", "ReconcileFunction"}
            assert variables.get("RELAY_FALLBACK_TOPIC_ARN", "") == ("${FallbackTopic}" if notifies else "")
            is_sweeper = name == "SweeperFunction"
            assert variables.get("RELAY_JOB_WORKER", "") == ("${JobWorkerFunction}" if is_sweeper else "")

    @pytest.mark.parametrize(("profile", "is_traced"), [("aws", True), ("local", False)])
    def test_api_is_traced_on_real_aws_alone(self, profile: str, is_traced: bool) -> None:
        assert of_clone(Tracing="Active", Profile=profile).only("AWS::ApiGateway::Stage")["TracingEnabled"] is is_traced


ROLES, LOG_GROUPS = {*PERMISSIONS}, {role.replace("Role", "LogGroup") for role in PERMISSIONS}
# Where the value of a parameter is that is passed on as it is: the resources and outputs, by the last name of the
# property.
REACHES: dict[str, dict[str, set[str]]] = {
    "SecretPrefix": {"RELAY_SECRET_PREFIX": {*FUNCTIONS}, "Resource": ROLES, "Value": {"output SecretPrefix"}},
    "XMattersHosts": {"RELAY_XMATTERS_HOSTS": {*FUNCTIONS}},
    "BigPandaHosts": {"RELAY_BIGPANDA_HOSTS": {*FUNCTIONS}},
    # The reconcile function reads each secret rarely enough.
    "SecretCacheSeconds": {"RELAY_SECRET_CACHE_SECONDS": {*FUNCTIONS} - {"ReconcileFunction"}},
    "WorkerConcurrency": {"MaximumConcurrency": {"JobWorkerFunctionJob", "ChoreWorkerFunctionChore"}},
    "Architecture": {"Architectures": {*FUNCTIONS}},
    "LogRetentionDays": {"RetentionInDays": {*LOG_GROUPS, "AccessLogGroup"}},
    "ChannelMetrics": {"RELAY_CHANNEL_METRICS": {*FUNCTIONS}},
    "Tracing": {"RELAY_TRACING": {*FUNCTIONS}, "Mode": {*FUNCTIONS}},
    "HeartbeatUrl": {"RELAY_HEARTBEAT_URL": {"SweeperFunction"}},
    "FallbackTopicArn": {
        "RELAY_FALLBACK_TOPIC_ARN": {f"{name}Function" for name in NOTIFIED},
        "Resource": NOTIFIERS,
        "Value": {"output FallbackTopicArn"},
    },
    "FallbackPhones": {"RELAY_FALLBACK_PHONES": {"SweeperFunction"}},
    "FallbackVoiceIdentity": {"RELAY_FALLBACK_VOICE_IDENTITY": {"SweeperFunction"}},
    "FallbackTextIdentity": {"RELAY_FALLBACK_TEXT_IDENTITY": {"SweeperFunction"}},
    "KmsKeyArn": {
        "KmsKeyId": {*LOG_GROUPS, "AccessLogGroup"},
        "KMSMasterKeyId": {"LedgerTable"},
        "KmsMasterKeyId": {"RetryQueue", "ChoreQueue", "DeadLetterQueue", "FallbackTopic"},
        "Resource": ROLES,
    },
    "PermissionsBoundaryArn": {"PermissionsBoundary": {*ROLES, "ApiGatewayRole"}},
    "RolePath": {"Path": {*ROLES, "ApiGatewayRole"}},
    # A function's configuration also applies to its layers, which have no such property.
    "CodeSigningConfigArn": {"CodeSigningConfigArn": {*FUNCTIONS}},
    **{f"{name.removesuffix('Function')}Reserved": {"ReservedConcurrentExecutions": {name}} for name in FUNCTIONS},
}


def _leaves(node: Any, last: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value in a document, with the name of the member that has it, or its list."""
    match node:
        case dict():
            for name, each in node.items():
                yield from _leaves(each, name)
        case list():
            for each in node:
                yield from _leaves(each, last)
        case _:
            yield last, node


def _placed(stack: Stack) -> set[tuple[str, str, str]]:
    """Return all values of a stack, each with its resource or output and the name of its property."""
    outputs = {f"output {name}": each for name, each in stack.outputs.items()}
    return {(name, last, str(value)) for name, of in (stack.resources | outputs).items() for last, value in _leaves(of)}


@pytest.mark.parametrize("name", REACHES)
def test_parameter_reaches_exactly_what_it_is_for(on_aws: Stack, name: str) -> None:
    value, places = ALL_OPTIONS[name], REACHES[name]
    chosen = of_clone(**options(name))
    found: dict[str, set[str]] = {}
    for resource, last, each in _placed(chosen) - _placed(on_aws):
        if value in each:
            found.setdefault(last, set()).add(resource)
    assert found == places
    gone = on_aws.resources.keys() - chosen.resources.keys()
    assert gone == ({"FallbackTopic"} if name == "FallbackTopicArn" else set())


class TestQueuesThatWakeWorkers:
    def test_each_worker_gets_single_jobs_from_its_own_queue(self) -> None:
        mappings = of_clone(WorkerConcurrency="40").of_type("AWS::Lambda::EventSourceMapping").values()
        assert {each["FunctionName"].strip("${}"): each for each in mappings} == {
            function: {
                "FunctionName": f"${{{function}}}",
                "EventSourceArn": f"${{{queue}.Arn}}",
                "BatchSize": 1,
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
                "ScalingConfig": {"MaximumConcurrency": "40"},
            }
            for function, queue in WORKERS.items()
        }

    def test_worker_concurrency_parameter_has_sqs_event_source_bounds(self) -> None:
        parameter = templates.read(TEMPLATE)["Parameters"]["WorkerConcurrency"]
        assert (parameter["MinValue"], parameter["MaxValue"]) == (2, 1000)

    @pytest.mark.parametrize(("function", "queue"), WORKERS.items())
    def test_queue_hides_a_message_for_six_timeouts_of_its_worker(
        self, on_aws: Stack, function: str, queue: str
    ) -> None:
        time_out = _functions(on_aws)[function]["Timeout"]
        # AWS's recommendation for a queue that is a function's event source.
        assert on_aws.resources[queue]["Properties"]["VisibilityTimeout"] == 6 * time_out

    @pytest.mark.parametrize("function", WORKERS)
    def test_worker_timeout_leaves_time_to_notify_and_requeue_after_a_slow_job(
        self, on_aws: Stack, function: str
    ) -> None:
        # Two notifications (a page that never appeared, an owed critical), the dead-letter queue, then a copy.
        needed = JOB_SECONDS + 2 * FALLBACK_SECONDS + 2 * QUEUE_SECONDS
        assert _functions(on_aws)[function]["Timeout"] > needed


type Rights = dict[str, set[str]]


def _rights(stack: Stack, role: str) -> Rights:
    """Return the actions that a role may take, by the resource and the condition."""
    found: Rights = {}
    [policy] = stack.resources[role]["Properties"]["Policies"]
    for each in policy["PolicyDocument"]["Statement"]:
        assert each["Effect"] == "Allow"
        condition = f" if {json.dumps(each['Condition'])}" if "Condition" in each else ""
        for resource in iam.listed(each["Resource"]):
            found.setdefault(resource + condition, set()).update(iam.listed(each["Action"]))
    return found


def _written(rights: Mapping[str, str]) -> Rights:
    return {resource: set(actions.split()) for resource, actions in rights.items()}


class TestPermissions:
    def test_each_role_has_exactly_the_listed_permissions(self, on_aws: Stack) -> None:
        assert {function["Role"] for function in _functions(on_aws).values()} == {
            f"${{{role}.Arn}}" for role in PERMISSIONS
        }
        for role, ours in PERMISSIONS.items():
            of_all = {
                SECRETS: READ_SECRETS,
                f"${{{role.removesuffix('Role')}LogGroup.Arn}}": "logs:CreateLogStream logs:PutLogEvents",
            }
            assert _rights(on_aws, role) == _written(ours | of_all), role
            # No managed policy beside it.
            properties = on_aws.resources[role]["Properties"]
            assert properties.keys() == {"Path", "AssumeRolePolicyDocument", "Policies"}

    @pytest.mark.parametrize(
        ("parameters", "roles", "expected"),
        [
            (["KmsKeyArn"], NOTIFIERS, KEY_OF_ALL | KEY_OF_THE_TOPIC),
            (["KmsKeyArn"], PERMISSIONS.keys() - NOTIFIERS, KEY_OF_ALL),
            (["Tracing"], PERMISSIONS, {"*": "xray:PutTraceSegments xray:PutTelemetryRecords"}),
            (["SecretPrefix"], PERMISSIONS, {SECRETS.replace("relay", "ops"): READ_SECRETS}),
            (["FallbackTopicArn"], NOTIFIERS, {TOPIC: "sns:Publish"}),
            (["FallbackTopicArn"], PERMISSIONS.keys() - NOTIFIERS, {}),
            (["AlarmTopicArn"], SWEEPER, {"*": LIST_SECRETS, ALARM_TOPIC: "sns:Publish"}),
            (["NoticeTopicArn"], SWEEPER, {"*": LIST_SECRETS, NOTICE_TOPIC: "sns:Publish"}),
            (["AlarmTopicArn"], PERMISSIONS.keys() - SWEEPER, {}),
            (["FallbackPhones", "FallbackVoiceIdentity"], SWEEPER, {VOICE: "sms-voice:SendVoiceMessage"}),
            (["FallbackPhones", "FallbackTextIdentity"], SWEEPER, {TEXT: "sms-voice:SendTextMessage"}),
            (["FallbackPhones", "FallbackTextIdentity"], PERMISSIONS.keys() - SWEEPER, {}),
            (["FallbackPhones"], PERMISSIONS, {}),
            (["FallbackVoiceIdentity", "FallbackTextIdentity"], PERMISSIONS, {}),
        ],
    )
    def test_parameter_gives_each_role_only_what_it_is_for(
        self, on_aws: Stack, parameters: list[str], roles: Iterable[str], expected: dict[str, str]
    ) -> None:
        chosen = of_clone(**options(*parameters))
        for role in roles:
            before = _rights(on_aws, role)
            more = {resource: each - before.get(resource, set()) for resource, each in _rights(chosen, role).items()}
            assert {resource: each for resource, each in more.items() if each} == _written(expected), role

    def test_each_policy_fits_into_iams_size_limit(self) -> None:
        topics = {"AlarmTopicArn": "a" * 256, "NoticeTopicArn": "n" * 256}
        chosen = of_clone(SecretPrefix="p" * 200, FallbackTopicArn="t" * 320, KmsKeyArn=KEY, Tracing="Active", **topics)
        for name in PERMISSIONS:
            [policy] = chosen.resources[name]["Properties"]["Policies"]
            assert len(json.dumps(policy["PolicyDocument"])) < 5000, name

    def test_guided_deployment_can_leave_every_parameter_with_a_default_as_it_is(self) -> None:
        # The SAM CLI asks for a NoEcho parameter again and again until the answer is not empty.
        parameters = templates.read(TEMPLATE)["Parameters"]
        assert [name for name, each in parameters.items() if each.get("NoEcho")] == []
        assert [name for name, each in parameters.items() if "Default" not in each] == list(templates.ASKED)


# Part of an ARN after the account, for a resource that a policy names by its Arn or Ref.
ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:us-east-1:123456789012:table/relay",
    "AWS::Lambda::Function": "lambda:us-east-1:123456789012:function:relay",
    "AWS::Logs::LogGroup": "logs:us-east-1:123456789012:log-group:/aws/lambda/relay:*",
    "AWS::SNS::Topic": "sns:us-east-1:123456789012:relay",
    "AWS::SQS::Queue": "sqs:us-east-1:123456789012:relay",
}


@pytest.mark.parametrize("options", [{}, ALL_OPTIONS], ids=["defaults", "all options"])
def test_aws_knows_each_action_resource_and_condition_key_of_the_template(options: dict[str, str]) -> None:
    stack = of_clone(**options)
    statements = [(name, each) for name, resource in stack.resources.items() for each in iam.statements(resource)]
    assert len(statements) > 40
    assert [(name, found) for name, each in statements if (found := iam.faults(with_arns(each, stack)))] == []


def with_arns(statement: Any, stack: Stack) -> Any:
    """Return a statement with an ARN for each resource of the stack that it names."""

    def arn(found: re.Match[str]) -> str:
        return f"arn:aws:{ARNS[stack.resources[found[1]]['Type']]}"

    # API Gateway completes the short form in an API's policy.
    text = json.dumps(statement).replace('"execute-api:/*"', '"arn:aws:execute-api:us-east-1:123456789012:id/*"')
    return json.loads(re.sub(r"\$\{(\w+)(?:\.Arn)?\}", arn, text))
