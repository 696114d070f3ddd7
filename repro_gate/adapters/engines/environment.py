"""What a child process starts with: its command, and the environment variables that it may see."""

import sys
from collections.abc import Collection, Mapping
from typing import Final

_CHILD_VARIABLES: Final = frozenset(
    {
        "CUDA_CACHE_PATH",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDA_VISIBLE_DEVICES",
        "DYLD_LIBRARY_PATH",
        "GGML_VK_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "HOME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LD_LIBRARY_PATH",
        "NVIDIA_DRIVER_CAPABILITIES",
        "NVIDIA_VISIBLE_DEVICES",
        "ONEAPI_DEVICE_SELECTOR",
        "PATH",
        "PYTHONPATH",
        "ROCR_VISIBLE_DEVICES",
        "TMPDIR",
        "TZ",
        "VIRTUAL_ENV",
    }
)
"""Any other variable could change results, or hold a secret that a child does not need."""
_MACHINE_VARIABLES: Final = _CHILD_VARIABLES | {
    *("CI", "HOSTNAME", "KUBECONFIG", "LOGNAME", "MAIL", "OLDPWD", "PWD", "SHELL", "TERM"),
    *("TF_BUILD", "USER", "NODE_AUTH_TOKEN"),
    # The URL of a proxy may contain a password.
    *("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
}
_CI_PREFIXES: Final = (
    *("ACTIONS_", "GH_", "GITHUB_", "INPUT_", "RUNNER_"),
    *("BITBUCKET_", "BUILDKITE_", "CIRCLE_", "CI_", "GITLAB_", "JENKINS_", "SYSTEM_"),
    *("AGENT_", "APPVEYOR_", "CODEBUILD_", "DRONE_", "FORGEJO_", "GITEA_", "SEMAPHORE_"),
    *("TEAMCITY_", "TRAVIS_", "WOODPECKER_"),
)
"""They include tokens that may write to the repository."""
_PROGRAM_PREFIXES: Final = (
    *("GIT_", "LD_", "PYTHON", "REPRO_GATE_", "SSH_", "SUDO_", "XDG_"),
    *("CARGO_", "DOCKER_", "NPM_", "PIP_", "TWINE_", "UV_"),
)
"""They include URLs of package indexes and registries, which may contain passwords."""


def minimal_environment(environ: Mapping[str, str], also: Collection[str] = ()) -> dict[str, str]:
    """Return the variables that a child process needs, and those named in `also`."""
    return {
        name: value for name, value in environ.items() if name in _CHILD_VARIABLES or name in also
    }


def may_hold_an_api_key(name: str) -> bool:
    """Return whether the value of a variable may be sent to a provider.

    Variables of the CI system and of the machine may not: no matrix needs them, and a malicious
    one would send them to a host of its choice.
    """
    return name not in _MACHINE_VARIABLES and not name.startswith(
        (*_CI_PREFIXES, *_PROGRAM_PREFIXES)
    )


def python_module_argv(module: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours, and never a file of the current folder.

    An isolated gate, such as that of the action, isolates its children too: with `PYTHONPATH` they
    could load a library other than the installed one.
    """
    return (sys.executable, "-I" if sys.flags.isolated else "-P", "-m", module)
