"""The way to a registry, for `doctor`: proxy, name, connection, TLS, first answer, and the clock by that answer."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.aws.hosts import ecr_host
from manifestctl.aws.refusals import CLOCK_TOLERANCE, clock_offset
from manifestctl.errors import DeniedError, InputError, ManifestctlError, UnreachableError
from manifestctl.text import duration, outside
from manifestctl.transport.addresses import join_host, literal
from manifestctl.transport.challenge import BASIC, choose, parse
from manifestctl.transport.failures import answer, failure
from manifestctl.transport.probe import Obstacle, connect, look_up
from manifestctl.values import dataclass
from manifestctl.verbs.doctor_checks import Check, all_skipped, failed, moment, ok, skipped, warning

if TYPE_CHECKING:
    from manifestctl.stores.probe import RegistryProbe
    from manifestctl.transport.message import Response
    from manifestctl.transport.probe import Address, Encryption

NAMES = ("proxy", "dns", "tcp", "tls", "registry", "clock")
# What those behind it need of each.
_NEEDED = {
    "proxy": "a proxy that connects",
    "dns": "the host's address",
    "tcp": "a connection",
    "tls": "TLS",
    "registry": "an answer of the registry",
}
_SHOWN_ADDRESSES = 3
_LAST_DAYS = 7 * 86400.0


@dataclass(frozen=True, slots=True)
class Network:
    """The checks, in the order of `NAMES`; whether the registry answered, and whether it asks for credentials."""

    checks: tuple[Check, ...]
    answers: bool = False
    asks: bool = False


def network(probe: RegistryProbe) -> Network:
    """Go the way to a registry as far as it goes."""
    checks, proxied = _first_hop(probe)
    if checks[-1].state == "failed":
        return _cut_off(checks)
    greeting = probe.greet(proxied=proxied)
    if isinstance(greeting, Obstacle):
        return _cut_off(_with_obstacle(probe, checks, greeting))
    response = greeting.response
    registry = _registry(probe, response)
    checks += [_tls(probe, greeting.encryption), registry, _clock(response, probe.runtime.now())]
    return Network(tuple(checks), registry.state != "failed", asks=response.status == 401)


def _first_hop(probe: RegistryProbe) -> tuple[list[Check], bool]:
    """Come as far as a connection, to the proxy if there is one; returns also whether there is."""
    try:
        proxy = probe.proxy()
    except InputError as error:
        return [failed("proxy", error)], False
    if proxy is None:
        return [ok("proxy", f"none: {probe.host} is asked directly"), *_direct(probe)], False
    place, user = proxy
    shown = f"{place} (with a user and a password)" if user else str(place)
    timeout = probe.settings.connect_timeout
    try:
        connect(look_up(place.host, place.port, timeout), timeout, probe.runtime.monotonic)
    except UnreachableError as error:
        hint = f"Check HTTPS_PROXY; NO_PROXY={probe.origin.host} would go without it."
        return [failed("proxy", _about(error, f"{shown} cannot be reached", hint))], True
    through = f"{shown} takes connections"
    return [ok("proxy", through), *all_skipped(("dns", "tcp"), "not judged: the proxy connects to the registry")], True


def _direct(probe: RegistryProbe) -> list[Check]:
    host, port, timeout = probe.origin.host, probe.origin.port, probe.settings.connect_timeout
    try:
        addresses = look_up(host, port, timeout)
    except UnreachableError as error:
        return [_or_region(failed("dns", error), probe)]
    known = literal(host) is not None
    shown = join_host(host, None)
    dns = skipped("dns", f"{shown} is an address already") if known else ok("dns", f"{host} is {_shown(addresses)}")
    try:
        connected = connect(addresses, timeout, probe.runtime.monotonic)
    except UnreachableError as error:
        return [dns, failed("tcp", error)]
    seen = f"{connected.address} takes connections on port {port}, after {connected.seconds * 1000:.0f} ms"
    if connected.failures:
        step = "Every request tries the address that fails first; fix the route to it, or its entry in DNS."
        return [dns, warning("tcp", f"{seen}; but {'; '.join(connected.failures)}", step)]
    return [dns, ok("tcp", seen)]


def _shown(addresses: list[Address]) -> str:
    more = len(addresses) - _SHOWN_ADDRESSES
    shown = ", ".join(str(address) for address in addresses[:_SHOWN_ADDRESSES])
    return f"{shown} and {more} more" if more > 0 else shown


def _with_obstacle(probe: RegistryProbe, checks: list[Check], obstacle: Obstacle) -> list[Check]:
    doing = f"asking {probe.host}"
    if obstacle.step == "proxy":
        check = failed("proxy", obstacle.error, doing)
        # A proxy that could not reach the host, rather than did not want to.
        passes = isinstance(obstacle.error, UnreachableError) and obstacle.error.transient
        return [_or_region(check, probe) if passes else check]
    if obstacle.step == "tls":
        return [*checks, failed("tls", obstacle.error, doing)]
    return [*checks, _tls(probe, None), failed("registry", obstacle.error, doing)]


def _or_region(check: Check, probe: RegistryProbe) -> Check:
    """Add to what a host that is not reached may mean: its name may be of a region that there is not."""
    host = ecr_host(probe.registry)
    if host is None or host.is_public:
        return check
    return replace(check, next_step=f"{check.next_step} Or there is no such host: check the region ({host.region}).")


def _cut_off(checks: list[Check]) -> Network:
    """Return what is known if the last of the checks failed: the others need it."""
    stop = checks[-1]
    left = NAMES[NAMES.index(stop.name) + 1 :]
    return Network((*checks, *all_skipped(left, f"needs {_NEEDED[stop.name]}")))


def _tls(probe: RegistryProbe, encryption: Encryption | None) -> Check:
    if not probe.origin.secure:
        return skipped("tls", f"{probe.host} is asked by plain HTTP: nothing is encrypted")
    if probe.settings.skips_verification(probe.host):
        step = "Trust its authority by --ca-file instead: like this, whoever answers there is sent your credentials."
        return warning("tls", "the certificate is not verified (--tls-skip-verify)", step)
    if encryption is None or encryption.expires is None:
        return ok("tls", "the certificate is trusted")
    now = probe.runtime.now()
    seen = f"{encryption.version}; the certificate is trusted, until {moment(encryption.expires, now)}"
    if encryption.expires - now < _LAST_DAYS:
        return warning("tls", seen, "Ask the registry's operator whether the certificate will be renewed in time.")
    return ok("tls", seen)


def _registry(probe: RegistryProbe, response: Response) -> Check:
    status, host = response.status, probe.host
    if response.ok and "html" not in response.headers.get("content-type", "").lower():
        return ok("registry", f"{host} answers {status}: it asks for no credentials")
    if status == 401:
        return _challenged(host, response)
    if 300 <= status < 400:
        leads = f"{host} answers {status}: it leads to {outside(response.headers.get('location', 'nowhere'), 200)}"
        return warning("registry", leads, "Name the registry that it leads to.")
    if status == 403:
        return failed("registry", failure(response, f"asking {host}"), f"asking {host}")
    hint = "Check the registry's host and port; something else answers there, or a proxy in its place."
    return failed("registry", UnreachableError(f"{host} does not answer as a registry: {answer(response)}", hint=hint))


def _challenged(host: str, response: Response) -> Check:
    challenge = choose(parse([response.headers.get("www-authenticate", "")]))
    if challenge is None:
        seen = f"{host} answers 401 and does not say how to log in"
        return warning("registry", seen, "manifestctl can log in where Basic or Bearer is asked for.")
    wanted = "a user and a password"
    if challenge.scheme != BASIC:
        wanted = f"a token of {outside(challenge.realm.partition('://')[2].partition('/')[0] or 'nobody', 100)}"
    return ok("registry", f"{host} answers 401: it asks for {wanted}")


def _clock(response: Response, now: float) -> Check:
    offset = clock_offset(dict(response.headers), now)
    if offset is None:
        return skipped("clock", "the registry's answer has no date")
    age = response.headers.get("age", "")
    if age.isascii() and age.isdigit():
        # The answer was kept somewhere on the way for so long.
        offset -= float(age[:9])
    side = "ahead of" if offset > 0 else "behind"
    if abs(offset) <= CLOCK_TOLERANCE:
        exact = abs(offset) < 2
        return ok("clock", "matches the registry's" if exact else f"{abs(offset):.0f} s {side} the registry's")
    return failed(
        "clock",
        DeniedError(
            f"this machine's clock is {duration(abs(offset))} {side} the registry's",
            hint="Set the clock (NTP); AWS and token services refuse what is signed at another time.",
        ),
    )


def _about(error: ManifestctlError, what: str, hint: str) -> ManifestctlError:
    return UnreachableError(f"{what}: {error.message}", hint=hint)
