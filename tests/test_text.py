"""Outside text is made harmless: for terminals, CI logs, Markdown and HTML, and without its secrets."""

from __future__ import annotations

import re
import time
import unicodedata

import pytest

from manifestctl.text import LIMIT, duration, escape, html, markdown, of_program, outside, plural, redact, size
from tests.support.actions import HOSTILE_TEXT


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("", ""),
        ("plain text, with: punctuation; ünïcödé 漢字 and 🐳", "plain text, with: punctuation; ünïcödé 漢字 and 🐳"),
        ("two\nlines\r\n", "two\\nlines\\r\\n"),
        ("a\tb\vc\fd\be\a\0", "a\\tb\\x0bc\\x0cd\\x08e\\x07\\x00"),
        ("\x1b[2J\x7f\x85\x9b1m", "\\x1b[2J\\x7f\\x85\\x9b1m"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        (
            "\u202eevil\u202c \u2066x\u2069 \u061c\u200e\u200f",
            "\\u202eevil\\u202c \\u2066x\\u2069 \\u061c\\u200e\\u200f",
        ),
        ("zero\u200bwidth\u200d\u2060\ufeff\u00ad", "zero\\u200bwidth\\u200d\\u2060\\ufeff\\xad"),
        ("old \u206a formats", "old \\u206a formats"),
        ("lone \ud800 \udfff", "lone \\ud800 \\udfff"),
        ("\U000e0041\U000e0100", "\\U000e0041\\U000e0100"),
        ("back\\slash stays", "back\\slash stays"),
    ],
)
def test_escape_shows_what_cannot_be_seen(text: str, safe: str) -> None:
    assert escape(text) == safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("::error::x", "\\x3a:error::x"),
        ("  ::set-output name=x::y", "  \\x3a:set-output name=x::y"),
        ("\u00a0\u3000::add-mask::x", "\u00a0\u3000\\x3a:add-mask::x"),
        ("a::b", "a::b"),
        (":one colon", ":one colon"),
        ("##[error]x", "#\\x23[error]x"),
        ("x ##[group] ##[endgroup]", "x #\\x23[group] #\\x23[endgroup]"),
        ("###[error]", "##\\x23[error]"),
        ("##vso[task.setvariable]x", "#\\x23vso[task.setvariable]x"),
        ("##VSO[task]x", "#\\x23VSO[task]x"),
        ("##teamcity[message]", "#\\x23teamcity[message]"),
        ("## heading [link]", "## heading [link]"),
        ("\n::error::x", "\\n::error::x"),
    ],
)
def test_escape_takes_the_edge_off_commands_to_runners(text: str, safe: str) -> None:
    assert escape(text) == safe
    assert not safe.strip().startswith("::")


@pytest.mark.parametrize(
    ("text", "limit", "safe"),
    [
        ("12345", 5, "12345"),
        ("123456", 5, "12345…"),
        ("\n\n\n", 6, "\\n\\n\\n"),
        ("\n\n\n\n", 6, "\\n\\n\\n…"),
        ("\U000e0041" * 100, 12, "\\U000e0041\\U…"),
        ("ab\n", 3, "ab\\…"),
        ("::x", 3, "\\x3…"),
    ],
)
def test_escape_caps_what_it_gives_and_not_what_it_takes(text: str, limit: int, safe: str) -> None:
    assert escape(text, limit) == safe


def test_escape_caps_at_a_kibibyte_unless_told_otherwise() -> None:
    assert escape("x" * LIMIT) == "x" * 1024
    assert escape("\0" * 10_000_000) == "\\x00" * 256 + "…"


