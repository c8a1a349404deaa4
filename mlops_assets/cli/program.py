"""The command line: its commands and options, and how a failure ends the process.

Exit codes: 0 done, 1 failed with one sentence on standard error, 2 wrong usage, 130 stopped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from mlops_assets.cli.plan import Request, RequestError, days_span, months_span
from mlops_assets.tracking.connection import UI_PORT

STOPPED = 130
STOPPED_SENTENCE = "stopped: what was published stays whole; run again to go on."
DEBUG = click.option("--debug", is_flag=True, help="Show Dagster's words and tracebacks.")
PORT = click.IntRange(1, 65535)
FORCE_DROP = "Even with commits that are not merged, or a run that is recorded as working on it."
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and end the process with its exit code."""
    sys.exit(exit_code(sys.argv[1:] if arguments is None else arguments))


def exit_code(arguments: Sequence[str]) -> int:
    """Run the command; a failure becomes one sentence on standard error."""
    try:
        code = program.main(list(arguments), prog_name="mlops-assets", standalone_mode=False)
    except click.exceptions.Abort:
        return _stopped(STOPPED_SENTENCE, as_json="--json" in arguments)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RequestError as error:
        _say(str(error))
        return click.UsageError.exit_code
    except Exception as error:
        from mlops_assets.cli.faults import StoppedError

        if isinstance(error, StoppedError):
            return _stopped(str(error), as_json="--json" in arguments)
        # The user gets a sentence for whatever went wrong; `--debug` gets it as it was raised.
        if "--debug" in arguments:
            raise
        return _failed(error, as_json="--json" in arguments)
    return int(code or 0)


def _failed(error: Exception, *, as_json: bool) -> int:
    from mlops_assets.components.faults import interrupted, links, sentence
    from mlops_assets.settings import SettingsError, settings

    chain = links(error)
    if interrupted(chain):
        return _stopped(STOPPED_SENTENCE, as_json=as_json)
    try:
        place = str(settings().home)
    except SettingsError:
        place = "the state directory"
    told = sentence(chain, place=place)
    step: str | None = getattr(error, "step", None)
    _tell(told, step=step, kept=getattr(error, "kept", ()), as_json=as_json)
    return 1


def _stopped(told: str, *, as_json: bool) -> int:
    _tell(told, step=None, kept=(), as_json=as_json)
    return STOPPED


def _tell(sentence: str, *, step: str | None, kept: Sequence[str], as_json: bool) -> None:
    if as_json:
        failure = {"error": sentence, "step": step, "kept_branches": list(kept)}
        _print_json({"succeeded": False, **failure})
    _say(sentence)


def _say(sentence: str) -> None:
    click.echo(f"mlops-assets: {sentence}", err=True)


def _print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=1))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mlops-assets", message="%(prog)s %(version)s")
def program() -> None:
    """Everything between raw data and a monitored prediction, as versioned assets."""


@program.command()
@click.option(
    "--month",
    "months",
    metavar="FIRST..LAST",
    help="The month, or months, to evaluate on; the latest if absent.",
)
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="CODE",
    help="An airport to train for; all if absent.",
)
@click.option(
    "--days",
    metavar="FIRST..LAST",
    help="Only these days, from raw data to features; models only if --month is given too.",
)
@click.option(
    "--models-only", is_flag=True, help="Start from the features that exist; leave the days alone."
)
@JSON
@DEBUG
def run(
    months: str | None,
    origins: tuple[str, ...],
    days: str | None,
    *,
    models_only: bool,
    as_json: bool,
    debug: bool,
) -> None:
    """Run the main job: from raw data to evaluated models and their champions."""
    request = Request(
        None if days is None else days_span(days),
        None if months is None else months_span(months),
        origins,
        models_only,
    )
    from mlops_assets.cli.run import run as run_job

    summary = run_job(request, debug=debug)
    if as_json:
        _print_json(summary.to_json())
    else:
        click.echo(f"\n{summary.to_text()}")


