"""deploy/kubernetes: every manifest against the API's own JSON schemas, and the promises that no schema checks."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.deploy.tools import needs

FOLDER = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes"
MANIFESTS = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
OLDEST, NEWEST = "1.31.0", "1.34.0"


def documents() -> dict[str, dict[str, Any]]:
    """Every object by kind/name."""
    found = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def pods() -> dict[str, dict[str, Any]]:
    return {name: one["spec"]["template"] for name, one in documents().items() if "template" in one.get("spec", {})}


def containers() -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, container)
        for name, pod in pods().items()
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
    ]


@needs(package="kubernetes_validate", why="it brings the schemas of the Kubernetes API")
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_what_the_api_takes(path: Path, version: str) -> None:
    """Strictly: a misspelt field, which the API would drop in silence, is an error here."""
    import kubernetes_validate

    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here, which builds what `apply -k` sends")
@needs(package="kubernetes_validate", why="it brings the schemas of the Kubernetes API")
def test_what_would_be_applied_is_what_the_api_takes(tmp_path: Path) -> None:
    """As docs/deploy.md has it, passwords filled in: every object valid and in the namespace, every image named."""
    import kubernetes_validate

    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder)
    (folder / "secrets.env").write_text("postgres=one\ndashboard=two\n")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    for one in objects:
        kubernetes_validate.validate(one, NEWEST, strict=True)
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == "hpo"
    pods = [one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {})]
    images = {container["image"] for pod in pods for container in pod["containers"] + pod.get("initContainers", [])}
    assert {image.partition(":")[0] for image in images} == {"registry.example.com/hpo", "postgres"}
    (secret,) = (one for one in objects if one["kind"] == "Secret")
    assert {base64.b64decode(value) for value in secret["data"].values()} == {b"one", b"two"}


def test_the_kustomization_names_files_that_exist_and_a_manifest_that_is_left_out_says_so() -> None:
    text = (FOLDER / "kustomization.yaml").read_text()
    kustomization = yaml.safe_load(text)
    assert all((FOLDER / name).is_file() for name in kustomization["resources"])
    assert all((FOLDER / name).is_file() for one in kustomization["configMapGenerator"] for name in one["envs"])
    for path in MANIFESTS:
        assert path.name in text, f"{path.name} is neither used nor offered"


def test_every_container_is_limited_and_has_no_rights() -> None:
    """Memory bounded, not root, nothing written outside its volumes, no capability kept."""
    for name, container in containers():
        assert container["resources"]["limits"]["memory"], name
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"], name
        assert not security["allowPrivilegeEscalation"], name
        assert security["capabilities"] == {"drop": ["ALL"]}, name
    for name, pod in pods().items():
        assert pod["spec"]["securityContext"]["runAsNonRoot"], name
        assert pod["spec"]["automountServiceAccountToken"] is False, name


@pytest.mark.parametrize("which", ["Job/workers", "Deployment/pool"])
def test_a_worker_has_one_gpu_and_time_to_put_its_trials_down(which: str) -> None:
    """Preemption sends SIGTERM; eight seconds must fit into the grace period."""
    spec = pods()[which]["spec"]
    assert spec["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert spec["terminationGracePeriodSeconds"] >= 15
    assert spec["containers"][0]["args"] == ["worker", "--study", "$(STUDY)"]
    assert {"name": "HPO_DEVICES", "value": "cuda"} in spec["containers"][0]["env"]


def test_a_preempted_pod_costs_no_attempt_and_a_study_that_cannot_run_is_not_tried_again() -> None:
    spec = documents()["Job/workers"]["spec"]
    assert spec["completionMode"] == "Indexed"
    ignore, fail = spec["podFailurePolicy"]["rules"]
    assert ignore == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert fail["onExitCodes"]["values"] == [2, 3, 70]


def test_only_clients_reach_the_database_and_nobody_the_workers() -> None:
    """Everything is closed; what opens PostgreSQL is a label that exactly the pods with a database URL have."""
    policies = {name: one["spec"] for name, one in documents().items() if one["kind"] == "NetworkPolicy"}
    assert policies["NetworkPolicy/nothing-comes-in"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    (rule,) = policies["NetworkPolicy/database-clients"]["ingress"]
    label = rule["from"][0]["podSelector"]["matchLabels"]
    for name, pod in pods().items():
        asks = any(one.get("envFrom") for one in pod["spec"]["containers"])
        assert (label.items() <= pod["metadata"]["labels"].items()) == asks, name


def test_no_password_stands_in_a_manifest() -> None:
    for _, container in containers():
        for variable in container.get("env", ()):
            assert "PASSWORD" not in variable["name"] or variable["name"].endswith("_FILE")
    values = dict(line.split("=", 1) for line in (FOLDER / "study.env").read_text().splitlines())
    assert ":" not in values["HPO_STORAGE"].partition("//")[2].partition("@")[0]
    example = (FOLDER / "secrets.env.example").read_text().splitlines()
    assert all(line.endswith("=") or line.startswith("#") for line in example)