def test_every_format_and_control_character_that_reorders_or_hides_is_escaped() -> None:
    # Marks that Arabic, Syriac, Kaithi and music need for themselves are shown by the script they belong to.
    scripts = re.compile(r"ARABIC|SYRIAC|KAITHI|MUSICAL|SHORTHAND|EGYPTIAN")
    for code in range(0x110000):
        character = chr(code)
        category = unicodedata.category(character)
        needed = category in ("Cc", "Zl", "Zp", "Cs") or (
            category == "Cf"
            and (character == "\u061c" or not scripts.search(unicodedata.name(character, "ARABIC")) or code >= 0xE0000)
        )
        if needed:
            assert character not in escape(character), f"U+{code:04X}"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("GET https://r.example/v2/x?_state=abc&n=1 failed", "GET https://r.example/v2/x?… failed"),
        ("see 'https://r.example/x?X-Amz-Signature=abc'.", "see 'https://r.example/x?…'."),
        ("Does it exist? Perhaps.", "Does it exist? Perhaps."),
        ("https://user:secret@r.example/x", "https://…@r.example/x"),
        ("https://user:se@cret@r.example/x", "https://…@r.example/x"),
        ("https://user@r.example and ftp://a:b@c", "https://…@r.example and ftp://…@c"),
        ("mail me@r.example/x", "mail me@r.example/x"),
        ("alice:hunter2pw@r.example/x:1", "…@r.example/x:1"),
        ("'alice:p@ss:w@r.example:5000/x' is wrong", "'…@r.example:5000/x' is wrong"),
        ("(alice:pw@[::1]:5000/x)", "(…@[::1]:5000/x)"),
        ("web:1.4@sha256:ab is short", "web:1.4@sha256:ab is short"),
        (f"web:1@blake3:{'0' * 64} web:1@sha512:{'0' * 128}", f"web:1@blake3:{'0' * 64} web:1@sha512:{'0' * 128}"),
        ("r.example:5000/web:1@sha256:ab", "r.example:5000/web:1@sha256:ab"),
        ("oci:lay@2/x:1 mailto:me@r.example", "oci:lay@2/x:1 mailto:me@r.example"),
        ("arn:aws:sts::1:assumed-role/ci/me@r.example", "arn:aws:sts::1:assumed-role/ci/me@r.example"),
        (
            "failed for http://h/a%3FX-Amz-Signature=abc&x and _state=S",
            "failed for http://h/a%3FX-Amz-Signature=…&x and _state=…",
        ),
        ("%3Fsig=abc%3D %26sig%3Dabc sig=abc, x", "%3Fsig=… %26sig%3D… sig=… x"),
        ("X-Goog-Credential=me reconfig=1 upload_state=done", "X-Goog-Credential=… reconfig=1 upload_state=done"),
        ("x-amz-date:2 x-amz-security-token:FwoG/x+= end", "x-amz-date:2 x-amz-security-token:… end"),
        ("refresh_token=abc&access_token=d", "refresh_token=…&access_token=…"),
        ("https://r.example/@scope/x", "https://r.example/@scope/x"),
        ("Authorization: Basic dTpw", "Authorization:…"),
        ("authorization:Bearer a.b, Accept: x", "authorization:…, Accept: x"),
        ("sent Bearer abcdefgh12345678 twice", "sent Bearer … twice"),
        ("BASIC QVdTOnNlY3JldA==", "BASIC …"),
        ("got eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln here", "got … here"),
        ("Basic authentication is required", "Basic authentication is required"),
        ("Bearer authorization is not supported", "Bearer authorization is not supported"),
        ("no basic auth credentials", "no basic auth credentials"),
        ("Your Authorization Token is invalid.", "Your Authorization Token is invalid."),
        ("Bearer token expired", "Bearer token expired"),
        ('{"AccessKeyId":"AKIAX","SecretAccessKey":"a/b+c"}', '{"AccessKeyId":"AKIAX","SecretAccessKey":"…"}'),
        ('{"Secret": "a\\"b", "SessionToken" : "c d", "x": "y"}', '{"Secret": "…", "SessionToken" : "…", "x": "y"}'),
        (r"{\"Secret\": \"ab\", \"x\": \"y\"}", r"{\"Secret\": \"…\", \"x\": \"y\"}"),
        ('{"password": "cut off', '{"password": "…'),
        ('{"token": null, "secret": true}', '{"token": null, "secret": true}'),
        ("tried aws_secret_access_key=a/b+c in vain", "tried aws_secret_access_key=… in vain"),
        ("aws_secret_access_key = a/b+c", "aws_secret_access_key = …"),
        ("token=abc password: hunter2hunter2", "token=… password: …"),
        ("user=ci&api_key=xyz&n=1", "user=ci&api_key=…&n=1"),
        ("Secret key: abc12 passwd: 'two words'", "Secret key: … passwd: '…'"),
        ("password: hunter", "password: …"),
        ("refused dckr_pat_abcdefghij1234567890 there", "refused … there"),
        ("the token is expired", "the token is expired"),
        ("invalid token: signature is expired", "invalid token: signature is expired"),
        ("password: must not be empty; token: expired.", "password: must not be empty; token: expired."),
        ("https://auth.example.com/token: 503 Busy", "https://auth.example.com/token: 503 Busy"),
        ("Error loading SSO Token: Token for x does not exist", "Error loading SSO Token: Token for x does not exist"),
        ("Unexpected token: <", "Unexpected token: <"),
        ("GetAuthorizationToken: AccessDeniedException", "GetAuthorizationToken: AccessDeniedException"),
        ("fetching a token: EOF", "fetching a token: EOF"),
        ("token: abcdefghijkl", "token: …"),
        ("r.example/team/app-secret:1.4 and token:2", "r.example/team/app-secret:1.4 and token:2"),
        ("arn:aws:secretsmanager:x:1:secret:web-Ab12", "arn:aws:secretsmanager:x:1:secret:web-Ab12"),
        ("pass MANIFESTCTL_NO_TOKEN_CACHE=1", "pass MANIFESTCTL_NO_TOKEN_CACHE=1"),
        (
            '"Action": "sts:GetServiceBearerToken", "Resource": "*"',
            '"Action": "sts:GetServiceBearerToken", "Resource": "*"',
        ),
    ],
)
def test_redact_takes_secrets_out_and_leaves_words(text: str, safe: str) -> None:
    assert redact(text) == safe
    # It is done where text comes in, and again where it goes out.
    assert redact(safe) == safe


