"""The settings, and the state directory that they name.

The one place that reads the environment, so that laptop and cluster differ by what is written
there and by nothing else. The table in `docs/settings.md` lists every variable; a test holds it
to this class.
"""

from __future__ import annotations

import codecs
import locale
import os
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mlops_assets.files import create_whole

ROOT = Path(__file__).resolve().parent.parent
STATE_FORMAT = 1
MAIN = "main"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
BRANCH_NAME = r"\w[-\w]*"
BRANCH_MARK = "lakefs_branch"
HTTP_ADDRESS = r"^https?://[^/\s]+"
CRON_FIELDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day of the month": (1, 31),
    "month": (1, 12),
    "day of the week": (0, 7),
}
CRON_PART = re.compile(r"(?:\*|(\d{1,2})(?:-(\d{1,2}))?)(?:/(\d{1,2}))?", re.ASCII)
DAYS_OF_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def _place(text: str) -> Path | str:
    return text if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) else Path(text)


def _cron(text: str) -> str:
    """A cron expression as it is.

    Dagster would refuse another one without saying where it stands, or never find its next time.
    """
    fields = text.split(" ")
    if len(fields) != len(CRON_FIELDS):
        raise ValueError(
            f"{text!r} is no cron expression: write {', '.join(CRON_FIELDS)}, parted by one space"
        )
    names = zip(CRON_FIELDS, fields, strict=True)
    _, _, days, months, _ = [_cron_values(name, field) for name, field in names]
    if min(days) > max(DAYS_OF_MONTHS[month - 1] for month in months):
        raise ValueError(f"{text!r} names a day that none of its months has")
    return text


def _cron_values(name: str, field: str) -> set[int]:
    """The numbers that a field of a cron expression stands for."""
    low, high = CRON_FIELDS[name]
    values: set[int] = set()
    for part in field.split(","):
        found = CRON_PART.fullmatch(part)
        begin, end, step = found.groups() if found else (None, None, None)
        first, stride = int(begin or low), int(step or 1)
        # As cron has it, `5/10` goes on from 5 to the field's end.
        last = int(end or (begin if begin and not step else high))
        if found is None or stride == 0 or not low <= first <= last <= high:
            raise ValueError(f"{part!r} is no {name} of a cron expression, from {low} to {high}")
        values |= set(range(first, last + 1, stride))
    return values


Cron = Annotated[str, AfterValidator(_cron)]
"""When something happens: minute, hour, day, month and day of the week."""

Place = Annotated[Path | str, BeforeValidator(_place)]
"""A folder, or an address of something else."""


URL_MARK = (r"\?|%[0-9A-Fa-f]{2}", "Dagster and MLflow name their databases by URLs")
UNREADABLE = (
    (r"\{[{%#]", "dbt takes it for a template"),
    (r"#", "dbt's adapter for DuckDB takes its database's path for a URL"),
    (r"\\(?=.*[*\[])|[*\[](?=.*\\)", "DuckDB reads no path with a backslash and one of * and ["),
    (r"[\x00-\x1f\x7f\ud800-\udfff]", "it is no printable text in UTF-8"),
)
"""What a path may not hold, as a pattern, and why: the libraries that take it cannot quote it, and
would read and write elsewhere."""


class SettingsError(Exception):
    """A setting or the state directory is not usable; the sentence says which and the way out."""


