"""A GitHub on the loopback: comments and issues, with the real permissions and limits.

    with serving(World(pulls=[Pull(number=7, sha="c0ffee")])) as github:
        ...  # github.api_url, github.world.comments, github.world.asked, github.strike(Fault(...))

As a program it writes its port to a file, and returns its state at `/_state`:

    python -m tests.fakes.github --port-file port --state world.json

* `world`: the state, and the scheduled faults;
* `shapes`: GitHub's JSON;
* `service`: the answer to each request;
* `control`: the same world from another process;
* `server`: the socket.

`tests/contract/github/` validates its answers, and our requests, with GitHub's own description.
"""
