"""Texts that attack a page, and what a reader has to see of each."""

from collections.abc import Mapping
from typing import Final

HOSTILE: Final[Mapping[str, str]] = {
    text: text
    for text in (
        "<script>pwned=1</script>",
        "</script><script>pwned=1</script>",
        "<!--<script>",
        "<img src=x onerror=pwned=1>",
        "<svg onload=pwned=1>",
        '" autofocus onfocus=pwned=1 x="',
        "' onmouseover='pwned=1",
        "javascript:pwned=1",
        "data:text/html,<script>pwned=1</script>",
        "</style><style>*{display:none}</style>",
        "<link rel=stylesheet href=http://127.0.0.1:9/a><img src=http://127.0.0.1:9/b>",
        "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/c'>",
        "<base href=http://127.0.0.1:9/><form action=/d><button>Log in</button></form>",
        "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
        "<a id=main><a id=main name=length><form id=document name=getElementById>",
        "{{ 7*7 }}${7*7}{% raw %}#{7*7}",
        "&lt;b&gt; &amp;lt; &#x3c;script&#x3e;",
        "__proto__",
    )
} | {
    "a\u2028b\u2029c\x85d": "a\\u2028b\\u2029c\\x85d",
    "good\u202egpj.exe\u2066x\u2069\u200f": "good\\u202egpj.exe\\u2066x\\u2069\\u200f",
    "pay\u200bpal\xad\u2060\ufeff\U000e0041\u3164": (
        "pay\\u200bpal\\xad\\u2060\\ufeff\\U000e0041\\u3164"
    ),
    "\0\x07\x08\x1b[31mred\x1b[0m\r\n\t\x7f\x9b": (
        "\\x00\\x07\\x08\\x1b[31mred\\x1b[0m\\r\\n\\t\\x7f\\x9b"
    ),
    "\ud800\ufffd\uffff": "\\ud800\ufffd\\uffff",
    "Z" + "\u0301" * 120: "Z\u0301\u0301" + "\\u0301" * 118,
    "A" * 5000: "A" * 400 + "... and 4600 more characters",
}
"""By text, what must be seen."""