class Settings(BaseSettings):
    """What can be configured, by environment variables only.

    Attributes:
        home: The state directory; deleting it resets everything.
        source: Where raw data comes from: a folder of CSV files or an address; the packaged year
            2013 if None.
        source_password: The password of a source's database.
        source_cursor: The column of a source's tables that tells when a row was last changed.
        landing: Where files of single days are put down, a folder or an address.
        lakefs_endpoint: A lakeFS server's address; the embedded server if None.
        lakefs_access_key_id: The name of the key for that server.
        lakefs_secret_access_key: The key for that server.
        lakefs_repository: The repository that holds all tables.
        lakefs_branch: The base branch, which every step reads and publishes to.
        lakefs_pre_sign: Whether the embedded server gives signed links instead of local paths.
        mlflow_tracking_uri: An MLflow registry's address; one in the state directory if None.
        dagster_home_given: Dagster's record; `dagster_home` says where it lies if None.
        profiles_file: The file of named profiles of what the pods of runs get.
        ui_url: Where people open Dagster's UI, for the links in alerts.
        alert_webhook_url: A webhook that takes Slack's form; the address is the secret.
        alert_smtp_url: The mail server for alerts, with user and password.
        alert_mail_from: Whom alerts by e-mail come from.
        alert_mail_to: Who gets them, parted by commas.
        alert_pagerduty_key: The routing key of a service that calls people.
        alert_pagerduty_url: Where its events are posted.
        metrics_pushgateway: Where `mlops-assets metrics --push` sends them.
        metrics_token: What a scraper from another machine has to present.
        nightly: When feature views that changed are made, as a cron expression in New York time.
        monthly: When training sets that changed are made, likewise.
    """

    # Never by the fields' own names: `HOME` would become the state directory.
    # An empty variable is how compose files and manifests leave one unset.
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = Field(ROOT / ".mlops", validation_alias="MLOPS_HOME")
    source: Place | None = Field(None, validation_alias="MLOPS_SOURCE")
    source_password: SecretStr | None = Field(None, validation_alias="MLOPS_SOURCE_PASSWORD")
    source_cursor: str = Field("updated_at", validation_alias="MLOPS_SOURCE_CURSOR")
    landing: Place | None = Field(None, validation_alias="MLOPS_LANDING")
    lakefs_endpoint: str | None = Field(None, validation_alias="LAKECTL_SERVER_ENDPOINT_URL")
    lakefs_access_key_id: str | None = Field(
        None, validation_alias="LAKECTL_CREDENTIALS_ACCESS_KEY_ID"
    )
    lakefs_secret_access_key: SecretStr | None = Field(
        None, validation_alias="LAKECTL_CREDENTIALS_SECRET_ACCESS_KEY"
    )
    lakefs_repository: str = Field(
        "mlops-assets", validation_alias="LAKEFS_REPOSITORY", pattern=r"^[a-z0-9][a-z0-9-]{2,62}$"
    )
    lakefs_branch: str = Field(
        "main", validation_alias="LAKEFS_BRANCH", pattern=rf"^{BRANCH_NAME}$"
    )
    lakefs_pre_sign: bool = Field(False, validation_alias="MLOPS_LAKEFS_PRE_SIGN")
    mlflow_tracking_uri: str | None = Field(None, validation_alias="MLFLOW_TRACKING_URI")
    dagster_home_given: Path | None = Field(None, validation_alias="DAGSTER_HOME")
    profiles_file: Path = Field(
        ROOT / "infra" / "k8s" / "base" / "profiles.yaml", validation_alias="MLOPS_PROFILES"
    )
    ui_url: str | None = Field(None, validation_alias="MLOPS_UI_URL", pattern=HTTP_ADDRESS)
    alert_webhook_url: SecretStr | None = Field(None, validation_alias="MLOPS_ALERT_WEBHOOK_URL")
    alert_smtp_url: SecretStr | None = Field(None, validation_alias="MLOPS_ALERT_SMTP_URL")
    alert_mail_from: str | None = Field(None, validation_alias="MLOPS_ALERT_MAIL_FROM")
    alert_mail_to: str | None = Field(None, validation_alias="MLOPS_ALERT_MAIL_TO")
    alert_pagerduty_key: SecretStr | None = Field(
        None, validation_alias="MLOPS_ALERT_PAGERDUTY_KEY"
    )
    alert_pagerduty_url: str = Field(
        "https://events.pagerduty.com/v2/enqueue",
        validation_alias="MLOPS_ALERT_PAGERDUTY_URL",
        pattern=HTTP_ADDRESS,
    )
    metrics_pushgateway: str | None = Field(
        None, validation_alias="MLOPS_METRICS_PUSHGATEWAY", pattern=HTTP_ADDRESS
    )
    metrics_token: SecretStr | None = Field(
        None, validation_alias="MLOPS_METRICS_TOKEN", min_length=16
    )
    nightly: Cron = Field("0 3 * * *", validation_alias="MLOPS_NIGHTLY")
    monthly: Cron = Field("0 5 2 * *", validation_alias="MLOPS_MONTHLY")

    @property
    def environment(self) -> dict[str, str]:
        """The settings as a child process is to read them, wherever it starts."""
        places = {"MLOPS_SOURCE": self.source, "MLOPS_LANDING": self.landing}
        return {
            "MLOPS_HOME": str(self.home),
            "LAKEFS_BRANCH": self.lakefs_branch,
            **{name: str(place) for name, place in places.items() if place is not None},
        }

    @property
    def downloads(self) -> Path:
        """Files of sources that were fetched, or are being fetched."""
        return self.home / "downloads"

    @property
    def branch_home(self) -> Path:
        """What is recorded of the work on the base branch: of `main`, the state directory itself.

        Dagster's record knows no branches: work on two of them in one would show the content of
        the one as the materialization of the other.
        """
        if self.lakefs_branch == MAIN:
            return self.home
        return self.home / "branches" / self.lakefs_branch

    @property
    def lakefs_home(self) -> Path:
        """The embedded server's store, where `LAKECTL_SERVER_ENDPOINT_URL` names no server."""
        return self.home / "lakefs"

    @property
    def dagster_home(self) -> Path:
        """Dagster's record: what `DAGSTER_HOME` names, else the base branch's own."""
        return self.dagster_home_given or self.branch_home / "dagster"

    @property
    def mlflow_home(self) -> Path:
        """MLflow's database and artefacts, where `MLFLOW_TRACKING_URI` names no other."""
        return self.branch_home / "mlflow"

    def on_branch(self, name: str) -> Settings:
        """The same with another base branch, and its record.

        Raises:
            SettingsError: The name is none that lakeFS takes, and so none for a folder.
        """
        if not re.fullmatch(BRANCH_NAME, name):
            raise SettingsError(
                f"{name!r} cannot name a branch: use letters, digits, '_' and '-', and begin with "
                "no '-'."
            )
        return self.model_copy(update={"lakefs_branch": name, "dagster_home_given": None})


