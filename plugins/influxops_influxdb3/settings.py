"""The settings of an InfluxDB 3 target."""

from __future__ import annotations

import contextlib
import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, urlsplit

from influxops.plugin import (
    ConfigError,
    Location,
    Secret,
    SettingError,
    TargetSettings,
    setting,
)
from influxops_influxdb3.naming_rules import MARKER_TABLE

if TYPE_CHECKING:
    import ssl

_TOKEN = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[\w.:%~-]+")


def _plain_url(value: str) -> str:
    """Refuse what would hide a password in the URL, or could not work; never echo it."""
    text = value.strip()
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError("this is no URL; write one like https://influx.example:8181") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("the URL must begin with http:// or https:// and name a host")
    if not _HOST.fullmatch(host):  # a proxy's file would hold it
        raise ValueError("the URL names a host that holds what no host's name does")
    if "@" in parts.netloc:
        raise ValueError("no user name or password in the URL; the token goes into `token`")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("the URL must end before ? and #; the token goes into `token`")
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError("the URL must not contain white space")
    # The scheme in small letters, as all that look at it expect.
    return parts._replace(path=quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")).geturl()


def _measurements(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what would let the guards look at nothing: no name, or none that a tenant writes."""
    if not names or not all(names) or MARKER_TABLE in names:
        raise ValueError("name one measurement at least, each one that the tenants write")
    return names


class InfluxDB3Settings(TargetSettings):
    """What a section `[targets.NAME]` with `kind = "influxdb3"` may say."""

    location_variable: ClassVar[str] = "INFLUXDB_URL"
    place: ClassVar[tuple[str, ...]] = ("url",)

    url: str = setting(
        "http://localhost:8181",
        description="The server's URL, with a path where a reverse proxy has put it under one.",
        env=("INFLUXDB_URL",),
        parse=_plain_url,
    )
    token: Secret | None = setting(
        None,
        description="The admin token; left out for a server that was started without "
        "authorization.",
        env=("INFLUXDB_TOKEN",),
    )
    cluster_uuid: str | None = setting(
        None,
        description="The identity of the server; any other behind this URL is refused before a "
        "write. `influxops doctor` shows it.",
        min_length=1,
    )
    ca_path: Path | None = setting(
        None,
        description="A file (or a folder) of CA certificates to trust instead of the system's.",
    )
    client_cert: Path | None = setting(
        None, description="The client certificate, where the server or a proxy wants one (PEM)."
    )
    client_key: Path | None = setting(
        None,
        description="The client certificate's key, where it is not in the same file (PEM, not "
        "encrypted).",
    )
    validate_certs: bool = setting(
        True, description="Whether the server's TLS certificate is verified."
    )
    connect_timeout: float = setting(
        5.0, description="Seconds to wait for a connection.", gt=0, le=300
    )
    read_timeout: float = setting(
        10.0,
        description="Seconds to wait for an answer, the whole of it; a request without one in that "
        "time is sent a second time.",
        gt=0,
        le=3600,
    )
    retries: int = setting(
        4,
        description="How often a request is tried again after a lost connection, 429 or 5xx.",
        ge=0,
        le=20,
    )

    telemetry: tuple[str, ...] | None = setting(
        None,
        description="The measurements whose rows are telemetry for the guard `recent-telemetry`; "
        "left out: all of them.",
        parse=_measurements,
    )

    @property
    def expected_identity(self) -> str | None:
        """The cluster-uuid of the only server that this target may be; None for any."""
        return self.cluster_uuid

    def check(self) -> None:
        """Refuse certificates that cannot be loaded, and a token that none can be."""
        if self.client_key is not None and self.client_cert is None:
            raise SettingError(
                "needs `client_cert`, the certificate that it belongs to", "client_key"
            )
        if self.url.startswith("https:") and (self.ca_path or self.client_cert):
            _ = self.tls
        # A token that is missing is this target's trouble alone: it is read when it is needed.
        with contextlib.suppress(ConfigError):
            self.read_token()

    def location(self) -> Location:
        """Return where this target is."""
        return Location(
            text=self.url,
            host=urlsplit(self.url).hostname,
            is_default="url" not in self.given,
        )

    def read_token(self) -> str:
        """Read the token, again each time: a file may have been rotated.

        One with characters that no token has is refused here; http.client would repeat it in its
        message.
        """
        if self.token is None:
            return ""
        token = self.token.reveal().strip()
        if not _TOKEN.fullmatch(token):
            raise SettingError(
                f"the token from {self.token.origin} has characters that no token has; it must "
                "be one line of ASCII without spaces",
                "token",
            )
        return token

    @functools.cached_property
    def tls(self) -> ssl.SSLContext:
        """The TLS context."""
        import ssl

        ca, name = self.ca_path, "ca_path"
        try:
            context = ssl.create_default_context(
                cafile=str(ca) if ca is not None and not ca.is_dir() else None,
                capath=str(ca) if ca is not None and ca.is_dir() else None,
            )
            if self.client_cert is not None:
                name = "client_cert"
                context.load_cert_chain(self.client_cert, self.client_key, password=_no_prompt)
        except _EncryptedKeyError:
            raise SettingError(
                "the key is encrypted, and there is no prompt for the passphrase; store it "
                "without one",
                "client_cert" if self.client_key is None else "client_key",
            ) from None
        except (OSError, ValueError) as error:
            # OpenSSL's errors are OSErrors without the operating system's words.
            why = getattr(error, "strerror", None) if not isinstance(error, ssl.SSLError) else None
            path = ca if name == "ca_path" else self.client_cert
            raise SettingError(
                f"{path} cannot be loaded: {(why or 'it is no PEM certificate').lower()}", name
            ) from None
        if not self.validate_certs:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _EncryptedKeyError(Exception):
    """The client's key wants a passphrase."""


def _no_prompt() -> str:
    """Refuse a key with a passphrase; OpenSSL would ask for it on the terminal."""
    raise _EncryptedKeyError
