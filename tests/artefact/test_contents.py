"""Contents of a release: bytecode for every module, no unwanted files, and reproducible bytes."""

import importlib.util
import marshal
import re
import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.artefact.builds import FUNCTIONS, ROOT, Build

ARTEFACTS = (*FUNCTIONS, "DependenciesLayer", "RelayLayer")
KILOBYTE = 1000
# Unzipped and zipped bytes, 7 to 20 % above the measured sizes.
BUDGETS = {
    **dict.fromkeys(FUNCTIONS, (2 * KILOBYTE, 2 * KILOBYTE)),
    "DependenciesLayer": (9_900 * KILOBYTE, 3_550 * KILOBYTE),
    "RelayLayer": (2_550 * KILOBYTE, 1_100 * KILOBYTE),
}
# Packages that Lambda provides, that only developers need, or that are too slow to import.
UNWANTED_PACKAGES = {
    *("boto3", "botocore", "s3transfer", "awslambdaric", "pip", "setuptools"),
    *("ministack", "moto", "flask", "aiohttp", "pytest", "hypothesis", "sandbox", "relayctl", "mypy_boto3_sqs"),
    *("aws_xray_sdk", "fastjsonschema", "pydantic", "pydantic_core"),
}
UNWANTED_FOLDERS = {"tests", "test", "bin"}
BINARY = re.compile(r"\.(so|dylib|pyd|dll|a|exe)(\.|$)")

# The flag of bytecode that is validated by a hash of its source, without a check at import ("unchecked-hash").
HASHED = 0b01


def modules(build: Build, artefact: str) -> dict[str, Path]:
    return {name: path for name, path in build.files(artefact).items() if name.endswith(".py")}


def test_build_has_exactly_the_known_artefacts(built: Build) -> None:
    assert set(built.places()) == set(ARTEFACTS)


def test_layers_contain_the_library_and_its_dependencies(built: Build) -> None:
    library = ROOT / "layers" / "relay" / "relay"
    sources = {path.relative_to(library).as_posix() for path in library.rglob("*.py")}
    assert set(modules(built, "RelayLayer")) == {f"python/relay/{name}" for name in sources}
    wanted = {"aws_lambda_powertools", "requests", "urllib3", "certifi", "charset_normalizer", "idna"}
    assert wanted <= {PurePosixPath(name).parts[1] for name in modules(built, "DependenciesLayer")}
    for function in FUNCTIONS:
        assert set(built.files(function)) == {"app.py", "__pycache__/app.cpython-313.pyc"}


def test_layers_have_no_file_in_common(built: Build) -> None:
    assert not built.files("DependenciesLayer").keys() & built.files("RelayLayer").keys()


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_artefact_contains_no_unwanted_files(built: Build, artefact: str) -> None:
    names = [PurePosixPath(name) for name in built.files(artefact)]
    assert names
    assert [name for name in names if BINARY.search(name.name)] == []
    assert [name for name in names if UNWANTED_FOLDERS & set(name.parent.parts)] == []
    packages = {
        re.split(r"[-.]", name.relative_to("python").parts[0])[0] for name in names if name.parts[0] == "python"
    }
    assert UNWANTED_PACKAGES & packages == set()


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_bytecode_is_that_of_the_modules_and_python_loads_it_without_their_sources(built: Build, artefact: str) -> None:
    place = built.places()[artefact]
    for name, path in modules(built, artefact).items():
        source, bytecode = path.read_bytes(), Path(importlib.util.cache_from_source(path)).read_bytes()
        assert bytecode[:4] == importlib.util.MAGIC_NUMBER, name
        assert int.from_bytes(bytecode[4:8], "little") == HASHED, name
        assert bytecode[8:16] == importlib.util.source_hash(source), name
        assert marshal.loads(bytecode[16:]).co_filename == f"{place}/{name}"
    expected = {Path(importlib.util.cache_from_source(path)) for path in modules(built, artefact).values()}
    assert {path for name, path in built.files(artefact).items() if name.endswith(".pyc")} == expected


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_artefact_size_is_within_its_budget(built: Build, artefact: str) -> None:
    unzipped = sum(path.stat().st_size for path in built.files(artefact).values())
    budgets = BUDGETS[artefact]
    assert unzipped <= budgets[0]
    assert (built.folder / f"{artefact}.zip").stat().st_size <= budgets[1]


@pytest.mark.parametrize("artefact", ARTEFACTS)
def test_every_file_of_an_artefact_is_readable_by_lambdas_user(
    built: Build, dist_elsewhere: Path, artefact: str
) -> None:
    entries = zipfile.ZipFile(built.folder / f"{artefact}.zip").infolist()
    assert [entry.filename for entry in entries if entry.external_attr >> 16 & 0o444 != 0o444] == []
    # `sam deploy` from a clone uploads the modes of the files that `sam build` wrote.
    files = Build(dist_elsewhere.parent / ".aws-sam" / "build").files(artefact)
    assert {*files} == {entry.filename for entry in entries}
    assert [name for name, path in files.items() if path.stat().st_mode & 0o444 != 0o444] == []


def test_release_made_in_another_folder_has_the_same_bytes(dist: Path, dist_elsewhere: Path) -> None:
    ours, theirs = ({path.name: path.read_bytes() for path in each.iterdir()} for each in (dist, dist_elsewhere))
    assert len(ours) == 8
    assert [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)] == []
