"""Plotly's own test-suite, with Dash on Flask and with Flash in the place of Dash.

The tests are those of a checkout of `plotly/dash`: nothing of them is kept here. The work folder holds a copy of the
checkout's tests without its `dash` package, so that they import the installed one, and a virtual environment of its
own. In every Python process that the tests start, `sitecustomize` puts the class under test in the place of
`dash.Dash` (`swap`), and in pytest a plugin notes each outcome as soon as it is known (`recorder`). A suite that was
ended, or whose pytest hung or died, so goes on where it was.

`plan.toml` says which folders there are, what is excluded, and why a test that differs may.
"""
