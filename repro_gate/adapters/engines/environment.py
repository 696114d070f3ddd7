"""What a child process starts with: its command, and the environment variables that it may see."""

import sys
from collections.abc import Collection, Mapping
from typing import Final

_FOR_CHILDREN: Final = frozenset(
    {
        "CUDA_CACHE_PATH",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDA_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_VISIBLE_DEVICES",
        "PATH",
        "PYTHONPATH",
        "TMPDIR",
        "TZ",
        "VIRTUAL_ENV",
    }
)
"""Everything else could change results, or is a secret that a child has no use for."""
_OF_THE_MACHINE: Final = _FOR_CHILDREN | {
    *("CI", "HOSTNAME", "KUBECONFIG", "LOGNAME", "MAIL", "OLDPWD", "PWD", "SHELL", "TERM"),
    *("TF_BUILD", "USER", "NODE_AUTH_TOKEN"),
    # A proxy may be named with its password.
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
}
_PREFIXES_OF_CI: Final = (
    *("ACTIONS_", "GH_", "GITHUB_", "INPUT_", "RUNNER_"),
    *("BITBUCKET_", "BUILDKITE_", "CIRCLE_", "CI_", "GITLAB_", "JENKINS_", "SYSTEM_"),
    *("AGENT_", "APPVEYOR_", "CODEBUILD_", "DRONE_", "FORGEJO_", "GITEA_", "SEMAPHORE_"),
    *("TEAMCITY_", "TRAVIS_", "WOODPECKER_"),
)
"""Among them are tokens that may write to the repository."""
_PREFIXES_OF_PROGRAMS: Final = (
    *("GIT_", "LD_", "PYTHON", "REPRO_GATE_", "SSH_", "SUDO_", "XDG_"),
    *("CARGO_", "DOCKER_", "NPM_", "PIP_", "TWINE_", "UV_"),
)
"""Package indexes and registries are named with their passwords, too."""


def minimal_environment(environ: Mapping[str, str], also: Collection[str] = ()) -> dict[str, str]:
    """Return what a child process needs of an environment, and the variables that are named."""
    return {name: value for name, value in environ.items() if name in _FOR_CHILDREN or name in also}


def may_hold_an_api_key(name: str) -> bool:
    """Return whether the value of a variable may be sent to a provider.

    It may not where the variable is the CI system's or the machine's own: no matrix needs those,
    and one that names them would send them to a host of its choice.
    """
    return name not in _OF_THE_MACHINE and not name.startswith(
        (*_PREFIXES_OF_CI, *_PREFIXES_OF_PROGRAMS)
    )


def python_module_argv(module: str) -> tuple[str, ...]:
    """Return the command that runs a module, and never a file of the current folder in its place.

    An isolated gate, such as that of the action, isolates its children as well: with `PYTHONPATH`,
    they could load another library than the installed one.
    """
    return (sys.executable, "-I" if sys.flags.isolated else "-P", "-m", module)