@cache
def settings() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: A variable's value is not usable, or Python itself runs as no result may be
            made.
    """
    _check_process()
    try:
        found = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(
            f"{first['loc'][0]} is not usable: {first['msg'].removeprefix('Value error, ')}; "
            "see docs/settings.md."
        ) from error
    places = {
        "home": found.home,
        "source": found.source,
        "landing": found.landing,
        "profiles_file": found.profiles_file,
    }
    found = found.model_copy(
        update={
            name: place.expanduser().absolute()
            for name, place in places.items()
            if isinstance(place, Path)
        }
    )
    _refuse("MLOPS_HOME", found.home, (URL_MARK, *UNREADABLE))
    if found.dagster_home_given is not None:
        _refuse("DAGSTER_HOME", found.dagster_home_given, (URL_MARK, UNREADABLE[-1]))
    return found


def _refuse(variable: str, place: Path, unfit: Iterable[tuple[str, str]]) -> None:
    for pattern, reason in unfit:
        if (held := re.search(pattern, str(place))) is not None:
            raise SettingsError(
                f"{variable} is {str(place)!r}, which cannot be used because of {held[0]!r} in it "
                f"({reason}): set it to another path."
            )


def _check_process() -> None:
    """Refuse a process in which libraries check less, or read otherwise, than results rely on.

    None of it can be changed once the process runs.
    """
    if sys.flags.optimize:
        raise SettingsError(
            "Python runs optimized, without the checks that libraries make by assert: unset "
            "PYTHONOPTIMIZE, and start it without -O."
        )
    encoding = locale.getpreferredencoding(do_setlocale=False)
    if codecs.lookup(encoding).name != "utf-8":
        raise SettingsError(
            f"Python reads files as {encoding} here, and SQL and YAML are UTF-8: set PYTHONUTF8=1, "
            "or LC_ALL to a locale of UTF-8."
        )
    if os.environ.get("PANDAS_DATA_MANAGER", "block") != "block":
        raise SettingsError("pandas cannot check contracts as PANDAS_DATA_MANAGER is: unset it.")


def check_record(dagster_home: Path, branch: str) -> None:
    """Refuse to record work on a branch where the work on another is recorded.

    Args:
        dagster_home: Dagster's home. One that no command of ours made carries no mark.
        branch: The base branch of the work.

    Raises:
        SettingsError: It records another branch.
    """
    mark = dagster_home / BRANCH_MARK
    recorded = mark.read_text().strip() if mark.exists() else branch
    if recorded != branch:
        raise SettingsError(
            f"DAGSTER_HOME {dagster_home} records the branch {recorded}, and LAKEFS_BRANCH is "
            f"{branch}: unset DAGSTER_HOME, in .env too, to use the branch's own record, or "
            f"correct LAKEFS_BRANCH."
        )


def _spare_loopback() -> None:
    """Keep our own servers out of a proxy's way, in this process and in those that it starts.

    A proxy that the environment names is for the way out. Asked for an address of loopback it looks
    on its own machine, and a server that had been up for two minutes counted as not started.
    """
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    spared = [name.strip() for name in named.split(",") if name.strip()]
    if spared != ["*"]:
        os.environ["no_proxy"] = ",".join(dict.fromkeys([*spared, *LOOPBACK]))


def open_state(home: Path) -> Path:
    """Make the state directory where it is missing, and check that this version may use it.

    Matplotlib is told to keep its cache of fonts there too: its own choice is the user's home,
    which deleting the state would not clean.

    Returns:
        `home`.

    Raises:
        SettingsError: It was made by a newer version, or cannot be written.
    """
    mark = home / "format"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not mark.exists():
            create_whole(mark, f"{STATE_FORMAT}\n".encode())
        found = mark.read_text().strip()
    except OSError as error:
        raise SettingsError(
            f"the state directory {home} cannot be used ({error.strerror}): free space there, "
            "correct its permissions, or set MLOPS_HOME to another place."
        ) from error
    if not found.isdigit() or int(found) > STATE_FORMAT:
        raise SettingsError(
            f"the state directory {home} has format {found}, newer than the {STATE_FORMAT} that "
            "this version reads: upgrade mlops-assets, or set MLOPS_HOME to another place."
        )
    _spare_loopback()
    os.environ.setdefault("MPLCONFIGDIR", str(home / "cache" / "matplotlib"))
    return home
