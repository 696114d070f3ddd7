"""GitHub's JSON, with every field that its description requires."""

from typing import Any
from urllib.parse import quote

from tests.fakes.github.world import Account, Artifact, Comment, Issue, Pull, Run

_WHEN = "2025-01-02T03:04:05Z"
_USER_URLS = (
    *("followers", "following", "gists", "starred", "subscriptions"),
    *("organizations", "repos", "events", "received_events"),
)
_REPOSITORY_URLS = (
    *("archive", "assignees", "blobs", "branches", "collaborators", "comments", "commits"),
    *("compare", "contents", "contributors", "deployments", "downloads", "events", "forks"),
    *("git_commits", "git_refs", "git_tags", "hooks", "issue_comment", "issue_events", "issues"),
    *("keys", "labels", "languages", "merges", "milestones", "notifications", "pulls"),
    *("releases", "stargazers", "statuses", "subscribers", "subscription", "tags", "teams"),
    *("trees", "clone", "mirror", "svn"),
)
_COUNTS = ("forks", "forks_count", "open_issues", "open_issues_count", "watchers")
_MORE_COUNTS = ("watchers_count", "stargazers_count", "size")
_FEATURES = ("has_downloads", "has_issues", "has_projects", "has_wiki", "has_pages")


class Shapes:
    """Formats the state of a server, with URLs of that server."""

    def __init__(self, *, api_url: str, server_url: str, repository: str) -> None:
        self._api = api_url
        self._web = server_url
        self._repository = repository

    def user(self, account: Account) -> dict[str, Any]:
        """Return an account."""
        url = f"{self._api}/users/{quote(account.login)}"
        return {
            "login": account.login,
            "id": account.id,
            "node_id": f"U_{account.id}",
            "avatar_url": f"{self._web}/avatars/{account.id}",
            "gravatar_id": "",
            "url": url,
            "html_url": f"{self._web}/{quote(account.login)}",
            **{f"{name}_url": f"{url}/{name}" for name in _USER_URLS},
            "type": account.type,
            "site_admin": False,
        }

    def private_user(self, account: Account) -> dict[str, Any]:
        """Return the account that a token belongs to."""
        unsaid = ("name", "company", "blog", "location", "email", "hireable", "bio")
        counts = ("public_repos", "public_gists", "followers", "following")
        return {
            **self.user(account),
            **dict.fromkeys(unsaid),
            **dict.fromkeys(counts, 0),
            "created_at": _WHEN,
            "updated_at": _WHEN,
        }

    def comment(self, comment: Comment) -> dict[str, Any]:
        """Return a comment."""
        app = comment.author.app
        issue = f"{self._api}/repos/{self._repository}/issues"
        page = f"{self._web}/{self._repository}/pull/{comment.pull}"
        return {
            "id": comment.id,
            "node_id": f"IC_{comment.id}",
            "url": f"{issue}/comments/{comment.id}",
            "html_url": f"{page}#issuecomment-{comment.id}",
            "issue_url": f"{issue}/{comment.pull}",
            "body": comment.body,
            "user": self.user(comment.author),
            "author_association": "NONE",
            "created_at": _WHEN,
            "updated_at": _WHEN,
            "performed_via_github_app": None if app is None else self._app(app),
        }

    def issue(self, issue: Issue) -> dict[str, Any]:
        """Return an issue."""
        app = issue.author.app
        url = f"{self._api}/repos/{self._repository}/issues/{issue.number}"
        return {
            "id": issue.number,
            "node_id": f"I_{issue.number}",
            "number": issue.number,
            "title": issue.title,
            "body": issue.body,
            "state": "open" if issue.is_open else "closed",
            "locked": False,
            "url": url,
            "html_url": f"{self._web}/{self._repository}/issues/{issue.number}",
            "repository_url": f"{self._api}/repos/{self._repository}",
            **{f"{part}_url": f"{url}/{part}" for part in ("comments", "events")},
            "labels_url": f"{url}/labels{{/name}}",
            "labels": [],
            "comments": 0,
            **dict.fromkeys(("assignee", "milestone")),
            "user": self.user(issue.author),
            "author_association": "NONE",
            "created_at": _WHEN,
            "updated_at": _WHEN,
            "closed_at": None if issue.is_open else _WHEN,
            "performed_via_github_app": None if app is None else self._app(app),
        }

    def pull_as_issue(self, pull: Pull) -> dict[str, Any]:
        """Return a pull request as the list of issues has it."""
        author = Account(login=pull.owner)
        issue = Issue(
            number=pull.number, author=author, title=f"Pull request {pull.number}", body=""
        )
        url = f"{self._api}/repos/{self._repository}/pulls/{pull.number}"
        page = f"{self._web}/{self._repository}/pull/{pull.number}"
        links = {"url": url, "html_url": page}
        links |= {"diff_url": f"{page}.diff", "patch_url": f"{page}.patch"}
        return {**self.issue(issue), "html_url": page, "pull_request": links}

    def pull(self, pull: Pull) -> dict[str, Any]:
        """Return a pull request of a list."""
        url = f"{self._api}/repos/{self._repository}/pulls/{pull.number}"
        page = f"{self._web}/{self._repository}/pull/{pull.number}"
        owner, name = self._repository.split("/")
        links = ("comments", "commits", "statuses", "html", "issue")
        more = ("review_comments", "review_comment", "self")
        unsaid = ("body", "closed_at", "merged_at", "merge_commit_sha", "assignee", "milestone")
        head = self._branch(pull.owner, name, pull.branch, pull.sha)
        return {
            "id": pull.number,
            "node_id": f"PR_{pull.number}",
            "number": pull.number,
            "state": "open" if pull.is_open else "closed",
            "locked": pull.is_locked,
            "title": f"Pull request {pull.number}",
            "url": url,
            "html_url": page,
            "diff_url": f"{page}.diff",
            "patch_url": f"{page}.patch",
            "issue_url": url,
            **{f"{link}_url": f"{url}/{link}" for link in (*links[:3], *more[:2])},
            "user": self.user(Account(login=pull.owner)),
            **dict.fromkeys((*unsaid, "auto_merge")),
            "labels": [],
            "created_at": _WHEN,
            "updated_at": _WHEN,
            "author_association": "NONE",
            "head": head if pull.has_head else {**head, "repo": None},
            "base": self._branch(owner, name, "main", "b" * 40),
            "_links": {link: {"href": f"{url}/{link}"} for link in (*links, *more)},
        }

    def whole_pull(self, pull: Pull) -> dict[str, Any]:
        """Return a pull request that was asked for by its number."""
        counts = ("additions", "changed_files", "comments", "commits", "deletions")
        return {
            **self.pull(pull),
            **dict.fromkeys((*counts, "review_comments"), 0),
            **dict.fromkeys(("mergeable", "merged_by")),
            "mergeable_state": "unknown",
            "merged": False,
            "maintainer_can_modify": False,
        }

    def permission(self, account: Account, permission: str) -> dict[str, Any]:
        """Return what an account may do; the older field knows four levels only."""
        older = {"maintain": "write", "triage": "read"}.get(permission, permission)
        user = {**self.user(account), "role_name": permission}
        return {"permission": older, "role_name": permission, "user": user}

    def run(self, run: Run, pull: Pull, *, sha: str) -> dict[str, Any]:
        """Return a run of a workflow."""
        _, name = self._repository.split("/")
        url = f"{self._api}/repos/{self._repository}/actions/runs/{run.id}"
        links = ("jobs", "logs", "check_suite", "artifacts", "cancel", "rerun", "workflow")
        return {
            "id": run.id,
            "node_id": f"WFR_{run.id}",
            "name": "gate",
            "path": f".github/workflows/{run.workflow}",
            "display_title": f"Pull request {pull.number}",
            "run_number": run.id,
            "run_attempt": run.attempt,
            "event": run.event,
            "status": run.status,
            "conclusion": "failure" if run.status == "completed" else None,
            "workflow_id": 1,
            "check_suite_id": run.id,
            "head_branch": pull.branch,
            "head_sha": sha,
            "head_commit": None,
            "url": url,
            "html_url": f"{self._web}/{self._repository}/actions/runs/{run.id}",
            **{f"{link}_url": f"{url}/{link}" for link in links},
            "pull_requests": [],
            **dict.fromkeys(("created_at", "updated_at"), _WHEN),
            "repository": self._repo(*self._repository.split("/")),
            "head_repository": self._repo(pull.owner, name),
        }

    def artifact(self, artifact: Artifact) -> dict[str, Any]:
        """Return an artifact of a run."""
        url = f"{self._api}/repos/{self._repository}/actions/artifacts/{artifact.id}"
        return {
            "id": artifact.id,
            "node_id": f"A_{artifact.id}",
            "name": artifact.name,
            "size_in_bytes": artifact.size,
            "url": url,
            "archive_download_url": f"{url}/zip",
            "expired": artifact.is_expired,
            "created_at": artifact.created_at,
            **dict.fromkeys(("expires_at", "updated_at"), _WHEN),
        }

    def _branch(self, owner: str, name: str, ref: str, sha: str) -> dict[str, Any]:
        return {
            "label": f"{owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": self.user(Account(login=owner)),
            "repo": self._repo(owner, name),
        }

    def _repo(self, owner: str, name: str) -> dict[str, Any]:
        url = f"{self._api}/repos/{owner}/{name}"
        return {
            "id": 1,
            "node_id": "R_1",
            "name": name,
            "full_name": f"{owner}/{name}",
            "owner": self.user(Account(login=owner)),
            "private": False,
            "fork": f"{owner}/{name}" != self._repository,
            "url": url,
            "html_url": f"{self._web}/{owner}/{name}",
            **{f"{part}_url": f"{url}/{part}" for part in _REPOSITORY_URLS},
            "git_url": f"git:github.test/{owner}/{name}.git",
            "ssh_url": f"git@github.test:{owner}/{name}.git",
            **dict.fromkeys((*_COUNTS, *_MORE_COUNTS), 0),
            **dict.fromkeys(_FEATURES, True),
            **dict.fromkeys(("description", "homepage", "language", "license")),
            "default_branch": "main",
            "archived": False,
            "disabled": False,
            **dict.fromkeys(("created_at", "updated_at", "pushed_at"), _WHEN),
        }

    def _app(self, slug: str) -> dict[str, Any]:
        return {
            "id": 15368,
            "slug": slug,
            "node_id": f"A_{slug}",
            "owner": self.user(Account(login="github")),
            "name": slug,
            "description": None,
            "external_url": f"{self._web}/apps/{slug}",
            "html_url": f"{self._web}/apps/{slug}",
            "created_at": _WHEN,
            "updated_at": _WHEN,
            "permissions": {"issues": "write", "pull_requests": "write"},
            "events": [],
        }
