"""Releases that were not tested are named, once."""

from __future__ import annotations

import warnings
from importlib import metadata

import pytest

from lightadapt.machine.versions import warn_of_untested


@pytest.fixture(autouse=True)
def fresh():
    warn_of_untested.cache_clear()
    yield
    warn_of_untested.cache_clear()


def test_what_is_installed_here_was_tested():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_untested()


def test_an_untested_release_is_named(monkeypatch):
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "5.99.0" if name == "transformers" else installed(name))
    with pytest.warns(UserWarning, match=r'transformers 5\.99\.0 .* pip install "transformers.*>=5\.20\.2'):
        warn_of_untested()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_untested()  # said once is enough


def test_a_checkout_without_metadata_says_nothing(monkeypatch):
    def nothing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", nothing)
    warn_of_untested()
