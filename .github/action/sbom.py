"""Completes the bill of materials of a release: sbom.py VERSION <of-cyclonedx-py.json >sbom.json.

cyclonedx-py lists the packages of a lock with their hashes. It does not know the version of this
project, what depends on what, or the llama.cpp inside llama-cpp-python.
"""

import json
import sys
from typing import Any

VENDORED = {"0.3.36": "0c1e57098bba43ac29e6e3b677cdceebdd22334f"}
"""The commit of llama.cpp in the source distribution of a version of llama-cpp-python."""


def completed(sbom: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the bill with the version, llama.cpp, and the packages as what the project needs."""
    components = sbom["components"]
    root = sbom["metadata"]["component"]
    (bindings,) = (one for one in components if one["name"] == "llama-cpp-python")
    commit = VENDORED.get(bindings["version"])
    if commit is None:
        sys.exit(f"sbom.py: add the llama.cpp of llama-cpp-python {bindings['version']}")
    purl = f"pkg:github/ggml-org/llama.cpp@{commit}"
    native = {
        "bom-ref": purl,
        "description": "compiled from the source distribution of llama-cpp-python",
        "licenses": [{"license": {"id": "MIT"}}],
        "name": "llama.cpp",
        "purl": purl,
        "type": "library",
        "version": commit,
    }
    needs = {root["bom-ref"]: [one["bom-ref"] for one in components], bindings["bom-ref"]: [purl]}
    graph = {one["ref"]: one for one in (*sbom["dependencies"], {"ref": purl})}
    graph |= {ref: {"ref": ref, "dependsOn": sorted(needed)} for ref, needed in needs.items()}
    named = root | {"version": version, "purl": f"pkg:pypi/{root['name']}@{version}"}
    return sbom | {
        "components": [*components, native],
        "dependencies": [graph[ref] for ref in sorted(graph)],
        "metadata": sbom["metadata"] | {"component": named},
    }


if __name__ == "__main__":
    json.dump(completed(json.load(sys.stdin), sys.argv[1]), sys.stdout, indent=2)
    sys.stdout.write("\n")
