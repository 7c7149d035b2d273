"""`python -m lightadapt` is the command `lightadapt`."""

from lightadapt.cli import app

app(prog_name="lightadapt")
