"""Code signing in the template."""

import re
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

from tests.artefact.templates import of_clone

ROOT = Path(__file__).resolve().parents[2]
SIGNING = "arn:aws:lambda:us-east-1:123456789012:code-signing-config:csc-0f6c334abcdea4d8b"


class TestCodeSigning:
    def test_every_function_requires_signed_code_with_a_signing_configuration(self) -> None:
        functions = of_clone(CodeSigningConfigArn=SIGNING).of_type("AWS::Lambda::Function")
        assert len(functions) >= 6
        assert {each["CodeSigningConfigArn"] for each in functions.values()} == {SIGNING}
        # A function's configuration also applies to its layers, which have no such property.
        assert all(len(each["Layers"]) == 2 for each in functions.values())

    @pytest.mark.parametrize("profile", ["aws", "local"])
    def test_no_function_requires_signed_code_without_a_signing_configuration(self, profile: str) -> None:
        functions = of_clone(Profile=profile).of_type("AWS::Lambda::Function")
        assert [name for name, each in functions.items() if "CodeSigningConfigArn" in each] == []

    @pytest.mark.parametrize("arn", ["csc-0f6c334abcdea4d8b", SIGNING.replace("lambda", "signer"), SIGNING + "0"])
    def test_invalid_signing_configuration_is_refused_by_its_pattern(self, arn: str) -> None:
        parameter = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]["CodeSigningConfigArn"]
        assert re.fullmatch(parameter["AllowedPattern"], SIGNING)
        assert re.fullmatch(parameter["AllowedPattern"], "")
        assert not re.fullmatch(parameter["AllowedPattern"], arn)
