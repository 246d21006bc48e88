"""The keywords of `app.run`: Flask's, Hypercorn's, and those that nobody has."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

from flash import Flash, InvalidOption, html
from flash.server.run_options import read_run_options


def app() -> Flash:
    app = Flash(__name__)
    app.layout = html.P()
    return app


def test_options_of_hypercorn_are_taken() -> None:
    assert read_run_options({"keep_alive_timeout": 7}).config.keep_alive_timeout == 7


def test_what_tells_werkzeug_how_to_work_is_ignored() -> None:
    options = read_run_options({"threaded": True, "processes": 3, "use_debugger": True, "load_dotenv": False})
    assert vars(options.config) == vars(read_run_options({}).config)


def test_what_says_when_to_start_again_is_kept() -> None:
    options = read_run_options(
        {"use_reloader": False, "extra_files": [Path("a"), "b"], "exclude_patterns": None, "reloader_type": "stat"}
    )
    assert (options.reload, options.extra_files, options.exclude_patterns) == (False, ["a", "b"], [])
    assert read_run_options({}).reload is None


def test_unknown_keywords_are_named() -> None:
    with pytest.raises(TypeError, match="'nonsense'"):
        app().run(nonsense=1)


@pytest.mark.parametrize("name", ["request_handler", "static_files"])
def test_what_would_quietly_be_missing_is_refused(name: str) -> None:
    options: dict[str, Any] = {name: object()}
    with pytest.raises(InvalidOption, match=rf"app\.run\({name}=\.\.\.\)"):
        app().run(**options)


@pytest.mark.parametrize("workers", [-1, True, 1.5, "2"])
def test_what_is_no_number_of_workers_is_refused(workers: Any) -> None:
    with pytest.raises(InvalidOption) as raised:
        app().run(workers=workers)
    sentence = f"app.run(workers={workers!r}): write a number of processes, or 0 for one for each CPU."
    assert str(raised.value) == sentence


def test_no_workers_are_one_for_each_cpu() -> None:
    assert read_run_options({"workers": 0}).workers == len(os.sched_getaffinity(0))


def test_certificates_are_files_a_context_or_made_up(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(context)
    for given in ((certificate, key), context, "adhoc"):
        config = read_run_options({"ssl_context": given}).config
        assert config.ssl_enabled
        made = config.create_ssl_context()
        assert made is not None
    assert read_run_options({"ssl_context": context}).config.create_ssl_context() is context
    assert not read_run_options({"ssl_context": None}).config.ssl_enabled
    with pytest.raises(InvalidOption, match="two paths"):
        read_run_options({"ssl_context": 1})


def test_options_for_several_machines_are_read() -> None:
    options = read_run_options({"redis": "redis://host", "advertise": "10.0.0.5:8051", "secret_file": Path("secret")})
    assert (options.redis, options.advertise, options.secret_file) == ("redis://host", "10.0.0.5:8051", "secret")
    assert (read_run_options({"redis": None}).redis, read_run_options({}).redis) == (None, None)
