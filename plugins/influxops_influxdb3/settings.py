"""The settings of an InfluxDB 3 target."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self
from urllib.parse import urlsplit

from pydantic import field_validator, model_validator

from influxops import Location, Secret, TargetSettings, setting


class InfluxDB3Settings(TargetSettings):
    """What a section `[targets.NAME]` with `kind = "influxdb3"` may say."""

    location_variable: ClassVar[str] = "INFLUXDB_URL"

    url: str = setting(
        "http://localhost:8181",
        description="The server's URL, with a path where a reverse proxy has put it under one.",
        env=("INFLUXDB_URL",),
    )
    token: Secret | None = setting(
        None,
        description="The admin token; left out for a server that was started without "
        "authorization.",
        env=("INFLUXDB_TOKEN",),
    )
    ca_path: Path | None = setting(
        None,
        description="A file (or a folder) of CA certificates to trust instead of the system's.",
    )
    client_cert: Path | None = setting(
        None, description="The client certificate, where the server or a proxy wants one (PEM)."
    )
    client_key: Path | None = setting(
        None, description="The client certificate's key, where it is not in the same file (PEM)."
    )
    validate_certs: bool = setting(
        True, description="Whether the server's TLS certificate is verified."
    )
    connect_timeout: float = setting(
        5.0, description="Seconds to wait for a connection.", gt=0, le=300
    )
    read_timeout: float = setting(
        30.0, description="Seconds to wait for an answer, the whole of it.", gt=0, le=3600
    )
    retries: int = setting(
        4,
        description="How often a request is tried again after a lost connection, 429 or 5xx.",
        ge=0,
        le=20,
    )

    @field_validator("url")
    @classmethod
    def _plain_url(cls, value: str) -> str:
        """Refuse what would hide a password in the URL, or could not work; never echo it."""
        text = value.strip()
        try:
            parts = urlsplit(text)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValueError("this is no URL; write one like https://influx.example:8181") from None
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError("the URL must begin with http:// or https:// and name a host")
        if "@" in parts.netloc:
            raise ValueError("no user name or password in the URL; the token goes into `token`")
        if parts.query or parts.fragment or text.endswith(("?", "#")):
            raise ValueError("the URL must end before ? and #; the token goes into `token`")
        if any(character.isspace() or not character.isprintable() for character in text):
            raise ValueError("the URL must not contain white space")
        return text.rstrip("/")

    @model_validator(mode="after")
    def _key_belongs_to_a_certificate(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("`client_key` needs `client_cert`, the certificate that it belongs to")
        return self

    def location(self) -> Location:
        """Say where this target is."""
        return Location(
            text=self.url,
            host=urlsplit(self.url).hostname,
            is_default="url" not in self.model_fields_set,
        )