@program.command()
@click.argument("selection", required=False)
@click.option(
    "--partitions",
    metavar="FIRST..LAST",
    help="Days, or months; for models also MONTHS|ORIGINS, as 2013-04..2013-12|JFK.",
)
@click.option("--resume", metavar="ID", help="Make what a backfill has not made, or wait for it.")
@click.option("--cancel", metavar="ID", help="End a backfill; what it published stays.")
@click.option(
    "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag of the backfill and its runs."
)
@click.option(
    "--profile", metavar="NAME", help="Another profile for its pods than the assets name."
)
@click.option(
    "--isolated", is_flag=True, help="Publish all of it at once, or nothing if any of it fails."
)
@JSON
@DEBUG
def backfill(  # noqa: PLR0913 - an argument for each option
    selection: str | None,
    partitions: str | None,
    resume: str | None,
    cancel: str | None,
    tags: tuple[str, ...],
    profile: str | None,
    *,
    isolated: bool,
    as_json: bool,
    debug: bool,
) -> int:
    """Make partitions of assets through Dagster's instance, by its queue and launcher.

    SELECTION names assets as Dagster's UI does: raw/flights, raw/flights+ with what follows it,
    group:features. A range is made in as few runs as its assets allow. What can be made of it is
    published, whatever fails; with --isolated all of it is, in one merge, or nothing.
    """
    from mlops_assets.cli import backfill as backfills
    from mlops_assets.compute.resolver import OVERRIDE_TAG

    if [selection, resume, cancel].count(None) != 2:
        raise click.UsageError("say what to make: a SELECTION, or --resume or --cancel with an ID.")
    if selection is None and (partitions or tags or profile or isolated):
        raise click.UsageError(
            "--partitions, --tag, --profile and --isolated belong to a new backfill: give a "
            "SELECTION."
        )
    if cancel is not None:
        told = backfills.cancel(cancel, debug=debug)
        if as_json:
            _print_json({"succeeded": True, "told": told})
        else:
            click.echo(told)
        return 0
    if resume is not None:
        outcome = backfills.resume(resume, debug=debug)
    else:
        named = {} if profile is None else {OVERRIDE_TAG: _known_profile(profile)}
        wanted = {**dict(map(_tag, tags)), **named}
        new = backfills.New(str(selection), partitions, wanted, isolated)
        outcome = backfills.start(new, debug=debug)
    if as_json:
        _print_json(outcome.to_json())
    else:
        click.echo(outcome.to_text())
    if not outcome.succeeded:
        _say(outcome.sentence())
    return 0 if outcome.succeeded else 1


def _tag(text: str) -> tuple[str, str]:
    key, parted, value = text.partition("=")
    if not key or not parted:
        raise RequestError(f"{text!r} is no tag: write KEY=VALUE.")
    if key.startswith("dagster/"):
        raise RequestError(f"{key} is a tag that Dagster sets itself: choose another key.")
    return key, value


def _known_profile(name: str) -> str:
    from mlops_assets.compute.profiles import configured_profiles

    configured_profiles().get(name, "--profile")
    return name


