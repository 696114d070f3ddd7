"""Make libraries of CUDA that PyPI's torch is linked with, so that it loads without a GPU.

    python stand_ins.py FOLDER [INSTALLED...]

torch's wheel for x86-64 needs 2 GB of libraries that a machine without a GPU never calls. For each
that its files need, other than those installed, a library is compiled that has the same name,
versions and functions. Needs readelf and gcc.
"""

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Functions: TypeAlias = dict[str, dict[str, set[str]]]
"""The names of functions, by library and version; those without a version have the empty one."""

_CUDA = re.compile(r"lib(?:cu|nv|nccl)[\w.]*")
_UNVERSIONED = {
    "nccl": "libnccl.so.2",
    "cusparseLt": "libcusparseLt.so.0",
    "cuFile": "libcufile.so.0",
    "curand": "libcurand.so.10",
    "cu": "libcuda.so.1",
}
"""The libraries whose functions have no versions, by how the names begin; the first one counts."""


def main() -> None:
    """Write the libraries into the folder of torch's own."""
    folder, *installed = sys.argv[1:]
    functions = _functions_of(Path(folder))
    for library in sorted(functions.keys() - set(installed)):
        _compile(Path(folder) / library, functions[library])


def _functions_of(folder: Path) -> Functions:
    functions: Functions = {}
    objects = [path for path in sorted(folder.glob("*.so*")) if not path.is_symlink()]
    for path in objects:
        for library in re.findall(r"NEEDED.*\[(.*)\]", _read("--dynamic", path)):
            if _CUDA.fullmatch(library):
                functions.setdefault(library, defaultdict(set))
    for path in objects:
        libraries = dict(_versions(path))
        for version, library in libraries.items():
            functions[library][version] |= set()
        for name, version in _undefined(path):
            library = libraries.get(version) or _unversioned(name, version)
            if library in functions:
                functions[library][version].add(name)
    return functions


def _versions(path: Path) -> Iterator[tuple[str, str]]:
    """Yield each version that a file needs of a library of CUDA, and the library."""
    library = ""
    for line in _read("--version-info", path).splitlines():
        if found := re.search(r"File: (\S+)", line):
            library = found[1]
        elif (found := re.search(r"Name: (\S+)", line)) and _CUDA.fullmatch(library):
            yield found[1], library


def _undefined(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name and the version of each function that a file takes from others."""
    for line in _read("--dyn-syms", path).splitlines():
        columns = line.split()
        if len(columns) > 7 and columns[6] == "UND":
            name, _, version = columns[7].partition("@")
            yield name, version


def _unversioned(name: str, version: str) -> str:
    if version or not re.match(r"nccl|cu[A-Z]|cusparseLt|curand", name):
        return ""
    return next(to for prefix, to in _UNVERSIONED.items() if name.startswith(prefix))


def _read(option: str, path: Path) -> str:
    command = ["readelf", "--wide", option, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _compile(library: Path, versions: dict[str, set[str]]) -> None:
    names = sorted(set().union(*versions.values()))
    code = "".join(f"long {name}(void) {{ return 1; }}\n" for name in names)
    nodes = "".join(
        f"{version} {{ global: {' '.join(f'{name};' for name in sorted(group))} }};\n"
        for version, group in versions.items()
        if version
    )
    with tempfile.TemporaryDirectory() as folder:
        source, script = Path(folder, "stand_in.c"), Path(folder, "versions")
        source.write_text(code or "int empty;\n", encoding="utf-8")
        script.write_text(nodes, encoding="utf-8")
        command = ["gcc", "-w", "-fno-builtin", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
        linking = [f"-Wl,--version-script={script}"] if nodes else []
        subprocess.run([*command, *linking, "-o", library, source], check=True)


if __name__ == "__main__":
    main()
