"""The source `http`: tenants from a service that lists them page by page."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from influxops.plugin import (
    ATTRIBUTES,
    Check,
    HealthChecks,
    Hint,
    Location,
    RunContext,
    Secret,
    SettingError,
    Source,
    SourceError,
    SourceSettings,
    Tenant,
    hookimpl,
    setting,
)

#: The most bytes of a page.
_LARGEST = 16 << 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: urllib would send the token to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        """Return no further request; the answer is an error then."""


_OPENER = urllib.request.build_opener(_NoRedirect)


class HttpSource(Source, HealthChecks):
    """Reads tenants from an HTTP API, page by page.

    A page is a JSON object: `tenants` is a list of objects with an `id`, and may have `database`,
    `retention` and `target`; `next` is the URL of the next page, and null on the last one.
    """

    class Settings(SourceSettings):
        """What a section may say."""

        url: str = setting(description="The first page.", env=("TENANTS_URL",), min_length=1)
        token: Secret | None = setting(
            None, description="Is sent as `Authorization: Bearer …`.", env=("TENANTS_TOKEN",)
        )
        timeout: float = setting(10.0, description="Seconds to wait for a page.", gt=0)

        def check(self) -> None:
            """Refuse what is no URL."""
            if urlsplit(self.url).scheme not in ("http", "https"):
                raise SettingError("expected a URL that begins with http:// or https://", "url")
            if "@" in urlsplit(self.url).netloc:
                raise SettingError("no password in the URL: it is shown in messages", "url")

        def location(self) -> Location:
            """Return where the tenants are, as messages show it."""
            parts = urlsplit(self.url)
            return Location(f"{parts.scheme}://{parts.netloc}{parts.path}", parts.hostname)

    settings: Settings

    @hookimpl
    def influxops_tenants(self, context: RunContext) -> Iterator[Tenant]:
        """Give every tenant of every page, or raise: half a list would make orphans."""
        for page in self._pages(context):
            for entry in page:
                if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
                    raise self._wrong("a tenant without an `id` that is text")
                given = {name: entry.get(name) for name in ATTRIBUTES}
                yield Tenant(
                    entry["id"], {name: str(v) for name, v in given.items() if v is not None}
                )
            context.on_progress(len(page))

    @hookimpl
    def influxops_check(self, context: RunContext) -> Iterator[Check]:
        """Read the first page."""
        try:
            first = next(self._pages(context))
        except SourceError as error:
            yield Check("the list of tenants", False, error.message, error.remedy)
        else:
            yield Check("the list of tenants", True, f"its first page has {len(first)} tenants")

    def _pages(self, context: RunContext) -> Iterator[list[Any]]:
        """Yield the tenants of each page."""
        url, seen = self.settings.url, set[str]()
        while url:
            if url in seen:
                raise self._wrong("a page whose `next` leads back to an earlier one")
            seen.add(url)
            page = self._get(url, context)
            if not isinstance(page, dict) or not isinstance(page.get("tenants"), list):
                raise self._wrong("a page without a list `tenants`")
            yield page["tenants"]
            url = urljoin(url, page.get("next") or "") if page.get("next") else ""
            if url and urlsplit(url)[:2] != urlsplit(self.settings.url)[:2]:
                raise self._wrong("a `next` on another server, which must not get the token")

    def _get(self, url: str, context: RunContext) -> Any:
        # The scheme was checked with the settings, and each page is on the same server.
        request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
        if self.settings.token is not None:
            request.add_header("Authorization", f"Bearer {self.settings.token.reveal()}")
        # Raises where the run is over; the wait for one page is never longer than the run.
        seconds = context.time_left(self.settings.timeout)
        where = self.settings.location().text

        def read() -> bytes:
            with _OPENER.open(request, timeout=seconds) as answer:
                body: bytes = answer.read(_LARGEST + 1)
                return body

        try:
            body = context.run_abandonable(read, within=self.settings.timeout)
            if len(body) > _LARGEST:
                raise self._wrong(f"a page of more than {_LARGEST >> 20} MiB")
            return json.loads(body)
        except urllib.error.HTTPError as error:
            error.close()
            setting_name = "token" if error.code in (401, 403) else "url"
            raise SourceError(
                f"{where} answered {error.code} {error.reason}", hint=Hint.setting(setting_name)
            ) from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise SourceError(
                f"{where} cannot be read: {getattr(reason, 'strerror', None) or reason}",
                hint=Hint.setting("url", "is the service running? If it is, check {}"),
            ) from None
        except ValueError:
            raise self._wrong("something else than JSON") from None

    def _wrong(self, what: str) -> SourceError:
        where = self.settings.location().text
        return SourceError(f"{where} gave {what}", hint=Hint.setting("url", "tell its author"))