@program.command()
@click.argument("name")
@JSON
@DEBUG
def lineage(name: str, *, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Show what made a result: its commit, inputs, code, parameters and environment.

    NAME is an asset with its partition (flight_delay/model:2013-12|JFK), a model's version or
    alias (flight_delay.JFK@3, flight_delay.JFK@champion), or a commit.
    """
    from mlops_assets.cli.lineage import lineage as find_lineage

    found = find_lineage(name)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(found.to_text())


@program.command()
@click.argument("name")
@click.option("--deep", is_flag=True, help="Make everything again, from the raw files on.")
@JSON
@DEBUG
def reproduce(name: str, *, deep: bool, as_json: bool, debug: bool) -> int:
    """Make a result again from what made it, and compare every byte; exit code 1 if any differs.

    NAME is as `lineage` takes it. Nothing of the attempt stays in the lake or in any record.
    """
    from mlops_assets.cli.reproduce import reproduce as make_again

    found = make_again(name, deep=deep, debug=debug)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(found.to_text())
    return 0 if found.identical else 1


@program.command()
@click.argument("name")
@click.option(
    "--promote", metavar="V", help="Put a model in force: a month, or a version's number."
)
@click.option("--rollback", is_flag=True, help="Put the model in force that was before.")
@JSON
@DEBUG
def champion(name: str, *, promote: str | None, rollback: bool, as_json: bool, debug: bool) -> None:
    """Show which model of a segment is in force and why, or move it.

    NAME is a segment's registered model, as flight_delay.JFK.
    """
    if promote is not None and rollback:
        raise click.UsageError("--promote and --rollback say two things: use one of them.")
    from mlops_assets.cli.champion import champion as find_champion

    found = find_champion(name, promote=promote, rollback=rollback, debug=debug)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(found.to_text())


@program.command()
@click.option("--deep", is_flag=True, help="Look at every object of the base branch, not a sample.")
@click.option("--repair", is_flag=True, help="Mend what can be mended; looks at every object.")
@JSON
@DEBUG
def doctor(*, deep: bool, repair: bool, as_json: bool, debug: bool) -> int:
    """Check the installation, the lake and Dagster's record; fill in what MLflow lacks.

    With --repair, damaged and missing files are rebuilt with the digests that the lake records.
    """
    from mlops_assets.cli.doctor import examine, healthy, to_json, to_text

    checks = examine(deep=deep, repair=repair, debug=debug)
    if as_json:
        _print_json(to_json(checks))
    else:
        click.echo(to_text(checks))
    return 0 if healthy(checks) else 1


@program.command()
@click.option("--port", default=3000, show_default=True, type=PORT)
@click.option("--mlflow-port", default=UI_PORT, show_default=True, type=PORT)
@click.option("--branch", metavar="NAME", help="A data branch, with its own record.")
@DEBUG
def ui(port: int, mlflow_port: int, branch: str | None, *, debug: bool) -> None:
    """Serve the Dagster UI with its daemon, and MLflow's, on 127.0.0.1, until Ctrl-C.

    MLflow's is left out where MLFLOW_TRACKING_URI names a registry.
    """
    from mlops_assets.cli.ui import serve_ui

    serve_ui(port, mlflow_port, branch, debug=debug)


@program.group()
def automation() -> None:
    """Switch on and off what runs by itself: schedules and sensors."""


@automation.command("on")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@JSON
@DEBUG
def automation_on(names: tuple[str, ...], *, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Switch schedules and sensors on; without a NAME, the recommended ones.

    They tick while a daemon is alive, as that of `mlops-assets ui` is.
    """
    _switch(names, on=True, as_json=as_json)


@automation.command("off")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@JSON
@DEBUG
def automation_off(names: tuple[str, ...], *, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Switch schedules and sensors off; without a NAME, all of them."""
    _switch(names, on=False, as_json=as_json)


def _switch(names: tuple[str, ...], *, on: bool, as_json: bool) -> None:
    from mlops_assets.cli.automation import switch

    switched = switch(names, on=on)
    if as_json:
        _print_json(asdict(switched))
    else:
        click.echo(switched.to_text())


@automation.command("list")
@JSON
@DEBUG
def automation_list(*, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Show every schedule and sensor: whether it is on, what it does, how it last went."""
    from mlops_assets.cli.automation import automations, to_json, to_text

    listed = automations()
    if as_json:
        _print_json(to_json(listed))
    else:
        click.echo(to_text(listed))


@program.command()
@click.option(
    "--file",
    metavar="PATH",
    type=click.Path(dir_okay=False),
    help="Write them to a file, for the node exporter; its name ends with .prom.",
)
@click.option("--push", is_flag=True, help="Send them to MLOPS_METRICS_PUSHGATEWAY.")
@click.option("--serve", is_flag=True, help="Serve them on /metrics until Ctrl-C.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=9109, show_default=True, type=PORT)
@DEBUG
def metrics(
    file: str | None,
    *,
    push: bool,
    serve: bool,
    host: str,
    port: int,
    debug: bool,  # noqa: ARG001 - main reads --debug
) -> None:
    """Give figures to Prometheus: freshness, monitors, runs, checks, automation.

    They are printed unless an option says where they go. To another address than this machine's
    they are served to who presents MLOPS_METRICS_TOKEN.
    """
    from pathlib import Path

    from mlops_assets.cli import metrics as figures

    if [bool(file), push, serve].count(True) > 1:
        raise click.UsageError("--file, --push and --serve say where they go: use one of them.")
    if serve:
        figures.serve(host, port)
    elif push:
        click.echo(f"sent to {figures.push()}")
    elif file:
        figures.write(Path(file))
    else:
        click.echo(figures.text(), nl=False)


@program.group()
def branch() -> None:
    """Work on a zero-copy branch of all data, with a Dagster record of its own."""


@branch.command("create")
@click.argument("name")
@click.option("--from", "source", metavar="REF", help="A commit, branch or tag; else the base.")
@DEBUG
def branch_create(name: str, source: str | None, *, debug: bool) -> None:
    """Branch all data, in no time whatever its size, with a record that knows what is there."""
    from mlops_assets.cli.branch import create

    click.echo(create(name, source, debug=debug))


@branch.command("list")
@JSON
@DEBUG
def branch_list(*, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Show the data branches and how much each has changed."""
    from mlops_assets.cli.branch import standings, standings_text

    listed = standings()
    if as_json:
        _print_json([asdict(one) for one in listed])
    else:
        click.echo(standings_text(listed))


@branch.command("diff")
@click.argument("name")
@JSON
@DEBUG
def branch_diff(name: str, *, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Show the tables, partitions, rows and metrics that a data branch changes."""
    from mlops_assets.cli.branch import diff

    found = diff(name)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(found.to_text())


@branch.command("merge")
@click.argument("name")
@JSON
@DEBUG
def branch_merge(name: str, *, as_json: bool, debug: bool) -> None:
    """Publish all of a data branch at once, after the checks pass on the merged commit."""
    from mlops_assets.cli.branch import merge

    merged = merge(name, debug=debug)
    if as_json:
        _print_json(merged.to_json())
    else:
        click.echo(merged.to_text())


@branch.command("drop")
@click.argument("name")
@click.option("--force", is_flag=True, help=FORCE_DROP)
@DEBUG
def branch_drop(name: str, *, force: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Take a data branch away, with its record; with --force also what was not merged."""
    from mlops_assets.cli.branch import drop

    click.echo(drop(name, force=force))


@program.group()
def lakefs() -> None:
    """Look after the lake's own store: serve it to tools outside, and free what is not needed."""


@lakefs.command("serve")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8000, show_default=True, type=PORT)
@click.option(
    "--pre-sign/--no-pre-sign",
    default=None,
    help="Give signed links instead of local paths, as a lakeFS on S3 does; by default as "
    "MLOPS_LAKEFS_PRE_SIGN says.",
)
@DEBUG
def lakefs_serve(host: str, port: int, *, pre_sign: bool | None, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Serve the lakeFS API over the state directory's store, until Ctrl-C.

    Nobody is let in without a key, and there must be one: see `lakefs key create`.
    """
    from mlops_assets.cli.lakefs import serve

    serve(host, port, pre_sign=pre_sign)


@lakefs.group("key")
def lakefs_key() -> None:
    """Manage the access keys of `lakefs serve`."""


@lakefs_key.command("create")
@JSON
@DEBUG
def lakefs_key_create(*, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Make an access key, and print it: the secret is kept nowhere and shown this once."""
    from mlops_assets.cli.lakefs import create_key, key_to_text

    key = create_key()
    if as_json:
        _print_json(key._asdict())
    else:
        click.echo(key_to_text(key))


@lakefs_key.command("list")
@JSON
@DEBUG
def lakefs_key_list(*, as_json: bool, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Show the access keys that are let in, without their secrets."""
    from mlops_assets.cli.lakefs import key_to_json, keys_to_text, list_keys

    keys = list_keys()
    if as_json:
        _print_json([key_to_json(key) for key in keys])
    else:
        click.echo(keys_to_text(keys))


@lakefs_key.command("delete")
@click.argument("access_key_id")
@DEBUG
def lakefs_key_delete(access_key_id: str, *, debug: bool) -> None:  # noqa: ARG001 - main reads --debug
    """Let an access key in no more, from the next request on."""
    from mlops_assets.cli.lakefs import delete_key

    delete_key(access_key_id)


@lakefs.command("gc")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@click.option(
    "--older-than",
    "days",
    default=14,
    show_default=True,
    metavar="DAYS",
    type=click.IntRange(1),
    help="How old failed work is when it goes.",
)
@JSON
@DEBUG
def lakefs_gc(*, dry_run: bool, days: int, as_json: bool, debug: bool) -> None:
    """Drop old work branches, and free what no branch, tag, model or report names any more."""
    from mlops_assets.cli.lakefs_gc import collect

    found = collect(days, dry_run=dry_run, debug=debug)
    if as_json:
        _print_json(found.to_json())
    else:
        click.echo(found.to_text())
