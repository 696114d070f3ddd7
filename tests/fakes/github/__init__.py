"""A GitHub on the loopback: comments on pull requests, with the real permissions and limits.

    with serving(World(pulls=[Pull(number=7, sha="c0ffee")])) as github:
        ...  # github.api_url, github.world.comments, github.world.asked, github.strike(Fault(...))

As a program it writes its port to a file, and tells what it holds at `/_state`:

    python -m tests.fakes.github --port-file port --state world.json

* `world`: what there is, and what goes wrong next;
* `shapes`: how GitHub writes it as JSON;
* `service`: what each request is answered with;
* `control`: the same world from another process;
* `server`: the socket.

`tests/contract/github/` holds its answers, and our requests, against GitHub's own description.
"""