@pytest.mark.parametrize(
    "text", ["token=…; more", 'password: "…; more', "secret: …, more", '{"Secret": "…", "x": "y"}']
)
def test_what_was_redacted_takes_nothing_more_with_it(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text", ['token=\\"' * 6000, "secret " * 6000, "\\" * 40000, "token: " + " " * 40000, "a:" * 20000, "x-amz-" * 7000]
)
def test_redact_is_done_soon(text: str) -> None:
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\n  it is locked \nmore", "it is locked"),
        ("", ""),
        ('{"Secret":"x"}', ""),
        ('first\n"secret": "x"', ""),
        ("got eyJhbGciOi there", "got … there"),
        ("failed: token=dckr_pat_abcdefghij1234567890 password: hunter2hunter2", "failed: token=… password: …"),
    ],
)
def test_of_a_program_that_handles_secrets_one_line_is_told_at_most(text: str, safe: str) -> None:
    assert of_program(text) == safe


def test_outside_is_redacted_and_escaped_and_capped() -> None:
    shown = outside(HOSTILE_TEXT)
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "##[" not in shown
    assert outside("https://u:p@h/x?sig=1\n") == "https://…@h/x?…\\n"
    assert outside("y" * 5000, 10) == "y" * 10 + "…"
    # A secret that straddles the cap is gone before anything is cut.
    assert outside("Bearer " + "k" * 300, 12) == "Bearer …"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a|b", "a\\|b"),
        ("[x](javascript:y)", "\\[x\\]\\(javascript\\:y\\)"),
        ("<img src=x>", "\\<img src=x\\>"),
        ("`code` *b* _i_ ~s~", "\\`code\\` \\*b\\* \\_i\\_ \\~s\\~"),
        ("a\n| b", "a\\\\n\\| b"),
        ("# 1. + - ! & @x", "\\# 1\\. \\+ \\- \\! \\& \\@x"),
    ],
)
def test_markdown_shows_the_text_and_nothing_else(text: str, safe: str) -> None:
    assert markdown(text) == safe


def test_html_is_safe_in_text_and_in_attributes() -> None:
    assert html("<a href=\"x\" id='y'>&\x00") == "&lt;a href=&quot;x&quot; id=&#x27;y&#x27;&gt;&amp;\\x00"


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("entry", "entries"), "1 entry"),
        (3, ("entry", "entries"), "3 entries"),
    ],
)
def test_plural(count: int, words: tuple[str, ...], text: str) -> None:
    assert plural(count, *words) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 seconds"),
        (1.2, "1 second"),
        (119.4, "119 seconds"),
        (120, "2 minutes"),
        (7199, "120 minutes"),
        (7200, "2 hours"),
        (86400, "24 hours"),
        (57600 * 60, "40 days"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3500, "3.4 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2 - 60, "1023.9 KiB"),
        (120 * 1024**2, "120.0 MiB"),
        (1024**3 - 1, "1.0 GiB"),
        (1024**4 - 1, "1.0 TiB"),
        (1536 * 1024**3, "1.5 TiB"),
        (2**63 - 1, "8388608.0 TiB"),
    ],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text
