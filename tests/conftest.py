"""What all tests share: where material lies, how loudly a skip speaks, and that no test logs an error it did not expect.

Networks are our own, which come with the package, and programmes are made on the spot (`material.py`). Public models, labelled clips and
training material are no part of the repository and lie in `../shared`: without it the tests that need them are skipped, with the reason
and the remedy, and the summary counts them. With it beside the checkout, or with `--require-models`, such a skip is a failure. Tests marked
`servers` need servers from Debian's packages (tests/services) and are skipped in the same way; with `--require-servers` that is a failure.
"""

from __future__ import annotations

import logging
import signal
from collections import Counter
from pathlib import Path

import hypothesis
import pytest

from tests.services.fixtures import MARK, bucket, postgres_server, s3_server  # noqa: F401 -- fixtures, for every test

hypothesis.settings.register_profile("fixed", derandomize=True)  # the same examples in every run; --hypothesis-profile=default for new ones
hypothesis.settings.load_profile("fixed")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
REMEDY = "put the folder `shared` beside this checkout"
NEEDS_SHARED = {"models", "media", "train"}  # markers
GIVES_SHARED = {"models_folder", "media", "train"}  # fixtures


def pytest_addoption(parser):
    parser.addoption("--require-models", action="store_true", help="a test skipped for want of models or media is a failure")
    parser.addoption("--require-servers", action="store_true", help="a test skipped for want of a server is a failure")


def pytest_configure(config):
    # Started in the background by a script, a command ignores Ctrl-C, under nohup a lost terminal, and its children would too: tests that
    # interrupt them need both back.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "logs_errors: logs errors on purpose")


def _strict(config):
    return SHARED.is_dir() or config.getoption("--require-models")


def _reason(report):
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    wants = any(item.get_closest_marker(name) for name in NEEDS_SHARED) or GIVES_SHARED & set(getattr(item, "fixturenames", ()))
    demanded = (wants and _strict(item.config)) or (item.get_closest_marker(MARK) and item.config.getoption("--require-servers"))
    if report.skipped and not hasattr(report, "wasxfail") and demanded:
        report.outcome, report.longrepr = "failed", f"{item.nodeid} was skipped although its material must be there: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(_reason(report).removeprefix("Skipped: ") for report in skipped)
    if not reasons:
        return
    terminalreporter.section(f"NOT TESTED: {sum(reasons.values())} skipped", yellow=True, bold=True)
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:4d} x {reason}", yellow=True)


@pytest.fixture(autouse=True)
def no_unexpected_errors(request, caplog):
    """Fails a test that logged an error, unless it is marked `logs_errors`."""
    ours = logging.getLogger("rollcall")  # it keeps its lines from the root while it writes a log of its own
    ours.addHandler(caplog.handler)
    yield
    ours.removeHandler(caplog.handler)
    if request.node.get_closest_marker("logs_errors"):
        return
    errors = [record for when in ("setup", "call") for record in caplog.get_records(when) if record.levelno >= logging.ERROR]
    if errors:
        pytest.fail("logged an error that was not expected:\n" + "\n".join(f"{record.name}: {record.getMessage()}" for record in errors))


def _folder(name, what):
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"needs {what}: {REMEDY}")
    return folder


@pytest.fixture(scope="session")
def models_folder():
    """The folder of public model files."""
    return _folder("models", "the public models")


@pytest.fixture(scope="session")
def find_model(request):
    """A function that gives the model of a role by name: one of ours, or a public one where those are."""
    from asd_core.models.manifest import WEIGHTS
    from asd_core.models.registry import ModelFolder, find

    def found(role, name):
        return find(role, [ModelFolder(WEIGHTS if name.startswith("rollcall_") else request.getfixturevalue("models_folder"))], name)

    return found


@pytest.fixture(scope="session", params=["ours", pytest.param("public", marks=pytest.mark.models)])
def networks(request):
    """The opened networks of all roles: ours, and the registry's choice among the public ones."""
    from asd_core.analysis import open_networks
    from asd_core.models.manifest import WEIGHTS
    from asd_core.models.registry import ModelFolder, find
    from asd_core.models.session import open_session
    from tests.material import OUR_MODELS

    folder = WEIGHTS if request.param == "ours" else request.getfixturevalue("models_folder")
    return open_networks({role: find(role, [ModelFolder(folder)]) for role in OUR_MODELS}, open_session)


@pytest.fixture(scope="session")
def media():
    """The folder of labelled clips, for testing only: nothing is tuned on it."""
    return _folder("media", "the labelled clips")


@pytest.fixture(scope="session")
def train():
    """The folder of training material."""
    return _folder("train", "the training material")


@pytest.fixture(scope="session")
def programmes():
    """The demo programmes with their truth; made once (some twenty seconds) and kept in out/."""
    from asd_core.demo.programmes import make_programmes

    return make_programmes(ROOT / "out" / "demo-programmes")


@pytest.fixture(scope="session")
def films(programmes):
    """A function that gives the paths of made films by name: the short ones of `material.py` and the demo's; made once, kept in out/."""
    from tests.material import make_films

    short = make_films(ROOT / "out" / "short-films")
    known = {path.name: path for path in (*short.glob("*.mp4"), *(programme.path for programme in programmes))}
    return lambda *names: [known[name] for name in names]
